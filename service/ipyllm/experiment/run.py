"""Runs the pending trials on the service thread: warm-ups first, then all endpoints in parallel.

It uses :class:`~ipyllm.pipeline.call.Call` directly, without events or a change of thread for each call. The limiter
decides how many calls are in flight at an endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.pipeline.call import Call
from ipyllm.request import Provenance
from ipyllm.routing.balancing import Pool
from ipyllm.routing.route import Route
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.spending_limit import SpendingLimit
    from ipyllm.pipeline.exchange import RowSink
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["GRID_TAG", "TRIAL_TAG", "Run", "RunConfig", "RunProgress", "request_of"]

TRIAL_TAG: Final = "cell"
"""The tag that holds a trial's key."""

GRID_TAG: Final = "grid"
"""The tag that holds the grid's signature."""

_MODEL_ERRORS: Final = frozenset({"authentication", "not_found", "quota"})
"""Errors that every other call to the same model would return too."""

_logger = logging.getLogger("ipyllm.experiment")


@dataclass(slots=True)
class RunProgress:
    """Progress of a run. Written by one thread, read by any."""

    to_do: int  # calls to make; warm-ups do not count
    asked: int = 0  # calls that ended
    failed: int = 0  # calls that ended in an error
    cost_usd: float = 0.0  # warm-ups included, unknown prices not
    stopped: str | None = None  # why it ended early, in one sentence
    unreachable: dict[str, LLMError] = field(default_factory=dict)  # models that were given up, with the reason


@dataclass(frozen=True)
class RunConfig:
    """Settings shared by all calls of a run."""

    experiment: str  # its name
    grid: str  # its grid's signature
    warmups: int  # calls to each model before the others, flagged
    concurrency: int  # most calls to one endpoint at the same time
    ledger: RowSink
    spending: SpendingLimit
    texts: dict[str, str] | None = None  # takes the answers by call, where the ledger does not store them


class Run:
    """Runs trials in this process, in their order, or only their warm-ups.

    Stages: made → :meth:`start` → :attr:`done` is set, whatever happened.
    """

    def __init__(self, trials: Sequence[Trial], config: RunConfig, *, only_warm: bool = False) -> None:
        self.done = InterruptibleEvent()
        self.progress = RunProgress(len(trials))
        self._trials = trials
        self._config = config
        self._only_warm = only_warm
        self._stopping = False
        self._refused: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._future: Future[None] | None = None

    def start(self) -> Run:
        """Begin and return at once."""
        self._future = service_thread().submit(self._run())
        return self

    def cancel(self) -> None:
        """Cancel all calls in flight; their rows have the status ``cancelled``."""
        service_thread().loop.call_soon_threadsafe(self._stop, "It was interrupted.")

    # ---- on the service thread -------------------------------------------------------------------

    def _stop(self, why: str, *, now: bool = True) -> None:
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why
        if now:
            for task in self._tasks:
                task.cancel()

    async def _run(self) -> None:
        try:
            await asyncio.gather(*(self._serve(service, trials) for service, trials in _by_endpoint(self._trials)))
        except BaseException as exc:
            self._stopping = True
            self.progress.stopped = f"It failed with {type(exc).__name__}: {exc}."
            if isinstance(exc, Exception):
                _logger.exception("an experiment failed: a bug in ipyllm")
            raise
        finally:
            self.done.set()

    async def _serve(self, service: BaseLLMService, trials: deque[Trial]) -> None:
        """Run all trials of one endpoint."""
        at_once = min(self._config.concurrency, service.at_once or self._config.concurrency)
        if isinstance(service, Pool):
            at_once *= _width(service)
        first: dict[str, Trial] = {}
        for trial in trials:
            first.setdefault(trial.arm.model, trial)
        if self._config.warmups:
            # One model after the other: a server may hold one at a time.
            for trial in first.values():
                await self._run_in_tasks(
                    [replace(trial, warmup=True)] * (self._config.warmups * _width(trial.arm.service)), at_once
                )
        if not self._only_warm:
            await self._run_in_tasks(trials, at_once)

    async def _run_in_tasks(self, trials: Iterable[Trial], at_once: int) -> None:
        queue = trials if isinstance(trials, deque) else deque(trials)
        if self._stopping:
            return
        tasks = [asyncio.create_task(self._work(queue)) for _ in range(min(at_once, len(queue)))]
        self._tasks.update(tasks)
        try:
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._tasks.difference_update(tasks)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _work(self, queue: deque[Trial]) -> None:
        progress, spending = self.progress, self._config.spending
        while queue and not self._stopping:
            trial = queue.popleft()
            arm = trial.arm
            if arm.model in progress.unreachable:
                continue
            request = request_of(trial, self._config)
            reservation = None
            if spending.limited:
                try:
                    reservation = await spending.reserve(arm, request.messages)
                except LLMError as exc:
                    self._stop(str(exc), now=False)
                    return
                if self._has_stopped():  # while it waited for the reservation
                    spending.settle(reservation, 0.0)
                    return
            call = Call(arm.service, request, ledger=self._config.ledger)
            response = await call.run_on_service_thread()
            cost = response.cost_usd
            if reservation is not None:
                nothing_sent = cost is None and not response.content and response.status != "cancelled"
                spending.settle(reservation, 0.0 if nothing_sent else cost)
            self._note(trial, response, call.error)

    def _has_stopped(self) -> bool:
        return self._stopping

    def _note(self, trial: Trial, response: ChatResponse, error: LLMError | None) -> None:
        progress, model = self.progress, trial.arm.model
        progress.cost_usd += response.cost_usd or 0.0
        if error is None:
            self._refused[model] = 0
            if self._config.texts is not None:
                self._config.texts[response.call_id] = response.content
        elif error.category == "quota" and error.status_code is None:
            self._stop(str(error), now=False)  # the budget of the process
            return
        elif _root(error).category in _MODEL_ERRORS or (trial.warmup and _root(error).category == "connection"):
            progress.unreachable.setdefault(model, error)
        elif _root(error).category == "connection":
            self._refused[model] = self._refused.get(model, 0) + 1
            if self._refused[model] > 2 * self._config.concurrency:
                progress.unreachable.setdefault(model, error)
        if not trial.warmup and response.status != "cancelled":
            progress.asked += 1
            progress.failed += error is not None


