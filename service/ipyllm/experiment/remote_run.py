"""Runs trials in other processes, by any ``concurrent.futures.Executor``, one chunk at a time.

Of a chunk whose worker died, the trials that it has not asked are submitted again; a chunk that is returned twice is
written once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Final

from ulid import ULID

from ipyllm.conversations.hidden_tokens import hidden_tokens
from ipyllm.errors import LLMError
from ipyllm.experiment.chunk_budget import affordable_part
from ipyllm.experiment.chunk_job import ChunkJob
from ipyllm.experiment.executors import executor_and_factory, worker_count
from ipyllm.experiment.failure_limit import FailureLimit
from ipyllm.experiment.picklable import check_picklable
from ipyllm.experiment.remote_chunk import Chunk, ChunkReport, answered_in, run_chunk, write_lost_calls
from ipyllm.experiment.run_progress import RunProgress
from ipyllm.experiment.trial_claims import TICK_S
from ipyllm.fork_safety import renewed_in_child
from ipyllm.observability.logs import log_failure
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.liveness import Liveness
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.run_config import RunConfig

__all__ = ["RemoteRun"]

_MAX_DEATHS: Final = 4
"""Consecutive deaths of workers after which the run stops."""

_MAX_ROUNDS: Final = 8
"""Maximum size of a chunk, in multiples of ``concurrency``: its trials are repeated if a worker dies."""

_MIN_SUBMITTED: Final = 32
"""Number of chunks that are submitted at once, even to a few workers: clusters grow with what waits for them."""

_SUBMITTED_PER_WORKER: Final = 4
_POLL_S: Final = 0.25
"""Seconds between two looks at the budget, or at trials that others hold, while only other processes can change it."""

_DEATHS: Final = frozenset({"KilledWorker", "WorkerCrashedError"})
"""Errors by which Dask and Ray say that a worker died."""

_logger = logging.getLogger("ipyllm.experiment")


class RemoteRun:
    """Runs trials by an executor, with the interface of :class:`~ipyllm.experiment.run.Run`.

    A thread submits the chunks and takes the reports; the executor's own threads only wake it. The executor may be
    given as a function that makes one, which is called again after it breaks. ``concurrency`` is that of each worker.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        config: RunConfig,
        executor: Executor | Callable[[], Executor],
        *,
        chunk_size: int | None = None,
    ) -> None:
        assert config.claims is not None
        self.done = InterruptibleEvent()
        self.progress = RunProgress(len(trials))
        self._executor, self._factory = executor_and_factory(executor)
        self._owns_executor = executor is not self._executor
        self._claims = config.claims
        self._run_id = str(ULID())
        self._n_workers = self._claims.senders = worker_count(self._executor)
        self._most_submitted = max(_MIN_SUBMITTED, _SUBMITTED_PER_WORKER * self._n_workers)
        self.config = replace(config, executor=f"{self._n_workers} × {type(self._executor).__name__}")
        self._n_deaths = 0
        self._failures = FailureLimit(config.max_failures)
        self._shares_ledger: bool | None = None  # whether workers write to our ledger; None until one has said so
        self._held: list[Trial] = []  # others have claimed them
        self._chunk_size = chunk_size or _chunk_size(len(trials), self._n_workers, config.most_in_flight)
        self._trial_queue = deque(self._chunks(trials))
        self._warmup_queue = deque(self._warm_ups(trials))
        self._submitted: dict[Future[ChunkReport], ChunkJob] = {}
        self._returned: deque[Future[ChunkReport]] = deque()
        self._wake = renewed_in_child(threading.Event())
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ipyllm-experiment", daemon=True)
        self.done.set_by = Liveness(self._thread, "The thread of this experiment")

    def start(self) -> RemoteRun:
        """Start and return at once; raise ``bad_request`` if a service cannot be pickled."""
        jobs = (*self._warmup_queue, *self._trial_queue)
        check_picklable((job.chunk for job in jobs), self._executor)
        self._thread.start()
        return self

    def drain(self) -> None:
        """Submit no more chunks, and withdraw those that no worker has begun; the others go on."""
        self.cancel()

    def cancel(self) -> None:
        """Submit no more chunks, and withdraw those that no worker has begun; the others are written when they end."""
        self._stop("It was interrupted; chunks that workers have begun are written when they end.")
        self._wake.set()

    def _stop(self, why: str) -> None:
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why

    # ---- chunks --------------------------------------------------------------------------------------

    def _chunks(self, trials: Sequence[Trial]) -> list[ChunkJob]:
        size = self._chunk_size
        parts = [list(trials[start : start + size]) for start in range(0, len(trials), size)]
        return [ChunkJob(Chunk.of(part, self.config), part) for part in parts]

    def _warm_ups(self, trials: Sequence[Trial]) -> list[ChunkJob]:
        if not self.config.warmups:
            return []
        cold = [trial for trial in reversed(trials) if trial.arm.server not in self.config.warm]
        first = list({trial.arm.server: trial for trial in cold}.values())
        return [
            ChunkJob(Chunk.of([trial], self.config, warmups=self.config.warmups), [trial], is_warmup=True)
            for trial in first
        ]

    # ---- on its own thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for queue in (self._warmup_queue, self._trial_queue):
                self._submit_all(queue)
                while self._submitted or ((queue or self._held) and not self._stopping):
                    if not self._wake.wait(TICK_S if self._submitted else _POLL_S):
                        self._claims.tick()
                    self._wake.clear()
                    if self._stopping:
                        self._withdraw()
                    self._take_reports(queue)
                    if not self._submitted:
                        queue.extend(self._chunks(self._held))
                        self._held.clear()
                    self._submit_all(queue)
        except Exception as exc:  # noqa: BLE001 - the waiting thread must see that it ended
            self.progress.stopped = redact(f"It failed with {type(exc).__name__}: {exc}.")
            log_failure(_logger, "an experiment failed: a bug in ipyllm", exc)
            for job in self._submitted.values():
                self._lose(job)
        finally:
            if self._owns_executor:
                self._executor.shutdown(wait=False, cancel_futures=True)
            self._claims.leave()
            self.done.set()

    def _submit_all(self, queue: deque[ChunkJob]) -> None:
        """Submit the chunks that nobody else runs, and that the budget allows."""
        while queue and not self._stopping and len(self._submitted) < self._most_submitted:
            job = self._reachable_part(queue.popleft())
            self._claim(job)
            if not job.trials:
                continue
            try:
                part, rest = affordable_part(job, self.config, makes_room=bool(self._submitted))
            except LLMError as exc:
                self._stop(str(exc))
                part, rest = None, job
            if rest is not None:
                queue.appendleft(rest)
            if part is None:
                return
            self._submit(part)

    def _claim(self, job: ChunkJob) -> None:
        """Claim the trials of a chunk, and leave out those that others hold or have asked."""
        if job.is_warmup or job.is_claimed:
            return
        state = self._claims.take([trial.key for trial in job.trials])
        self._held += (trial for trial in job.trials if trial.key in state.held)
        self.progress.elsewhere += len(state.ended)
        job.keep(state.granted, self.config)
        job.is_claimed = True

    def _submit(self, job: ChunkJob) -> None:
        job.tries += 1
        chunk = replace(job.chunk, submission_id=f"{self._run_id} {job.tries}", senders=max(1, self._claims.n_senders))
        try:
            future: Future[ChunkReport] = self._executor.submit(run_chunk, chunk)
        except BrokenExecutor:  # a worker died between two chunks
            if not self._replace_executor():
                self._release(job, 0.0)
                return
            future = self._executor.submit(run_chunk, chunk)
        job.executor = self._executor
        self._submitted[future] = job
        future.add_done_callback(self._on_returned)

    def _on_returned(self, future: Future[ChunkReport]) -> None:
        """Wake the run's thread; called on a thread of the executor."""
        self._returned.append(future)
        self._wake.set()

    def _withdraw(self) -> None:
        """Withdraw the chunks that no worker has begun; workers take the oldest first."""
        for future in list(self._submitted)[self._n_workers :]:
            future.cancel()

    def _take_reports(self, queue: deque[ChunkJob]) -> None:
        failures: list[tuple[Future[ChunkReport], BaseException]] = []
        while self._returned:
            future = self._returned.popleft()
            if future not in self._submitted:
                continue
            try:
                report = future.result()
            except (CancelledError, Exception) as exc:  # noqa: BLE001 - an executor's own errors, or a worker's
                failures.append((future, exc))
            else:
                self._write(self._submitted[future], report, queue)
                del self._submitted[future]
        begun = list(self._submitted)[: self._n_workers]  # workers take the oldest first
        for future, failure in failures:
            job = self._submitted.pop(future)
            # A pool fails all its chunks when it breaks, also those that no worker has begun.
            may_have_run = future in begun if isinstance(failure, BrokenExecutor) else not _never_ran(failure)
            if may_have_run:
                self._lose(job)
            else:
                self._release(job, 0.0)
            self._handle_failure(job, failure, queue)

    def _write(self, job: ChunkJob, report: ChunkReport, queue: deque[ChunkJob]) -> None:
        progress = self.progress
        self._n_deaths = 0
        self._shares_ledger = report.shares_ledger
        for row in report.rows:
            self.config.ledger.put(row)
        if self.config.texts is not None:
            self.config.texts.update(report.texts)
        hidden_tokens().update(report.hidden_tokens)
        self._release(job, report.cost.usd)
        progress.cost += report.cost
        for server, error in report.unreachable.items():
            progress.unreachable.setdefault(server, error)
        for name, reason in report.left.items():
            progress.left.setdefault(name, reason)
        if not job.is_warmup:
            self._count_failures(job, report)
        if report.unreachable or progress.left:
            self._take_back_unreachable(queue)
        if job.is_warmup:
            return
        progress.ended += report.ended
        progress.failed += report.failed
        progress.elsewhere += len(report.answered)
        self._leave_out(answered_in(report.rows) - report.outcomes.keys(), queue)
        asked = report.outcomes.keys() | report.answered
        if not report.shares_ledger:
            for key in asked:
                self._claims.end(key)
        self._handle_rest(job, asked, report, queue)

    def _leave_out(self, answered: Collection[str], queue: deque[ChunkJob]) -> None:
        """Leave out of all chunks what an earlier kernel's workers have answered."""
        for job in queue if answered else ():
            n_before = len(job.trials)
            job.keep({trial.key for trial in job.trials}.difference(answered), self.config)
            self.progress.elsewhere += n_before - len(job.trials)

    def _count_failures(self, job: ChunkJob, report: ChunkReport) -> None:
        """Leave arms that failed too often in several chunks together."""
        arms = {trial.key: trial.arm for trial in job.trials}
        for key, outcome in report.outcomes.items():  # in the order in which they ended
            found = self._failures.record(arms[key], outcome)
            if found is not None:
                self.progress.left.setdefault(*found)

    def _take_back_unreachable(self, queue: deque[ChunkJob]) -> None:
        """Withdraw chunks that no worker has begun, and that have calls to a server or arm that is asked no more."""
        for future, job in list(self._submitted.items()):
            if any(self.progress.is_left(trial.arm) for trial in job.trials) and future.cancel():
                del self._submitted[future]
                self._release(job, 0.0)
                queue.append(job)

    def _handle_rest(self, job: ChunkJob, asked: Collection[str], report: ChunkReport, queue: deque[ChunkJob]) -> None:
        """Submit again what a worker did not ask: others held it, or retries used up its part of the budget."""
        rest = [trial for trial in job.trials if trial.key not in asked]
        if rest and not asked and report.stopped is not None:
            self._stop(report.stopped)
        elif rest:
            queue.appendleft(ChunkJob(Chunk.of(rest, self.config), rest))

    def _handle_failure(self, job: ChunkJob, exc: BaseException, queue: deque[ChunkJob]) -> None:
        """Submit a chunk again if its worker died; stop the run after other errors."""
        is_broken = isinstance(exc, BrokenExecutor)
        if self._stopping and (is_broken or isinstance(exc, CancelledError)):
            return
        if is_broken or isinstance(exc, CancelledError) or type(exc).__name__ in _DEATHS:
            job.is_claimed = False  # the worker may have asked some
            queue.append(job)  # last, in case the chunk itself kills its worker
            if is_broken and job.executor is not self._executor:
                return  # this broken executor was counted before
            self._n_deaths += 1
            if self._n_deaths >= _MAX_DEATHS:
                self._stop(
                    f"Workers died {self._n_deaths} times, the last with {len(job.trials)} calls. Out of memory?"
                )
            elif is_broken:
                self._replace_executor()
        elif isinstance(exc, LLMError):
            self._stop(f"A worker cannot send calls: {exc}")
        else:
            self._stop(f"A worker failed, {type(exc).__name__}: {exc}. Is ipyllm installed there, in the same version?")

    def _replace_executor(self) -> bool:
        """Replace a broken executor, if there is a function that makes one."""
        if self._factory is None:
            self._stop(
                "The executor broke when a worker died. Pass a function that creates one, so that it can be replaced."
            )
            return False
        broken, self._executor = self._executor, self._factory()
        if self._owns_executor:
            broken.shutdown(wait=False)
        self._owns_executor = True
        return True

    def _reachable_part(self, job: ChunkJob) -> ChunkJob:
        given_up = [] if job.is_warmup else [each.key for each in job.trials if self.progress.is_left(each.arm)]
        if given_up:
            if job.is_claimed:
                self._claims.give_back(given_up)
            job.keep({trial.key for trial in job.trials}.difference(given_up), self.config)
        return job

    # ---- the end of a chunk -------------------------------------------------------------------------

    def _lose(self, job: ChunkJob) -> None:
        """Count the calls of a chunk without a report, whose worker may have made some.

        A worker that shares our ledger has written their rows before it sent them. For others, each call counts as the
        most that it can have cost.
        """
        # Before the reservation is released, so that what a dead worker has sent counts from now on.
        state = self._claims.take([] if job.is_warmup else [trial.key for trial in job.trials])
        if state.inherited or state.ended or state.held:  # it has taken the claims over
            self._shares_ledger = True
        if self._shares_ledger is False or (self._shares_ledger is None and job.reservation_id is not None):
            write_lost_calls(job.calls, job.bounds_usd, self.config)
        self._release(job, sum(job.bounds_usd))

    def _release(self, job: ChunkJob, cost_usd: float) -> None:
        """Release what is reserved for a chunk; its rows say what it cost."""
        if job.reservation_id is not None:
            try:
                self.config.spending.release_now(job.reservation_id, cost_usd)
            except LLMError as exc:
                self._stop(str(exc))


def _never_ran(failure: BaseException) -> bool:
    """Return whether no call of a chunk was sent: it was withdrawn, or its worker could not begin."""
    return isinstance(failure, CancelledError | LLMError | ImportError)


def _chunk_size(trials: int, workers: int, concurrency: int) -> int:
    """Return the size of a chunk: large enough to keep a worker busy, small enough that all workers end together."""
    fair = ceil(trials / workers)
    return max(1, min(fair, max(min(concurrency, fair), min(ceil(fair / 4), _MAX_ROUNDS * concurrency))))
