"""A chunk of trials that another process runs, and its report.

A chunk contains no API key and no address of a ledger: a worker reads its own settings. It writes its rows to its own
ledger as calls begin and end. If that is the one of the kernel that has sent the chunk, it takes over the claims on its
trials, and the kernel need not write anything. If it is not, the rows are also part of the report; and those that an
earlier kernel of the same experiment has left there come along with the first.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.hidden_tokens import hidden_tokens
from ipyllm.errors import bad_request
from ipyllm.experiment.failure_limit import Outcome
from ipyllm.experiment.grid import TRIAL_TAG
from ipyllm.experiment.run import Run
from ipyllm.experiment.run_config import RunConfig, request_of
from ipyllm.experiment.spending_limit import ChunkFunds, SpendingLimit, max_cost
from ipyllm.experiment.trial_claims import TrialClaims
from ipyllm.experiment.written_rows import WrittenRows
from ipyllm.ledger import current_ledger
from ipyllm.ledger.columns import CALLS, TEXT
from ipyllm.ledger.ids import kernel_id, new_id
from ipyllm.ledger.ledger import LedgerUnavailableError
from ipyllm.ledger.packed import unpack
from ipyllm.ledger.query import Query
from ipyllm.pipeline.ledger_rows import opening_row
from ipyllm.runtime.interruptible import CANCEL_GRACE_S
from ipyllm.text.format import join_names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.conversations.hidden_tokens import Excess, Kind
    from ipyllm.errors import LLMError
    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.row_content import Content
    from ipyllm.ledger import Ledger
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService
    from ipyllm.totals import CostTotal

__all__ = ["Chunk", "ChunkReport", "answered_in", "run_chunk", "write_lost_calls"]

_answered_before: dict[str, set[str]] = {}
"""Trials with an answer in the earlier rows of this process's ledger, by the participant whose kernel has had them."""


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
    kernel: str  # to which the rows belong
    participant: str  # that has claimed the trials
    joined: int | None  # its number
    senders: int = 1  # processes that share the limits per minute
    stores_text: bool = True
    submission_id: str = ""  # unique, because Dask runs equal tasks only once
    reservation_id: str | None = None  # what is reserved for it
    limit_usd: float | None = None  # how much that is
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
            kernel_id(),
            *(("", None) if config.claims is None else (config.claims.participant, config.claims.joined)),
            stores_text=config.texts is None,
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

    shares_ledger: bool  # whether the worker writes to the ledger of the kernel
    rows: list[dict[str, Any]]  # that the kernel must write, one per exchange
    outcomes: Mapping[str, Outcome]  # of trials that were asked and not cancelled, as they ended
    answered: frozenset[str]  # trials that had an answer from an earlier kernel's worker
    ended: int
    failed: int
    cost: CostTotal
    unreachable: dict[str, LLMError] = field(default_factory=dict)  # servers that could not be reached, with the error
    left: dict[str, LLMError] = field(default_factory=dict)  # arms and servers that failed too often, with the reason
    stopped: str | None = None  # why it ended early, in one sentence
    texts: Mapping[str, str] = field(default_factory=dict)  # answers by call id, if no ledger stores them
    hidden_tokens: Mapping[Kind, Excess] = field(default_factory=dict)  # as far as the worker knows now