def request_of(trial: Trial, config: RunConfig) -> ChatRequest:
    """Return the request of a trial."""
    arm, prompt = trial.arm, trial.prompt
    asked = arm.request
    return replace(
        asked,
        messages=trial.messages,
        # A repeat needs an answer of its own.
        cache=asked.cache if trial.repeat == 0 and not trial.warmup else False,
        provenance=Provenance(
            origin="experiment",
            tags={TRIAL_TAG: trial.key, GRID_TAG: config.grid},
            experiment=config.experiment,
            arm=arm.label,
            prompt_id=prompt.prompt_id,
            repeat=trial.repeat,
            warmup=trial.warmup,
        ),
    )


def _by_endpoint(trials: Sequence[Trial]) -> list[tuple[BaseLLMService, deque[Trial]]]:
    found: dict[Any, tuple[BaseLLMService, deque[Trial]]] = {}
    keys: dict[int, Any] = {}
    for trial in trials:
        service = trial.arm.service
        key = keys.get(id(service))
        if key is None:
            key = keys[id(service)] = _endpoint(service)
        found.setdefault(key, (service, deque()))[1].append(trial)
    return list(found.values())


def _endpoint(service: BaseLLMService) -> Any:
    """Return a key that is the same for services that share a server and a limiter."""
    try:
        return service.address(), service.limits
    except (LLMError, NotImplementedError):  # a missing key, for example: the call itself reports it
        return service.full_name


def _width(service: BaseLLMService) -> int:
    """Return the number of servers behind a service, each to be warmed up."""
    return max(1, len(list(service._arms()))) if isinstance(service, Route) else 1  # noqa: SLF001 - a route is ours


def _root(error: LLMError) -> LLMError:
    """Return the cause of ``max_retries_exceeded``, else the error itself."""
    cause = error.__cause__
    return cause if error.category == "max_retries_exceeded" and isinstance(cause, LLMError) else error
