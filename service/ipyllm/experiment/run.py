"""Runs the pending trials on the service thread: warm-ups first, then all endpoints in parallel.

It uses :class:`~ipyllm.pipeline.call.Call` directly: no events, and all calls on one thread. The limiter
decides how many calls are in flight at an endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import LLMError
from ipyllm.experiment.failure_limit import FailureLimit, Outcome
from ipyllm.experiment.limit_shares import LimitShares
from ipyllm.experiment.run_config import request_of
from ipyllm.experiment.run_progress import RunProgress
from ipyllm.experiment.servers import n_servers
from ipyllm.experiment.trial_queue import RunClaims, TrialQueue
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.call import Call
from ipyllm.pipeline.candidates import category_of
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import ServiceThread, service_thread
from ipyllm.services.local import LocalService
from ipyllm.text.redact import redact
from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.pace import Pace
    from ipyllm.experiment.run_config import RunConfig
    from ipyllm.response import Category, ChatResponse
    from ipyllm.services.base import BaseLLMService

__all__ = ["Run"]

_MODEL_ERRORS: Final = frozenset({"authentication", "not_found", "quota"})
"""Errors that every other call to the same model would return too."""

_POLL_S: Final = 0.5
"""Seconds between two looks at trials that others hold."""

_logger = logging.getLogger("ipyllm.experiment")


@dataclass(slots=True)
class _Crew:
    """The tasks that work off the trials of one endpoint."""

    queue: TrialQueue
    max_in_flight: int
    workers: set[asyncio.Task[None]] = field(default_factory=set)


class Run:
    """Runs trials in this process, in their order, or only their warm-ups.

    Stages: made → :meth:`start` → :attr:`done` is set, also after an error.
    """

    def __init__(self, trials: Sequence[Trial], config: RunConfig, *, warmups_only: bool = False) -> None:
        self.done = InterruptibleEvent()
        services = {id(trial.arm.service): trial.arm.service for trial in trials}.values()
        self._shares = LimitShares(services)
        self._claims = None if config.claims is None else RunClaims(config.claims, self._shares)
        self.progress = RunProgress(len(trials), one_at_a_time=any(map(config.asks_one_at_a_time, services)))
        self._trials = trials
        self.config = config
        self._warmups_only = warmups_only
        self._stopping = False
        self._stopped = asyncio.Event()
        self._connection_errors: dict[str, int] = {}
        self._failures = FailureLimit(config.max_failures)
        self._in_flight: dict[Call, Trial] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._future: Future[None] | None = None
        self._thread: ServiceThread | None = None

    def start(self) -> Run:
        """Start and return at once."""
        self._thread = service_thread()
        self.done.set_by = self._thread.liveness
        self._future = self._thread.submit(self._run())
        return self

    def drain(self) -> None:
        """Send no more calls; those in flight go on."""
        self._interrupt(now=False)

    def cancel(self) -> None:
        """Cancel all calls in flight; their rows have the status ``cancelled``."""
        self._interrupt(now=True)

    def _interrupt(self, *, now: bool) -> None:
        if self._thread is not None and self._thread.alive:  # not alive: the parent's, in a forked child
            self._thread.loop.call_soon_threadsafe(partial(self._stop, "It was interrupted.", "cancelled", now=now))

    # ---- on the service thread -------------------------------------------------------------------

    def _stop(self, why: str, category: Category, *, now: bool = False) -> None:
        """Send no more calls; ``now`` cancels those in flight, too."""
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why
            self.progress.stopped_by = category
            self._stopped.set()
        if now:
            for task in self._tasks:
                task.cancel()

    async def _run(self) -> None:
        self._shares.take_one_of(self.config.senders)
        heartbeat = None if self._claims is None else asyncio.create_task(self._claims.heartbeat())
        try:
            await asyncio.gather(
                *(self._run_endpoint(service, trials) for service, trials in _by_endpoint(self._trials, self.config))
            )
        except BaseException as exc:
            self._stopping = True
            self.progress.stopped_by = "unknown_error"
            self.progress.stopped = redact(f"It failed with {type(exc).__name__}: {exc}.")
            if isinstance(exc, Exception):
                log_failure(_logger, "an experiment failed: a bug in ipyllm", exc)
            raise
        finally:
            try:
                if heartbeat is not None and self._claims is not None:
                    heartbeat.cancel()
                    await self._claims.leave()
            finally:
                self._shares.take_one_of(1)
                self.done.set()

    async def _run_endpoint(self, service: BaseLLMService, trials: deque[Trial]) -> None:
        """Run all trials of one endpoint, or those of all embedded models."""
        max_in_flight = self.config.in_flight_at(service)
        if self._warmups_only:
            await self._warm_up(trials, max_in_flight)
            return
        queue = TrialQueue(trials, self._claims)
        crew = _Crew(queue, max_in_flight)
        is_warm = False
        while not self._stopping:
            if await queue.fill(self._claimed_at_once(crew)):
                if not is_warm:
                    await self._warm_up(queue, max_in_flight)
                    is_warm = True
                await self._run_crew(crew)
            self.progress.elsewhere += queue.n_elsewhere
            queue.n_elsewhere = 0
            if not queue.waits_for_others or not self.config.waits_for_others:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _POLL_S)
            queue.look_again()

    async def _warm_up(self, trials: Iterable[Trial], max_in_flight: int) -> None:
        first_trials: dict[str, Trial] = {}
        for trial in trials:
            if trial.arm.server not in self.config.warm:
                first_trials.setdefault(trial.arm.server, trial)
        if self.config.warmups:
            # One model after the other: a server may hold one at a time.
            for trial in first_trials.values():
                n_calls = self.config.warmups * n_servers(trial.arm.service)
                queue = TrialQueue([replace(trial, warmup=True)] * n_calls, None)
                await self._run_crew(_Crew(queue, max_in_flight))

    async def _run_crew(self, crew: _Crew) -> None:
        if self._stopping:
            return
        self._add_workers(crew)
        try:
            while crew.workers:
                ended, _ = await asyncio.wait(crew.workers, return_when=asyncio.FIRST_COMPLETED)
                crew.workers -= ended
                self._tasks -= ended
                for task in ended:
                    if not task.cancelled():
                        task.result()  # raises what it raised
        finally:
            self._tasks -= crew.workers

    def _add_workers(self, crew: _Crew) -> None:
        for _ in range(min(self._wanted(crew) - len(crew.workers), len(crew.queue))):
            task = asyncio.create_task(self._run_queue(crew))
            crew.workers.add(task)
            self._tasks.add(task)

    def _claimed_at_once(self, crew: _Crew) -> int:
        return 2 * self._wanted(crew)

    def _wanted(self, crew: _Crew) -> int:
        pace = self.config.pace
        return crew.max_in_flight if pace is None else min(pace.limit, crew.max_in_flight)

    async def _run_queue(self, crew: _Crew) -> None:
        progress, config = self.progress, self.config
        while not self._stopping and (trial := await crew.queue.next(self._claimed_at_once(crew))) is not None:
            arm = trial.arm
            if progress.is_left(arm):
                self._give_back(trial)
                continue
            try:
                request = request_of(trial, config)
                account = await config.spending.open(arm.service, request)
            except LLMError as exc:
                self._stop(str(exc), category_of(exc))
                return
            if self._has_stopped():  # while it waited for the reservation
                account.end()
                return
            if progress.is_left(arm):
                self._give_back(trial)
                account.end()
                continue
            call = Call(arm.service, request, ledger=config.ledger, account=account)
            self._in_flight[call] = trial
            progress.in_flight += 1
            try:
                response = await call.run_on_service_thread()
            finally:
                del self._in_flight[call]
                progress.in_flight -= 1
                account.end()
            self._record_outcome(trial, response, call.error)
            if config.pace is not None and self._is_one_too_many(crew, config.pace, response, call.error):
                return

    def _give_back(self, trial: Trial) -> None:
        if self._claims is not None and not trial.warmup:
            self._claims.give_back(trial)

    def _is_one_too_many(self, crew: _Crew, pace: Pace, response: ChatResponse, error: LLMError | None) -> bool:
        """Tell the pace about an answer, and change the number of workers; return whether this one is to end."""
        if error is None and response.timing.stream_end_s is not None:
            pace.record(response.timing.stream_end_s)
        self._add_workers(crew)
        if len(crew.workers) <= self._wanted(crew):
            return False
        crew.workers.discard(asyncio.current_task())
        return True

    def _has_stopped(self) -> bool:
        return self._stopping

    def _record_outcome(self, trial: Trial, response: ChatResponse, error: LLMError | None) -> None:
        progress = self.progress
        if self.config.on_outcome is not None:
            self.config.on_outcome(trial, response, error)
        progress.cost += CostTotal.of_response(response)
        if error is None:
            self._connection_errors[trial.arm.server] = 0
            if self.config.texts is not None:
                self.config.texts[response.call_id] = response.content
        elif error.category == "quota" and error.status_code is None:
            self._stop(str(error), "quota")  # a budget
            return
        else:
            self._note_unreachable(trial, error)
        outcome = Outcome.of(response)
        if not trial.warmup and (found := self._failures.record(trial.arm, outcome)) is not None:
            progress.left.setdefault(*found)
        if progress.is_left(trial.arm):
            for call, other in self._in_flight.items():
                if progress.is_left(other.arm):
                    call.stop_retrying()
        if not trial.warmup and outcome.has_ended:
            self._count(trial, error)

    def _count(self, trial: Trial, error: LLMError | None) -> None:
        self.progress.ended += 1
        self.progress.failed += error is not None
        if self._claims is not None:
            self._claims.end(trial)

    def _note_unreachable(self, trial: Trial, error: LLMError) -> None:
        progress, server = self.progress, trial.arm.server
        if category_of(error) in _MODEL_ERRORS or (trial.warmup and category_of(error) == "connection"):
            progress.unreachable.setdefault(server, error)
        elif category_of(error) == "connection":
            self._connection_errors[server] = self._connection_errors.get(server, 0) + 1
            pace = self.config.pace
            if self._connection_errors[server] > 2 * (self.config.most_in_flight if pace is None else pace.limit):
                progress.unreachable.setdefault(server, error)


def _by_endpoint(trials: Sequence[Trial], config: RunConfig) -> list[tuple[BaseLLMService, deque[Trial]]]:
    found: dict[Any, tuple[BaseLLMService, deque[Trial]]] = {}
    keys: dict[int, Any] = {}
    for trial in trials:
        service = trial.arm.service
        key = keys.get(id(service))
        if key is None:
            alone = config.asks_one_at_a_time(service)
            key = keys[id(service)] = LocalService.name if alone else _endpoint_key(service)
        found.setdefault(key, (service, deque()))[1].append(trial)
    return list(found.values())


def _endpoint_key(service: BaseLLMService) -> Any:
    """Return a key that is the same for services that share a server and a limiter."""
    try:
        return service.address(), service.limits
    except (LLMError, NotImplementedError):  # a missing key, for example, which the call reports
        return service.full_name
