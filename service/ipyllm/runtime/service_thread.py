"""The service thread: one daemon thread per process that owns an asyncio loop and the HTTP clients.

Connections stay warm between cells, a chat goes on while a cell trains a model, timestamps do not wait for
drawing, and an interrupt hits only a wait, so that the call can be cancelled cleanly. A child process starts its own
thread after a fork; at exit the calls in flight are cancelled and their rows are written.

The user's code does not run here: see :mod:`ipyllm.tools.caller_executor`. Should an exit be raised on the loop after
all, it ends its own task, and the loop goes on.

A server that does little but make calls has a loop already. :func:`make_calls_on_running_loop` makes its thread the
service thread: that a request and an answer pass from one thread to another takes as long as all the rest.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import functools
import logging
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

# Importing these registers the exit handlers of embedded models and ledgers. `atexit` runs handlers in reverse order:
# calls are cancelled before their models end, which would look like a lost connection, and still write their rows.
import ipyllm.embedded.server  # noqa: F401
from ipyllm.fork_safety import in_forked_child, renewed_in_child
from ipyllm.runtime.liveness import Liveness
from ipyllm.runtime.loop_lag import LagMonitor
from ipyllm.runtime.process_exit import begin_exit, silence_daemon_threads
from ipyllm.runtime.short_pauses import ShortPauses
from ipyllm.transport.batched_reads import new_event_loop
from ipyllm.transport.client import TransportClient

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable


__all__ = ["ServiceThread", "make_calls_on_running_loop", "own_service_thread", "service_thread"]

T = TypeVar("T")
_logger = logging.getLogger("ipyllm.service_thread")
_EXIT_S = 5.0
# Coroutines started in one turn of the loop: the more calls there are, the fewer, so that the reading does not stop.
# Many in a row cost less each, because the code is in the processor's caches then.
_FEWEST_AT_ONCE = 2
_CALLS_BY_STARTS = 1000


class ServiceThread:
    """A daemon thread with an event loop, the HTTP client and the lag monitor."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ipyllm-service", daemon=True)
        self._prepare(new_event_loop())
        self._thread.start()

    def _prepare(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport = TransportClient()
        self.lag = LagMonitor()
        self.short_pauses = ShortPauses()
        self._submitting = renewed_in_child(threading.Lock())
        self._submitted: deque[tuple[Coroutine[Any, Any, Any], Future[Any] | None]] = deque()
        self._woken = False  # the loop was woken and has not run yet
        self._running: set[asyncio.Task[Any]] = set()
        silence_daemon_threads()
        self.liveness = Liveness(self._thread, "The service thread of ipyllm", loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                return self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as exc:  # asyncio ends the loop, beside the task that raised it
                with contextlib.suppress(BaseException):  # of the user's log handlers
                    _logger.error("The service thread goes on after %s.", type(exc).__name__)  # noqa: TRY400

    @property
    def alive(self) -> bool:
        """Whether calls can be submitted."""
        return self._thread.is_alive() and not self.loop.is_closed() and not self.liveness.is_stuck

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on the service thread, where waiting would deadlock."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop, from any thread. Cancelling the future cancels the coroutine."""
        future: Future[T] = Future()
        self.start(coroutine, future)
        return future

    def start(self, coroutine: Coroutine[Any, Any, T], future: Future[T] | None = None) -> None:
        """Start a coroutine on the loop, from any thread; ``future`` gets its outcome, and can cancel it.

        Like `asyncio.run_coroutine_threadsafe`, but many that are started wake the loop once: each wake costs a system
        call and a switch of the interpreter's lock.
        """
        if self.is_current:
            self._start_task(coroutine, future)
            return
        with self._submitting:
            self._submitted.append((coroutine, future))
            if not self._woken:
                try:
                    self.loop.call_soon_threadsafe(self._start_submitted)
                except RuntimeError:  # the loop is closed
                    self._submitted.pop()
                    coroutine.close()
                    raise
                self._woken = True

    def _start_submitted(self) -> None:
        with self._submitting:
            n_submitted = len(self._submitted)
            at_once = max(_FEWEST_AT_ONCE, _CALLS_BY_STARTS // (n_submitted + len(self._running)))
            now = [self._submitted.popleft() for _ in range(min(at_once, n_submitted))]
            self._woken = bool(self._submitted)
        if self._woken:
            self.loop.call_soon(self._start_submitted)
        for coroutine, future in now:
            self._start_task(coroutine, future)

    def _start_task(self, coroutine: Coroutine[Any, Any, Any], future: Future[Any] | None) -> None:
        from ipyllm.settings import use_cached_settings

        context = contextvars.copy_context()
        context.run(use_cached_settings)
        context.run(_own.set, self)
        task = self.loop.create_task(coroutine, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if future is not None:
            task.add_done_callback(functools.partial(_copy_outcome, future))
            future.add_done_callback(functools.partial(self._pass_on_cancel, task))

    def _pass_on_cancel(self, task: asyncio.Task[Any], future: Future[Any]) -> None:
        if future.cancelled() and not task.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed, so the task has ended
                self.loop.call_soon_threadsafe(task.cancel)

    def stop(self) -> None:
        """Cancel the calls in flight, let them write their rows, close the connections, end the thread."""
        if self.is_current:
            return
        if not self.alive:
            self._end_what_is_left()
            return
        with contextlib.suppress(TimeoutError):
            self.submit(self._shut_down()).result(_EXIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_EXIT_S)
        if not self._thread.is_alive():
            self.loop.close()

    def _end_what_is_left(self) -> None:
        """Write the rows and close the connections of a thread that has ended, as far as 5 s allow."""
        if self._thread.is_alive() or self.loop.is_closed():  # a stuck one may still go on
            return

        async def shut_down() -> None:
            async with asyncio.timeout(_EXIT_S):
                await self._shut_down()

        def end() -> None:
            with contextlib.suppress(TimeoutError):
                self.loop.run_until_complete(shut_down())
            self.loop.close()

        # The caller's own thread may have a loop that runs.
        ending = threading.Thread(target=end, name="ipyllm-service-end", daemon=True)
        ending.start()
        ending.join(2 * _EXIT_S)

    async def _shut_down(self) -> None:
        await self._end_calls(asyncio.all_tasks())
        await self.loop.shutdown_asyncgens()
        with contextlib.suppress(RuntimeError):  # Python 3.12 starts no thread at exit, when the executor's have ended
            await self.loop.shutdown_default_executor()

    async def _end_calls(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        mine = asyncio.current_task()
        others = [task for task in tasks if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.transport.aclose()


class _ServerThread(ServiceThread):
    """The thread of a server, with the loop that it runs and ends itself."""

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self._prepare(asyncio.get_running_loop())

    @property
    def alive(self) -> bool:
        """Whether calls can be submitted."""
        return self.loop.is_running() and super().alive

    def stop(self) -> None:
        """Cancel the calls in flight, let them write their rows, close the connections: also if the loop has ended."""
        if self.is_current and not self.loop.is_running() and not self.loop.is_closed():
            with contextlib.suppress(TimeoutError):
                self.loop.run_until_complete(asyncio.wait_for(self._end_calls(self._running), _EXIT_S))
        elif not self.is_current and self.alive:
            with contextlib.suppress(TimeoutError):
                self.submit(self._end_calls(self._running)).result(_EXIT_S)


def _copy_outcome(future: Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():  # the caller has cancelled it
        return
    if (exc := task.exception()) is not None:
        future.set_exception(exc)
    else:
        future.set_result(task.result())


_own: contextvars.ContextVar[ServiceThread | None] = contextvars.ContextVar("ipyllm_service_thread", default=None)
_lock = renewed_in_child(threading.Lock())
_current: ServiceThread | None = None


def service_thread() -> ServiceThread:
    """Return this process's service thread, started on first use."""
    global _current
    ended = None
    with _lock:
        if _current is None or not _current.alive:
            ended, _current = _current, ServiceThread()
        current = _current
    if ended is not None:  # without the lock, which its calls may need before they end
        ended.stop()
    return current


def own_service_thread() -> ServiceThread:
    """Return the service thread whose loop the caller's task runs on: another may have taken its place meanwhile."""
    return _own.get() or service_thread()


def make_calls_on_running_loop() -> None:
    """Make the calls of this process on the running loop, for a server that has its handlers there.

    What blocks this loop delays the calls, too; the kernel's stamps keep their times right. When the loop has ended,
    the next call starts a thread as usual.
    """
    global _current
    with _lock:
        before, _current = _current, _ServerThread()
    if before is not None:
        before.stop()


def stop_service_thread() -> None:
    """Stop the thread; the next call starts a new one."""
    global _current
    with _lock:
        running, _current = _current, None
    if running is not None:
        running.stop()


@in_forked_child
def _forget_after_fork() -> None:
    # The thread does not exist in the child, and the sockets belong to the parent.
    global _current
    if _current is not None:
        _current.short_pauses.restore()
    _current = None


def _at_exit() -> None:
    begin_exit()
    stop_service_thread()


atexit.register(_at_exit)
