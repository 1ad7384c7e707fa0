"""A chunk of trials that another process runs, and the rows that it returns.

A chunk contains no API key: a worker reads its own settings. A worker writes no ledger: it returns the rows as data,
and this process writes each once, under an id made of trial and attempt.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ulid import ULID

from ipyllm.conversations.hidden_tokens import hidden_tokens
from ipyllm.errors import bad_request
from ipyllm.experiment.run import TRIAL_TAG, Run, RunConfig, request_of
from ipyllm.experiment.spending_limit import ChunkFunds, SpendingLimit
from ipyllm.pipeline.ledger_rows import opening_row
from ipyllm.runtime.interruptible import CANCEL_GRACE_S
from ipyllm.text.format import join_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.conversations.hidden_tokens import Excess, Kind
    from ipyllm.errors import LLMError
    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.row_content import Content
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService
    from ipyllm.totals import CostTotal

__all__ = ["Chunk", "ChunkReport", "run_chunk", "trial_name", "write_lost_calls", "write_rows"]


@dataclass(frozen=True)
class PackedArm:
    """An arm in a form that can be pickled."""

    label: str
    server: str
    variant: str
    given: str | BaseLLMService  # the model as the user gave it
    request: ChatRequest
    addresses: frozenset[str | None]

    @classmethod
    def of(cls, arm: Arm) -> PackedArm:
        """Pack an arm."""
        return cls(arm.label, arm.server, arm.variant, arm.given, arm.request, frozenset(arm.addresses()))

    def unpack(self) -> Arm:
        """Return the arm, with a service made from the settings of this process.

        Raises ``bad_request`` if these have another address, whose answers would be taken for those of the arm.
        """
        from ipyllm.comparison.arms import Arm
        from ipyllm.registry.models import create_llm_service

        service = create_llm_service(self.given) if isinstance(self.given, str) else self.given
        arm = Arm(
            self.label, "", self.request.model, service, self.given, self.request, self.server, variant=self.variant
        )
        if (addresses := arm.addresses()) != self.addresses:
            here, there = (join_names(sorted(map(str, some))) for some in (addresses, self.addresses))
            raise bad_request(f"{self.label} is at {here} there, and at {there} here: give both the same settings.")
        return arm


@dataclass(frozen=True)
class Chunk:
    """Trials in a form that can be pickled."""

    experiment: str
    grid: str
    concurrency: int | None
    executor: str | None
    max_failures: int | None
    warmups: int  # if not 0, each trial is a warm-up that is repeated so many times
    arms: tuple[PackedArm, ...]
    trials: tuple[tuple[str, int, str, str, Content | None, int], ...]  # key, index of the arm, prompt, repeat
    submission_id: str = ""  # unique, because Dask runs equal tasks only once
    limit_usd: float | None = None  # the part of the budget that is reserved for it
    hidden_tokens: Mapping[Kind, Excess] = field(default_factory=dict)  # as far as the submitting process knows

    @classmethod
    def of(cls, trials: list[Trial], config: RunConfig, *, warmups: int = 0) -> Chunk:
        """Make a chunk of ``trials``."""
        arms = {trial.arm.label: trial.arm for trial in trials}
        index = {label: arm_index for arm_index, label in enumerate(arms)}
        return cls(
            config.experiment,
            config.grid,
            config.concurrency,
            config.executor,
            config.max_failures,
            warmups,
            tuple(PackedArm.of(arm) for arm in arms.values()),
            tuple(
                (
                    *(trial.key, index[trial.arm.label], trial.prompt.prompt_id),
                    *(trial.prompt.text, trial.prompt.content, trial.repeat),
                )
                for trial in trials
            ),
        )

    def unpack(self) -> list[Trial]:
        """Return the trials, with services made from the settings of this process."""
        from ipyllm.experiment.grid import Trial
        from ipyllm.experiment.prompts import Prompt

        arms = [arm.unpack() for arm in self.arms]
        return [
            Trial(key, arms[arm_index], Prompt(prompt_id, text, 0, {}, content=content), repeat)
            for key, arm_index, prompt_id, text, content, repeat in self.trials
        ]


@dataclass(frozen=True)
class ChunkReport:
    """The result of a chunk."""

    rows: list[dict[str, Any]]  # ledger rows, one per exchange
    ended: int
    failed: int
    cost: CostTotal
    unreachable: dict[str, LLMError] = field(default_factory=dict)  # servers that could not be reached, with the error
    left: dict[str, LLMError] = field(default_factory=dict)  # arms and servers that failed too often, with the reason
    stopped: str | None = None  # why it ended early, in one sentence
    hidden_tokens: Mapping[Kind, Excess] = field(default_factory=dict)  # as far as the worker knows now


class RowCollector:
    """Collects rows instead of writing them to a ledger."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def put(self, row: Mapping[str, Any], /) -> None:
        self._rows.setdefault(row["call_id"], {}).update(row)

    def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in list(self._rows.values()) if row.get("status") != "running"]