class WorkerRows:
    """Writes rows to the ledger of this process, and keeps what the kernel needs of them."""

    def __init__(self, ledger: Ledger, chunk: Chunk, *, collects: bool) -> None:
        self.texts: dict[str, str] = {}
        self._ledger = ledger
        self._chunk = chunk
        self._collects = collects
        self._rows: dict[str, dict[str, Any]] = {}
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def put(self, row: Mapping[str, Any], /) -> None:
        row = dict(row)
        if "tags" in row:
            row |= {"tags": {**row["tags"], "worker": self._worker}, "kernel_id": self._chunk.kernel}
        if not self._chunk.stores_text:
            if row.get("response"):
                self.texts[row["call_id"]] = row["response"]
            row = {name: value for name, value in row.items() if name not in TEXT}
        if self._collects:
            self._rows.setdefault(row["call_id"], {}).update(row)
        self._ledger.put(row)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of calls that have ended, if they are collected."""
        return [dict(row) for row in list(self._rows.values()) if row.get("status") != "running"]


def run_chunk(chunk: Chunk) -> ChunkReport:
    """Run the trials of a chunk in this process and report them, even after an interrupt."""
    ledger = current_ledger()
    shares = _shares_ledger(ledger, chunk)
    earlier = [] if shares or chunk.warmups else _earlier_rows(ledger, chunk)
    answered = _answered_before.get(chunk.participant, set()).intersection(trial[0] for trial in chunk.trials)
    trials = [trial for trial in chunk.unpack() if trial.key not in answered]
    if _is_abandoned():  # a pool does not end its workers when it is killed
        trials = []
    hidden_tokens().update(chunk.hidden_tokens)
    rows = WorkerRows(ledger, chunk, collects=not shares)
    outcomes: dict[str, Outcome] = {}

    def note(trial: Trial, response: ChatResponse, error: LLMError | None) -> None:
        was_refused_by_budget = error is not None and error.category == "quota" and error.status_code is None
        outcome = Outcome.of(response)
        if outcome.has_ended and not trial.warmup and not was_refused_by_budget:
            outcomes[trial.key] = outcome

    claims = None
    if shares and not chunk.warmups:
        claims = TrialClaims(ledger, chunk.experiment, senders=0, joined=chunk.joined, heir_of=chunk.participant)
        claims.join()
    written = WrittenRows(ledger.flush)
    spending = SpendingLimit(rows=written)
    if chunk.limit_usd is not None:
        spending = SpendingLimit(chunk.limit_usd, ChunkFunds(chunk.limit_usd), written)
    config = RunConfig(
        chunk.experiment,
        chunk.grid,
        chunk.warmups,
        chunk.concurrency,
        rows,
        spending,
        on_outcome=note,
        claims=claims,
        waits_for_others=False,
        senders=chunk.senders,
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
    ledger.flush()
    progress = run.progress
    return ChunkReport(
        shares,
        earlier + rows.rows(),
        outcomes,
        frozenset(answered),
        progress.ended,
        progress.failed,
        progress.cost,
        progress.unreachable,
        progress.left,
        progress.stopped,
        rows.texts,
        hidden_tokens().snapshot(),
    )


def answered_in(rows: Collection[Mapping[str, Any]]) -> set[str]:
    """Return the keys of the trials that have an answer in some rows."""
    ended = [row for row in rows if row["status"] == "ok" and not row.get("warmup") and row.get("step") is None]
    return {row["tags"][TRIAL_TAG] for row in ended}


def write_lost_calls(trials: Sequence[Trial], bounds_usd: Sequence[float], config: RunConfig) -> None:
    """Write a row for each call of a chunk without a report: it may have been made, and have cost up to its bound.

    Without ``bounds_usd`` these are those of the price tables.
    """
    for number, trial in enumerate(trials):
        request = request_of(trial, config)
        bound_usd = bounds_usd[number] if bounds_usd else max_cost(trial.arm.service, request)
        config.ledger.put(
            {
                **opening_row(new_id(), request, datetime.now(UTC)),
                "status": "interrupted",
                "error_message": "The worker gave no report.",
                "cost_bound_usd": bound_usd,
            }
        )


def _shares_ledger(ledger: Ledger, chunk: Chunk) -> bool:
    """Return whether this process writes to the ledger in which the trials are claimed."""
    try:
        return bool(chunk.participant) and ledger.has_participant(chunk.participant)
    except LedgerUnavailableError:
        return False


def _is_abandoned() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _earlier_rows(ledger: Ledger, chunk: Chunk) -> list[dict[str, Any]]:
    """Return what workers of earlier kernels have written here, once for each kernel that sends chunks."""
    if chunk.participant in _answered_before:
        return []
    query = Query(experiments=(chunk.experiment,), packed=True)
    rows = [dict(zip(query.columns, values, strict=True)) for values in ledger.read(query)]
    earlier = [
        row | {name: row[name] and unpack(row[name]) for name in CALLS.packed}
        for row in rows
        if row["status"] != "running" and {"worker", TRIAL_TAG} <= (row["tags"] or {}).keys()
    ]
    _answered_before[chunk.participant] = answered_in(earlier)
    return earlier
