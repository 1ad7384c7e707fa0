"""Runs the user's code in the thread that waits for the call, or on the loop that awaits it.

A call to a model runs on the service thread. The tools it asks for are the user's code: their prints belong to the
cell, their sessions and locks to the user's loop, and an interrupt must reach them. On the service thread they would
stop all other calls. So it posts them as jobs, and the caller runs them while it waits:

===========================  ==================================  =======================================
the caller                   plain functions                     async functions
===========================  ==================================  =======================================
waits, below a running loop  in its thread                       on that loop, re-entered by nest-asyncio2
waits, without a loop        in its thread                       in its thread, on a new loop for the call
awaits on its loop           in a worker thread                  on that loop
does not wait, has no loop   in a worker thread                  in a worker thread, on a loop of their own
===========================  ==================================  =======================================

What checks an answer or the arguments of a tool (validators) runs in a worker thread, with a time limit. Also what only
looks at the user's objects is done where they are used: results are converted, and errors described, within the job, so
that neither a ``__str__`` nor a ``__del__`` of the user's runs on the service thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ipyllm.errors import bad_request
from ipyllm.fork_safety import renewed_in_child
from ipyllm.runtime.interruptible import interruptible_timeout
from ipyllm.tools.job import CLEANUP_S, UserCodeJob, close_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ipyllm.runtime.interruptible import InterruptibleEvent

__all__ = ["CHECK_LIMIT_S", "CallerExecutor", "ToolTimeout", "UserCode"]

CHECK_LIMIT_S = 60.0
"""Seconds that the validators of an answer, or of the arguments of the tools in one, may take."""

T = TypeVar("T")
_CHECK_CALLER_EVERY_S = 1.0  # only while a job is pending
_CALLER_GONE = "The thread or loop that was to run the tool has ended."


class UserCode(NamedTuple):
    """A function of the user, its name for messages, and its longest run time in seconds."""

    name: str
    function: Callable[[], Any]
    is_async: bool
    timeout: float | None


class ToolTimeout(TimeoutError):  # noqa: N818 - raised by us, unlike a TimeoutError of the user's code
    """Raised when the user's code exceeds its timeout."""


