"""Runs trials in other processes, by any ``concurrent.futures.Executor``, one chunk at a time.

A chunk whose worker died is submitted again; a chunk that is returned twice is written once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from ipyllm.errors import LLMError, bad_request
from ipyllm.experiment.remote_chunk import Chunk, ChunkReport, run_chunk, write_rows
from ipyllm.experiment.run import RunProgress
from ipyllm.ledger.ids import kernel_id
from ipyllm.runtime.interruptible import InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipyllm.experiment.grid import Trial
    from ipyllm.experiment.run import RunConfig
    from ipyllm.pipeline.budget import Reservation

__all__ = ["RemoteRun"]

_MAX_LOSSES: Final = 4
"""Deaths of workers, without a chunk returned in between, after which the run stops."""

_DEFAULT_WORKERS: Final = 4
"""Assumed number of workers, where the executor does not say."""

_MAX_ROUNDS: Final = 8
"""A chunk has at most so many times ``concurrency`` trials: they are repeated when a worker dies."""

_logger = logging.getLogger("ipyllm.experiment")


@dataclass
class SentChunk:
    """A chunk with its trials, its submissions and its reservations."""

    chunk: Chunk
    trials: list[Trial]
    is_warmup: bool = False
    tries: int = 0
    executor: Executor | None = None
    reservations: list[Reservation] = field(default_factory=list)


class RemoteRun:
    """Runs trials by an executor, with the interface of :class:`~ipyllm.experiment.run.Run`.

    A thread submits the chunks and takes the reports; the executor's own threads only wake it. An executor may be given
    as a function that makes one, which is called again when it breaks. ``concurrency`` is that of each worker;
    ``earlier_rows`` is the number of rows that each trial has already.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        config: RunConfig,
        executor: Executor | Callable[[], Executor],
        *,
        chunk_size: int | None = None,
        earlier_rows: Mapping[str, int],
    ) -> None:
        self.done = InterruptibleEvent()
        self.progress = RunProgress(len(trials))
        self._config = config
        self._executor, self._factory = _executor_and_factory(executor)
        self._owns_executor = executor is not self._executor
        self._earlier_rows = earlier_rows
        self._kernel = kernel_id()
        self._name = str(ULID())
        self._workers = _workers(self._executor)
        self._losses = 0
        size = chunk_size or _chunk_size(len(trials), self._workers, config.concurrency)
        self._waiting = deque(self._chunks(trials, size))
        self._warming = deque(self._warm_ups(trials))
        self._submitted: dict[Future[ChunkReport], SentChunk] = {}
        self._returned: deque[Future[ChunkReport]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ipyllm-experiment", daemon=True)

    def start(self) -> RemoteRun:
        """Begin and return at once; raise ``bad_request`` if a service cannot be pickled."""
        _check_picklable([*self._warming, *self._waiting])
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Submit no more, and withdraw the chunks that no worker has begun; the others are written when they end."""
        self._stop("It was interrupted; chunks that workers have begun are written when they end.")
        self._wake.set()

    def _stop(self, why: str) -> None:
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why

    # ---- chunks --------------------------------------------------------------------------------------

    def _chunks(self, trials: Sequence[Trial], size: int) -> list[SentChunk]:
        parts = [list(trials[start : start + size]) for start in range(0, len(trials), size)]
        return [SentChunk(Chunk.of(part, self._config), part) for part in parts]

    def _warm_ups(self, trials: Sequence[Trial]) -> list[SentChunk]:
        if not self._config.warmups:
            return []
        first = list({trial.arm.model: trial for trial in reversed(trials)}.values())
        return [
            SentChunk(Chunk.of([trial], self._config, warmups=self._config.warmups), [trial], is_warmup=True)
            for trial in first
        ]

    # ---- on its own thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for queue in (self._warming, self._waiting):
                self._submit_all(queue)
                while self._submitted or (queue and not self._stopping):
                    self._wake.wait()
                    self._wake.clear()
                    if self._stopping:
                        self._withdraw()
                    self._take_reports(queue)
                    self._submit_all(queue)
        except Exception as exc:
            self.progress.stopped = f"It failed with {type(exc).__name__}: {exc}."
            _logger.exception("an experiment failed: a bug in ipyllm")
        finally:
            if self._owns_executor:
                self._executor.shutdown(wait=False, cancel_futures=True)
            self.done.set()

    def _submit_all(self, queue: deque[SentChunk]) -> None:
        """Submit the chunks that the budget allows."""
        while queue and not self._stopping:
            sent = self._reachable_part(queue[0])
            if sent is not None and not self._reserve(sent):
                return
            queue.popleft()
            if sent is not None:
                self._submit(sent)

    def _submit(self, sent: SentChunk) -> None:
        sent.tries += 1
        chunk = replace(sent.chunk, sending=f"{self._name} {sent.tries}")
        try:
            future: Future[ChunkReport] = self._executor.submit(run_chunk, chunk)
        except BrokenExecutor:  # a worker died between two chunks
            if not self._replace_executor():
                return
            future = self._executor.submit(run_chunk, chunk)
        sent.executor = self._executor
        self._submitted[future] = sent
        future.add_done_callback(self._on_returned)

    def _on_returned(self, future: Future[ChunkReport]) -> None:
        """Wake the run's thread, from whichever thread the executor calls."""
        self._returned.append(future)
        self._wake.set()

    def _withdraw(self) -> None:
        """Withdraw the chunks that no worker has begun; workers take the oldest first."""
        for future in list(self._submitted)[self._workers :]:
            future.cancel()

    def _take_reports(self, queue: deque[SentChunk]) -> None:
        while self._returned:
            future = self._returned.popleft()
            sent = self._submitted.pop(future, None)
            if sent is None:
                continue
            try:
                report = future.result()
            except (CancelledError, Exception) as exc:  # noqa: BLE001 - an executor's own errors, or a worker's
                self._release(sent, 0.0)
                self._resubmit(sent, exc, queue)
            else:
                self._write(sent, report)

    def _write(self, sent: SentChunk, report: ChunkReport) -> None:
        progress = self.progress
        self._losses = 0
        write_rows(report.rows, self._config, self._kernel, self._earlier_rows)
        self._release(sent, report.cost_usd)
        progress.cost_usd += report.cost_usd
        for model, error in report.unreachable.items():
            progress.unreachable.setdefault(model, error)
        if not sent.is_warmup:
            progress.asked += report.asked
            progress.failed += report.failed

    def _resubmit(self, sent: SentChunk, exc: BaseException, queue: deque[SentChunk]) -> None:
        """Submit a chunk again whose worker died."""
        broke = isinstance(exc, BrokenExecutor)
        if self._stopping and (broke or isinstance(exc, CancelledError)):
            return
        if broke or isinstance(exc, CancelledError) or type(exc).__name__ == "KilledWorker":
            queue.append(sent)  # last, in case the chunk itself kills its worker
            if broke and sent.executor is not self._executor:
                return  # the same broken executor was counted already
            self._losses += 1
            if self._losses >= _MAX_LOSSES:
                self._stop(
                    f"Workers died {self._losses} times over, the last with {len(sent.trials)} calls; out of memory?"
                )
            elif broke:
                self._replace_executor()
        elif isinstance(exc, LLMError):
            self._stop(f"A worker cannot send calls: {exc}")
        else:
            self._stop(f"A worker failed, {type(exc).__name__}: {exc}. Is ipyllm installed there, in the same version?")

    def _replace_executor(self) -> bool:
        """Replace a broken executor, where there is a function that makes one."""
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

    def _reachable_part(self, sent: SentChunk) -> SentChunk | None:
        gone = self.progress.unreachable
        if sent.is_warmup or not any(trial.arm.model in gone for trial in sent.trials):
            return sent
        trials = [trial for trial in sent.trials if trial.arm.model not in gone]
        return SentChunk(Chunk.of(trials, self._config), trials, tries=sent.tries) if trials else None

    # ---- the budget --------------------------------------------------------------------------------

    def _reserve(self, sent: SentChunk) -> bool:
        """Reserve the highest cost of a chunk. Return False if it must wait; stop the run if it never fits."""
        spending = self._config.spending
        if not spending.limited:
            return True
        reservations: list[Reservation] = []
        for trial in sent.trials * max(1, sent.chunk.warmups):
            try:
                reservations.append(spending.reserve_now(trial.arm, trial.messages))
            except LLMError as exc:
                if self._submitted:
                    for reservation in reservations:
                        spending.settle(reservation, 0.0)
                    return False
                self._stop(str(exc))
                break
        if len(reservations) < len(sent.trials):  # no running chunk can free anything: send the part that fits
            if not reservations:
                return False
            sent.trials = sent.trials[: len(reservations)]
            sent.chunk = Chunk.of(sent.trials, self._config)
        sent.reservations = reservations
        return True

    def _release(self, sent: SentChunk, cost_usd: float) -> None:
        """Settle a chunk's reservations together: the first by the whole cost, the others by 0."""
        for place, reservation in enumerate(sent.reservations):
            self._config.spending.settle(reservation, 0.0 if place else cost_usd)
        sent.reservations = []


def _executor_and_factory(
    executor: Executor | Callable[[], Executor],
) -> tuple[Executor, Callable[[], Executor] | None]:
    """Return an executor, and a function that makes another like it."""
    if callable(getattr(executor, "submit", None)):
        assert not callable(executor) or isinstance(executor, Executor)
        return executor, _pool_factory(executor)
    if not callable(executor):
        raise bad_request(
            f"executor must be a concurrent.futures.Executor or a function that creates one, not {executor!r}."
        )
    made = executor()
    return made, executor


def _pool_factory(executor: Any) -> Callable[[], Executor] | None:
    """Return a function that makes a process pool like this one, which does not survive the death of a worker."""
    if not isinstance(executor, ProcessPoolExecutor):
        return None
    own = vars(executor)
    return lambda: ProcessPoolExecutor(
        own.get("_max_workers"), own.get("_mp_context"), own.get("_initializer"), own.get("_initargs", ())
    )


def _workers(executor: Any) -> int:
    workers = getattr(executor, "_max_workers", None)
    if not isinstance(workers, int):
        client = getattr(executor, "_client", None)  # Dask's
        workers = sum(client.ncores().values()) if client is not None else None
    return workers or _DEFAULT_WORKERS


def _chunk_size(trials: int, workers: int, concurrency: int) -> int:
    """Return the size of a chunk: large enough to keep a worker busy, small enough that all workers end together."""
    fair = ceil(trials / workers)
    return max(1, min(fair, max(min(concurrency, fair), min(ceil(fair / 4), _MAX_ROUNDS * concurrency))))


def _check_picklable(chunks: Sequence[SentChunk]) -> None:
    import pickle

    for given in {id(arm[1]): arm for sent in chunks for arm in sent.chunk.arms}.values():
        try:
            pickle.dumps(given)
        except Exception as exc:  # noqa: BLE001 - whatever an object of the user's raises
            raise bad_request(
                f"{given[0]!r} cannot be sent to another process ({exc}); give the model as a name, with its endpoint "
                "or route in the settings."
            ) from None