def run_chunk(chunk: Chunk) -> ChunkReport:
    """Run the trials of a chunk in this process and return their rows, even after an interrupt."""
    collector = RowCollector()
    trials = chunk.unpack()
    hidden_tokens().update(chunk.hidden_tokens)
    spending = SpendingLimit()
    if chunk.limit_usd is not None:
        spending = SpendingLimit(chunk.limit_usd, ChunkFunds(chunk.limit_usd))
    config = RunConfig(
        chunk.experiment,
        chunk.grid,
        chunk.warmups,
        chunk.concurrency,
        collector,
        spending,
        executor=chunk.executor,
        max_failures=chunk.max_failures,
    )
    run = Run(trials, config, warmups_only=bool(chunk.warmups))
    run.start()
    try:
        run.done.wait()
    except KeyboardInterrupt:  # a terminal sends it to every process of its group
        run.cancel()
        run.done.wait(CANCEL_GRACE_S)
    progress = run.progress
    worker = f"{socket.gethostname()}:{os.getpid()}"
    rows = [{**row, "tags": {**row["tags"], "worker": worker}} for row in collector.rows()]
    return ChunkReport(
        rows,
        progress.ended,
        progress.failed,
        progress.cost,
        progress.unreachable,
        progress.left,
        progress.stopped,
        hidden_tokens().snapshot(),
    )


def write_rows(rows: list[dict[str, Any]], config: RunConfig, kernel: str, earlier_rows: Mapping[str, int]) -> None:
    """Write rows to the ledger, each under an id made of its trial and attempt, so that duplicates are written once."""
    seen: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row["call_id"]):
        trial = trial_name(row["tags"][TRIAL_TAG], warmup=bool(row.get("warmup")))
        seen[trial] = seen.get(trial, 0) + 1
        name = f"{config.experiment}|{trial}|{earlier_rows.get(trial, 0)}|{seen[trial]}"
        call_id = str(ULID.from_bytes(hashlib.sha256(name.encode()).digest()[:16]))
        config.ledger.put({**row, "call_id": call_id, "kernel_id": kernel})
        if config.texts is not None:
            config.texts[call_id] = row.get("response") or ""


def write_lost_calls(
    trials: Sequence[Trial], bounds_usd: Sequence[float], config: RunConfig, submission_id: str
) -> None:
    """Write a row for each call of a chunk without a report: it may have been made, and have cost up to its bound."""
    for number, (trial, bound_usd) in enumerate(zip(trials, bounds_usd, strict=True)):
        request = request_of(trial, config)
        name = f"{config.experiment}|{trial.key}|{submission_id}|{number}"
        call_id = str(ULID.from_bytes(hashlib.sha256(name.encode()).digest()[:16]))
        config.ledger.put(
            {
                **opening_row(call_id, request, datetime.now(UTC)),
                "status": "interrupted",
                "error_message": "The worker gave no report.",
                "cost_bound_usd": bound_usd,
            }
        )


def trial_name(key: str, *, warmup: bool) -> str:
    """Return the name under which a trial's rows are counted; its warm-ups are counted separately."""
    return f"{key} warm-up" if warmup else key
