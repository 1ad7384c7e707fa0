"""Orders the calls of an experiment, so that the time of day favours no arm."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipyllm.experiment.grid import Trial

__all__ = ["ORDERS", "Order", "schedule_trials"]

Order = Literal["interleaved", "by_model"]
ORDERS: Final = ("interleaved", "by_model")


def schedule_trials(trials: Iterable[Trial], seed: int, order: Order = "interleaved") -> list[Trial]:
    """Return ``trials`` in random order, the same for the same seed.

    ``"interleaved"``: one round per repeat, with its prompts in random order and the arms of each prompt next to one
    another, again in random order: a randomised complete block design. A run that is stopped has asked all arms nearly
    the same prompts. ``"by_model"``: the same within each model, one model after the other, for a server that holds one
    at a time; what changes over the hours then changes with the model.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    blocks: dict[tuple[int, int], list[Trial]] = {}
    for trial in trials:
        blocks.setdefault((trial.repeat, trial.prompt.row), []).append(trial)
    rounds: dict[int, list[list[Trial]]] = {}
    for (repeat, _), block in sorted(blocks.items(), key=lambda item: item[0]):
        block.sort(key=lambda trial: trial.key)  # independent of the input's order
        rng.shuffle(block)
        rounds.setdefault(repeat, []).append(block)
    found: list[Trial] = []
    for blocks_of_round in rounds.values():
        rng.shuffle(blocks_of_round)
        found += (trial for block in blocks_of_round for trial in block)
    if order == "by_model":
        first_index = {model: index for index, model in reversed(list(enumerate(trial.arm.model for trial in found)))}
        found.sort(key=lambda trial: first_index[trial.arm.model])
    return found
