"""A run whose calls are made elsewhere: by any ``concurrent.futures.Executor``, a chunk of the grid at a time.

Chunks go out, rows come home. A worker that dies takes its chunk with it, and the chunk is sent again; a chunk that
arrives twice is written once.
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

from ipyllm.errors import LLMError
from ipyllm.experiment.remote_chunk import Chunk, Report, run_chunk, write_rows
from ipyllm.experiment.run import Progress
from ipyllm.ledger.ids import kernel_id
from ipyllm.runtime.interruptible import InterruptibleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipyllm.experiment.grid import Cell
    from ipyllm.experiment.run import RunConfig
    from ipyllm.pipeline.budget import Reservation

__all__ = ["RemoteRun"]

_MOST_LOSSES: Final = 4
"""How often workers may die before one chunk more comes home."""

_WORKERS: Final = 4
"""How many workers an executor is taken to have that does not say."""

_MOST_ROUNDS: Final = 8
"""A chunk has at most so many times ``concurrency`` cells: what a worker's death costs."""

_logger = logging.getLogger("ipyllm.experiment")


@dataclass
class _Sent:
    """A chunk, how often it was sent, and to whom last."""

    chunk: Chunk
    cells: list[Cell]
    warms: bool = False
    tries: int = 0
    to: Executor | None = None
    held: list[Reservation] = field(default_factory=list)


class RemoteRun:
    """Calls for some cells, made by an executor. Looks like :class:`~ipyllm.experiment.run.Run` to those who wait.

    A thread of its own sends the chunks and takes the reports; the executor's own threads only wake it.

    Parameters
    ----------
    cells : sequence of Cell
        In the order they are to be asked.
    terms : RunConfig
        How; ``concurrency`` is that of each worker.
    executor : Executor or callable
        Who runs the chunks; or what makes one, also in place of one that broke.
    chunk_size : int, optional
        Cells in a chunk.
    times_asked : mapping
        How many rows each cell has already: the number of this attempt.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        terms: RunConfig,
        executor: Executor | Callable[[], Executor],
        *,
        chunk_size: int | None = None,
        times_asked: Mapping[str, int],
    ) -> None:
        self.done = InterruptibleEvent()
        self.progress = Progress(len(cells))
        self._terms = terms
        self._executor, self._make = _taken(executor)
        self._ours = executor is not self._executor
        self._times_asked = times_asked
        self._kernel = kernel_id()
        self._name = str(ULID())
        self._workers = _workers(self._executor)
        self._losses = 0
        size = chunk_size or _chunk_size(len(cells), self._workers, terms.concurrency)
        self._waiting = deque(self._chunks(cells, size))
        self._warming = deque(self._warm_ups(cells))
        self._out: dict[Future[Report], _Sent] = {}
        self._back: deque[Future[Report]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ipyllm-experiment", daemon=True)

    def start(self) -> RemoteRun:
        """Begin, and return at once.

        Raises
        ------
        LLMError
            ``bad_request``: a service cannot travel.
        """
        _can_travel([*self._warming, *self._waiting])
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Send no more: chunks that wait are taken back, those that workers have begun come home when they end."""
        self._stop("It was interrupted; what workers have begun comes home when it ends.")
        self._wake.set()

    def _stop(self, why: str) -> None:
        if not self._stopping:
            self._stopping = True
            self.progress.stopped = why

    # ---- what there is to send ---------------------------------------------------------------------

    def _chunks(self, cells: Sequence[Cell], size: int) -> list[_Sent]:
        parts = [list(cells[start : start + size]) for start in range(0, len(cells), size)]
        return [_Sent(Chunk.of(part, self._terms), part) for part in parts]

    def _warm_ups(self, cells: Sequence[Cell]) -> list[_Sent]:
        if not self._terms.warmups:
            return []
        first = list({cell.arm.model: cell for cell in reversed(cells)}.values())
        return [_Sent(Chunk.of([cell], self._terms, warmups=self._terms.warmups), [cell], warms=True) for cell in first]

    # ---- on its own thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for queue in (self._warming, self._waiting):
                self._send_all(queue)
                while self._out or (queue and not self._stopping):
                    self._wake.wait()
                    self._wake.clear()
                    if self._stopping:
                        self._take_back()
                    self._welcome(queue)
                    self._send_all(queue)
        except Exception as exc:
            self.progress.stopped = f"It broke off: {type(exc).__name__}: {exc}."
            _logger.exception("an experiment failed in our own code")
        finally:
            if self._ours:
                self._executor.shutdown(wait=False, cancel_futures=True)
            self.done.set()

    def _send_all(self, queue: deque[_Sent]) -> None:
        """Send what the budget allows."""
        while queue and not self._stopping:
            sent = self._without_unreachable(queue[0])
            if sent is not None and not self._afforded(sent):
                return
            queue.popleft()
            if sent is not None:
                self._send(sent)

    def _send(self, sent: _Sent) -> None:
        sent.tries += 1
        chunk = replace(sent.chunk, sending=f"{self._name} {sent.tries}")
        try:
            future: Future[Report] = self._executor.submit(run_chunk, chunk)
        except BrokenExecutor:  # a worker died between two chunks
            if not self._mended():
                return
            future = self._executor.submit(run_chunk, chunk)
        sent.to = self._executor
        self._out[future] = sent
        future.add_done_callback(self._came_back)

    def _came_back(self, future: Future[Report]) -> None:
        """Take note, on whatever thread the executor calls from."""
        self._back.append(future)
        self._wake.set()

    def _take_back(self) -> None:
        """Take back what no worker has begun. They take the oldest first, and what they did is paid for."""
        for future in list(self._out)[self._workers :]:
            future.cancel()

    def _welcome(self, queue: deque[_Sent]) -> None:
        while self._back:
            future = self._back.popleft()
            sent = self._out.pop(future, None)
            if sent is None:
                continue
            try:
                report = future.result()
            except (CancelledError, Exception) as exc:  # noqa: BLE001 - an executor's own errors, or a worker's
                self._release(sent, 0.0)
                self._lost(sent, exc, queue)
            else:
                self._keep(sent, report)

    def _keep(self, sent: _Sent, report: Report) -> None:
        progress = self.progress
        self._losses = 0
        write_rows(report.rows, self._terms, self._kernel, self._times_asked)
        self._release(sent, report.cost_usd)
        progress.cost_usd += report.cost_usd
        for model, error in report.unreachable.items():
            progress.unreachable.setdefault(model, error)
        if not sent.warms:
            progress.asked += report.asked
            progress.failed += report.failed

    def _lost(self, sent: _Sent, exc: BaseException, queue: deque[_Sent]) -> None:
        """Send a chunk again whose worker died."""
        broke = isinstance(exc, BrokenExecutor)
        if self._stopping and (broke or isinstance(exc, CancelledError)):
            return
        if broke or isinstance(exc, CancelledError) or type(exc).__name__ == "KilledWorker":
            queue.append(sent)  # behind all others, in case it is the chunk that kills
            if broke and sent.to is not self._executor:
                return  # one of many that were lost with the same worker
            self._losses += 1
            if self._losses >= _MOST_LOSSES:
                self._stop(
                    f"Workers died {self._losses} times over, the last with {len(sent.cells)} calls; out of memory?"
                )
            elif broke:
                self._mended()
        elif isinstance(exc, LLMError):
            self._stop(f"A worker cannot ask: {exc}")
        else:
            self._stop(f"A worker failed, {type(exc).__name__}: {exc}. Is ipyllm installed there, in the same version?")

    def _mended(self) -> bool:
        """Put a new executor in the place of a broken one, where we know how to make it."""
        if self._make is None:
            self._stop("The executor broke when a worker died; give a function that makes one, to have it replaced.")
            return False
        broken, self._executor = self._executor, self._make()
        if self._ours:
            broken.shutdown(wait=False)
        self._ours = True
        return True

    def _without_unreachable(self, sent: _Sent) -> _Sent | None:
        gone = self.progress.unreachable
        if sent.warms or not any(cell.arm.model in gone for cell in sent.cells):
            return sent
        cells = [cell for cell in sent.cells if cell.arm.model not in gone]
        return _Sent(Chunk.of(cells, self._terms), cells, tries=sent.tries) if cells else None

    # ---- the budget --------------------------------------------------------------------------------

    def _afforded(self, sent: _Sent) -> bool:
        """Set aside what all calls of a chunk may cost. If that is too much now, wait; if for good, stop."""
        spending = self._terms.spending
        if not spending.limited:
            return True
        held: list[Reservation] = []
        for cell in sent.cells * max(1, sent.chunk.warmups):
            try:
                held.append(spending.reserve_now(cell.arm, cell.messages))
            except LLMError as exc:
                if self._out:
                    for reservation in held:
                        spending.settle(reservation, 0.0)
                    return False
                self._stop(str(exc))
                break
        if len(held) < len(sent.cells):  # nothing is out that could give something back: send what can be paid
            if not held:
                return False
            sent.cells = sent.cells[: len(held)]
            sent.chunk = Chunk.of(sent.cells, self._terms)
        sent.held = held
        return True

    def _release(self, sent: _Sent, cost_usd: float) -> None:
        """Settle a chunk's reservations as one: the first by its cost, the others by nothing."""
        for place, reservation in enumerate(sent.held):
            self._terms.spending.settle(reservation, 0.0 if place else cost_usd)
        sent.held = []


