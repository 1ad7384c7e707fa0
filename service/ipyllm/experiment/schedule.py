"""In which order the calls of an experiment are made, so that the hour of the day is no advantage to any arm."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.experiment.grid import Cell

__all__ = ["ORDERS", "Order", "ordered"]

Order = Literal["interleaved", "by_model"]
ORDERS: Final = ("interleaved", "by_model")


def ordered(cells: Iterable[Cell], seed: int, order: Order = "interleaved") -> list[Cell]:
    """Return ``cells`` in the order they are asked: by lot, the same for the same seed.

    Parameters
    ----------
    cells : iterable of Cell
        What is to be asked.
    seed : int
        Of the lot.
    order : {"interleaved", "by_model"}
        ``"interleaved"``: one round per repeat, the prompts of a round by lot, and the arms of each prompt next to one
        another, by lot again: a randomised complete block design. A run that is stopped has asked all arms nearly the
        same. ``"by_model"``: so within each model, one model after the other, for a server that holds one at a time;
        what changes over the hours then changes with the model.
    """
    lot = random.Random(seed)  # noqa: S311 - a lot, no secret
    blocks: dict[tuple[int, int], list[Cell]] = {}
    for cell in cells:
        blocks.setdefault((cell.repeat, cell.prompt.row), []).append(cell)
    rounds: dict[int, list[list[Cell]]] = {}
    for (repeat, _), block in sorted(blocks.items(), key=lambda item: item[0]):
        block.sort(key=lambda cell: cell.key)  # whatever order they came in
        lot.shuffle(block)
        rounds.setdefault(repeat, []).append(block)
    found: list[Cell] = []
    for blocks_of_round in rounds.values():
        lot.shuffle(blocks_of_round)
        found += (cell for block in blocks_of_round for cell in block)
    if order == "by_model":
        first = {model: place for place, model in reversed(list(enumerate(cell.arm.model for cell in found)))}
        found.sort(key=lambda cell: first[cell.arm.model])
    return found