class CallerExecutor:
    """Runs the user's code during one call. Created in the caller's thread, when the call starts.

    Stages: created → :meth:`run` posts jobs, on the service thread, which run in :meth:`wait` or elsewhere → closed by
    the service thread when the call has ended (:meth:`close`), or abandoned by its caller, who was interrupted.

    ``waits`` says whether the caller will call :meth:`wait` in this thread. If not, tools run in worker threads or on
    the caller's loop, until :meth:`wait` is called after all. Made on the service thread, whose loop runs no code of
    users, it has no loop of a caller (``caller_has_loop``). ``before_tool`` is called in the waiting thread before it
    runs a plain function, to show the text so far: the function may take long.
    """

    def __init__(self, *, waits: bool, caller_has_loop: bool = True) -> None:
        self._thread = threading.current_thread()
        self._context = contextvars.copy_context()  # routes a worker thread's prints to their cell
        self._loop = _running_loop() if caller_has_loop else None
        self._waits = waits
        self.before_tool: Callable[[], None] | None = None
        self._own_loop: asyncio.AbstractEventLoop | None = None  # created for the call where the caller has none
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._waiter: asyncio.Future[None] | None = None  # wakes the waiting thread while it runs the loop
        self._pending: set[UserCodeJob] = set()  # all that are not completed; of these …
        self._queue: deque[UserCodeJob] = deque()  # … plain functions for the waiting thread,
        self._active: set[UserCodeJob] = set()  # … and coroutines on the caller's loop
        self._one_at_a_time = asyncio.Lock()  # for plain functions, wherever they run
        self._lock = renewed_in_child(threading.Lock())  # guards what follows
        self._in_wait = False
        self.is_abandoned = False
        self._closed = False

    # ---- in the caller's thread ------------------------------------------------------------------

    def wait(self, done: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for an event, and run jobs meanwhile; return whether it is set.

        A job that has begun may outlast ``timeout``, in seconds. In any other thread than the caller's, only wait. When
        the user interrupts, also within a tool, all jobs are cancelled, and no more are run.
        """
        if threading.current_thread() is not self._thread:
            return done.wait(timeout)
        with self._lock:
            self._waits = self._in_wait = True
        done.listen(self._wake)
        try:
            return self._wait(done, timeout)
        except BaseException:
            self._abandon()
            raise
        finally:
            done.unlisten(self._wake)
            with self._lock:
                self._in_wait = False
                unused = self._take_own_loop() if self._is_over else None
            if unused is not None:
                close_loop(unused)

    def _wait(self, done: InterruptibleEvent, timeout: float | None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        while not done.is_set():
            seconds = None if until is None else until - monotonic()
            if seconds is not None and seconds <= 0:
                return False
            self._sleep(interruptible_timeout(seconds))
            done.check()
            # `done` comes first: text that arrived before a tool call is shown before the tool runs.
            while self._queue and not done.is_set():
                if self.before_tool is not None:
                    self.before_tool()
                self._queue[0].run()
                self._queue.popleft()  # not before: an interrupt must find the running job in the queue
        return True

    @property
    def _is_over(self) -> bool:
        return self.is_abandoned or self._closed

    def _sleep(self, seconds: float) -> None:
        """Sleep until :meth:`_wake` is called; while coroutines are on the loop, run it instead."""
        if self._active and not self._is_over:
            self._run_loop(seconds)
        else:
            with suppress(Empty):
                self._wakeups.get(timeout=seconds)
        self._clear_wakeups()

    def _clear_wakeups(self) -> None:
        while not self._wakeups.empty():
            self._wakeups.get_nowait()

    def _run_loop(self, seconds: float) -> None:
        loop = self._loop or self._own_loop
        assert loop is not None, "an active job has a loop"
        if _running_loop() is not None:
            _make_reentrant(loop)
        waiter = loop.create_future()
        timer = loop.call_later(seconds, _complete, waiter)
        self._waiter = waiter  # set before the queue is checked; `_wake` does it in the opposite order
        try:
            if self._wakeups.empty():
                loop.run_until_complete(waiter)
        finally:
            self._waiter = None
            timer.cancel()

    def _abandon(self) -> None:
        """Cancel all jobs and let them end: a coroutine run by nest-asyncio would go on after an interrupt."""
        with self._lock:
            self.is_abandoned = True
        self._queue.clear()
        for job in tuple(self._pending):
            job.cancel()
        until = monotonic() + CLEANUP_S
        with suppress(Exception):  # the caller must see the interrupt
            # For a loop of ours `wait` does this when it closes the loop.
            while self._active and self._own_loop is None and monotonic() < until:
                self._run_loop(until - monotonic())
                self._clear_wakeups()

    def _wake(self) -> None:
        self._wakeups.put(None)
        waiter = self._waiter
        if waiter is not None:
            with suppress(RuntimeError):  # the loop is closed, so no thread sleeps in it
                waiter.get_loop().call_soon_threadsafe(_complete, waiter)

    # ---- on the service thread -------------------------------------------------------------------

    async def run(self, code: UserCode, *, convert: Callable[[Any], T], describe: Callable[[Exception], T]) -> T:
        """Call a function in the caller's thread, on its loop, or in a worker thread.

        Its ``timeout`` counts from its start; afterwards a coroutine is cancelled, and a plain function runs on,
        unobserved. ``convert`` is applied to the result, or ``describe`` to the exception, in the same thread, to which
        it may be bound. Raises :class:`ToolTimeout`, or CancelledError if the user interrupted, the function exited,
        or the thread or loop that was to run it has ended.
        """
        if code.is_async:
            return await self._on_loop(code.function, convert, describe, code)

        def work() -> T | Awaitable[Any]:
            try:
                value = code.function()
                return value if inspect.isawaitable(value) else convert(value)
            except Exception as exc:  # noqa: BLE001 - whatever the user's code raises
                return describe(exc)

        async with self._one_at_a_time:
            job = UserCodeJob(work)
            result = await self._await_job(job, self._enqueue if code.timeout is None else self._post_to_worker, code)
        if inspect.isawaitable(result):  # a plain function that returned a coroutine: a lambda, a decorator
            return await self._on_loop(lambda: result, convert, describe, code)
        converted: T = result
        return converted

    async def check(self, name: str, function: Callable[[], T]) -> T:
        """Call a plain function that raises nothing, such as validators within a ``try``, in a worker thread.

        Raises :class:`ToolTimeout` after :data:`CHECK_LIMIT_S`, or CancelledError.
        """
        code = UserCode(name, function, is_async=False, timeout=CHECK_LIMIT_S)
        result: T = await self._await_job(UserCodeJob(function), self._post_to_worker, code)
        return result

    async def _on_loop(
        self,
        function: Callable[[], Awaitable[Any]],
        convert: Callable[[Any], T],
        describe: Callable[[Exception], T],
        code: UserCode,
    ) -> T:
        async def work() -> T:
            try:
                return convert(await function())
            except Exception as exc:  # noqa: BLE001 - whatever the user's code raises
                return describe(exc)

        result: T = await self._await_job(UserCodeJob(work), self._post_to_loop, code)
        return result

    async def _await_job(self, job: UserCodeJob, post: Callable[[UserCodeJob], None], code: UserCode) -> Any:
        """Post a job and wait for its outcome."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self.is_abandoned:
                raise asyncio.CancelledError(_CALLER_GONE)
            self._pending.add(job)
        try:
            async with asyncio.timeout(None) as limit:
                if (allowed_s := code.timeout) is not None:
                    job.on_begin(lambda: limit.reschedule(loop.time() + allowed_s))
                post(job)
                while not job.outcome.done():
                    await asyncio.wait({job.outcome}, timeout=_CHECK_CALLER_EVERY_S)
                    if not job.outcome.done() and self._is_caller_gone(job):
                        raise asyncio.CancelledError(_CALLER_GONE)
        except TimeoutError:
            raise ToolTimeout(f"{code.name} took longer than {code.timeout:g} s") from None
        finally:
            self._pending.discard(job)
            if not job.outcome.done():
                job.cancel()
        return job.result()

    def _is_caller_gone(self, job: UserCodeJob) -> bool:
        loop = self._loop or self._own_loop
        if job in self._active and loop is not None and loop.is_closed():
            return True
        return self._waits and not self._thread.is_alive()

    def _enqueue(self, job: UserCodeJob) -> None:
        """Have the waiting thread run a plain function, or a worker if no thread waits."""
        if self._waits:
            self._queue.append(job)
            self._wake()
        else:
            self._post_to_worker(job)

    def _post_to_worker(self, job: UserCodeJob) -> None:
        self._start_worker(job.run_in_worker)

    def _start_worker(self, work: Callable[[], None]) -> None:
        # Not a pool: a tool that hangs would occupy a thread of it, and the interpreter waits for pools at exit.
        run = partial(self._context.copy().run, work)
        threading.Thread(target=run, name="ipyllm-tool", daemon=True).start()

    def _post_to_loop(self, job: UserCodeJob) -> None:
        """Have a coroutine run on the caller's loop, which its owner or :meth:`wait` runs."""
        with self._lock:
            if self._loop is None and self._own_loop is None and self._waits and not self._is_over:
                self._own_loop = asyncio.new_event_loop()
            loop = self._loop or self._own_loop
        if loop is None:
            self._start_worker(job.run_on_new_loop)
            return
        self._active.add(job)
        try:
            loop.call_soon_threadsafe(job.start, loop, self._on_end, context=self._context.copy())
        except RuntimeError:
            self._active.discard(job)
            raise asyncio.CancelledError(_CALLER_GONE) from None
        self._wake()

    def _on_end(self, job: UserCodeJob) -> None:
        self._active.discard(job)
        self._wake()

    def close(self) -> None:
        """End the call, before its ``done`` is set; a loop that was created for it is closed."""
        with self._lock:
            self._closed = True
            unused = None if self._in_wait else self._take_own_loop()
        if unused is not None:
            self._start_worker(partial(close_loop, unused))

    def _take_own_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop to close: by the waiting thread, or by a worker if it no longer waits."""
        loop, self._own_loop = self._own_loop, None
        return loop


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _make_reentrant(loop: asyncio.AbstractEventLoop) -> None:
    if hasattr(loop, "_nest_patched"):
        return
    import nest_asyncio2  # type: ignore[import-untyped]

    try:
        nest_asyncio2.apply(loop)
    except ValueError:
        raise bad_request(
            f"Your async function cannot run while this call blocks its {type(loop).__module__} event loop; "
            "await the call instead, for example with `await service.achat(…)`."
        ) from None


def _complete(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