def _taken(executor: Executor | Callable[[], Executor]) -> tuple[Executor, Callable[[], Executor] | None]:
    """Return an executor, and how to make another like it."""
    if callable(getattr(executor, "submit", None)):
        assert not callable(executor) or isinstance(executor, Executor)
        return executor, _like(executor)
    if not callable(executor):
        raise LLMError(
            f"executor is a concurrent.futures.Executor, or a function that makes one, not {executor!r}.",
            category="bad_request",
        )
    made = executor()
    return made, executor


def _like(executor: Any) -> Callable[[], Executor] | None:
    """Return how to make a process pool like this one, which does not survive the death of a worker."""
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
    return workers or _WORKERS


def _chunk_size(cells: int, workers: int, concurrency: int) -> int:
    """Return how many cells a chunk has: enough to be worth the way, few enough that all workers end together."""
    fair = ceil(cells / workers)
    return max(1, min(fair, max(min(concurrency, fair), min(ceil(fair / 4), _MOST_ROUNDS * concurrency))))


def _can_travel(chunks: Sequence[_Sent]) -> None:
    import pickle

    for given in {id(arm[1]): arm for sent in chunks for arm in sent.chunk.arms}.values():
        try:
            pickle.dumps(given)
        except Exception as exc:  # noqa: BLE001 - whatever an object of the user's raises
            raise LLMError(
                f"{given[0]!r} cannot be sent to another process ({exc}); give the model as a name, with its endpoint "
                "or route in the settings.",
                category="bad_request",
            ) from None
