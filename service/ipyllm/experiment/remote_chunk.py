"""A chunk of an experiment, as it travels to another process and comes home as rows. What runs there is the same Run.

A chunk carries no key: a worker reads its own settings. Its rows go into no ledger there; they come home as data, and
are written once, under an identity that says which cell and which attempt they are.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ulid import ULID

from ipyllm.experiment.budget import Spending
from ipyllm.experiment.run import CELL_TAG, Run, RunConfig
from ipyllm.runtime.interruptible import CANCEL_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.errors import LLMError
    from ipyllm.experiment.grid import Arm, Cell
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService

__all__ = ["Chunk", "Report", "cell_name", "run_chunk", "write_rows"]


@dataclass(frozen=True)
class Chunk:
    """Some cells, ready to travel.

    Attributes
    ----------
    experiment, grid, concurrency
        As of :class:`~ipyllm.experiment.run.RunConfig`.
    warmups : int
        If not 0, the chunk is the warm-up itself: its cells are asked so often, and flagged.
    arms : tuple
        Label, model as the user gave it, and what is shared by its calls.
    cells : tuple
        Key, place of the arm, prompt's id and text, repeat.
    sending : str
        Another for each time it is sent: Dask takes equal tasks for one, and keeps the outcome of the first.
    """

    experiment: str
    grid: str
    concurrency: int
    warmups: int
    arms: tuple[tuple[str, str | BaseLLMService, ChatRequest], ...]
    cells: tuple[tuple[str, int, str, str, int], ...]
    sending: str = ""

    @classmethod
    def of(cls, cells: list[Cell], terms: RunConfig, *, warmups: int = 0) -> Chunk:
        """Pack cells."""
        arms: dict[str, tuple[int, Arm]] = {}
        for cell in cells:
            arms.setdefault(cell.arm.label, (len(arms), cell.arm))
        return cls(
            terms.experiment,
            terms.grid,
            terms.concurrency,
            warmups,
            tuple((arm.label, arm.given, arm.request) for _, arm in arms.values()),
            tuple(
                (cell.key, arms[cell.arm.label][0], cell.prompt.prompt_id, cell.prompt.text, cell.repeat)
                for cell in cells
            ),
        )

    def unpacked(self) -> list[Cell]:
        """Return the cells, with services made from the settings of this process."""
        from ipyllm.experiment.grid import Arm, Cell
        from ipyllm.experiment.prompts import Prompt
        from ipyllm.registry.models import create_llm_service

        arms = []
        for label, given, request in self.arms:
            service = create_llm_service(given) if isinstance(given, str) else given
            arms.append(Arm(label, request.model, service, given, request))
        return [
            Cell(key, arms[place], Prompt(prompt_id, text, 0, {}), repeat)
            for key, place, prompt_id, text, repeat in self.cells
        ]


@dataclass(frozen=True)
class Report:
    """What came of a chunk.

    Attributes
    ----------
    rows : list of dict
        Of the ledger, one per request to a model.
    asked, failed, cost_usd
        As of :class:`~ipyllm.experiment.run.Progress`.
    unreachable : dict
        Models that were given up, and why.
    """

    rows: list[dict[str, Any]]
    asked: int
    failed: int
    cost_usd: float
    unreachable: dict[str, LLMError] = field(default_factory=dict)


class RowCollector:
    """Takes rows in place of a ledger."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def put(self, row: Mapping[str, Any], /) -> None:
        self._rows.setdefault(row["call_id"], {}).update(row)

    def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in list(self._rows.values()) if row.get("status") != "running"]


def run_chunk(chunk: Chunk) -> Report:
    """Ask what is in a chunk, in this process, and return the rows, also when an interrupt ends it early."""
    basket = RowCollector()
    cells = chunk.unpacked()
    terms = RunConfig(chunk.experiment, chunk.grid, chunk.warmups, chunk.concurrency, basket, Spending(None))
    run = Run(cells, terms, only_warm=bool(chunk.warmups))
    run.start()
    try:
        run.done.wait()
    except KeyboardInterrupt:  # a terminal sends it to every process of its group
        run.cancel()
        run.done.wait(CANCEL_GRACE_S)
    progress = run.progress
    worker = f"{socket.gethostname()}:{os.getpid()}"
    rows = [{**row, "tags": {**row["tags"], "worker": worker}} for row in basket.rows()]
    return Report(rows, progress.asked, progress.failed, progress.cost_usd, progress.unreachable)


def write_rows(rows: list[dict[str, Any]], terms: RunConfig, kernel: str, times_asked: Mapping[str, int]) -> None:
    """Write rows into the ledger, each under the identity of its cell and attempt: however often they arrive, once."""
    seen: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row["call_id"]):
        cell = cell_name(row["tags"][CELL_TAG], warmup=bool(row.get("warmup")))
        seen[cell] = seen.get(cell, 0) + 1
        said = f"{terms.experiment}|{cell}|{times_asked.get(cell, 0)}|{seen[cell]}"
        call_id = str(ULID.from_bytes(hashlib.sha256(said.encode()).digest()[:16]))
        terms.ledger.put({**row, "call_id": call_id, "kernel_id": kernel})
        if terms.texts is not None:
            terms.texts[call_id] = row.get("response") or ""


def cell_name(key: str, *, warmup: bool) -> str:
    """Return under what name a cell's rows are counted: a warm-up with it is another matter."""
    return f"{key} warm-up" if warmup else key
