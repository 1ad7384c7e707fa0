"""Where the user's code runs: in the thread that waits for the call, or on the loop that awaits it.

A call to a model runs on the service thread. The tools it asks for are the user's own code, whose prints belong into
the cell, whose sessions and locks belong to the user's loop, and which an interrupt must reach. So the service thread
posts them as jobs, and the caller does them while it waits:

===========================  ==================================  =======================================
the caller                   plain functions                     async functions
===========================  ==================================  =======================================
waits, below a running loop  in its thread                       on that loop, re-entered by nest-asyncio2
waits, without a loop        in its thread                       in its thread, on a loop kept for the call
awaits on its loop           in a worker thread                  on that loop
has gone on, without a loop  in a worker thread                  in a worker thread, on a loop of their own
===========================  ==================================  =======================================
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
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ipyllm.errors import LLMError
from ipyllm.runtime.interruptible import sleep_slice
from ipyllm.tools.job import Job, end_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ipyllm.runtime.interruptible import InterruptibleEvent

__all__ = ["CallerExecutor", "ToolTimeout", "UserCode"]

T = TypeVar("T")
_GRACE_S = 1.0  # for cancelled coroutines to clean up, before the interrupt is let through
_LOOK_EVERY_S = 1.0  # whether the caller is still there; only while a job is out
_GONE = "Whoever was to run the tool has gone away."


class UserCode(Protocol):
    """A function of the user's: a :class:`~ipyllm.tools.Tool` is one."""

    @property
    def name(self) -> str:
        """What to call it in a message."""

    @property
    def function(self) -> Callable[..., Any]:
        """What to call, by keywords."""

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""

    @property
    def timeout(self) -> float | None:
        """Seconds it may run."""


class ToolTimeout(TimeoutError):  # noqa: N818 - says that it was given up by us, unlike a time-out of its own
    """The user's code took longer than it may."""


class CallerExecutor:
    """The user's side of one call. Made in the caller's thread, when the call starts.

    Stages: made → jobs are posted by :meth:`run`, on the service thread, and done in :meth:`wait` or elsewhere →
    closed by the service thread when the call has ended (:meth:`close`), or left by its caller, who was interrupted.

    Parameters
    ----------
    waits : bool
        Whether the caller is about to wait in :meth:`wait`, in this thread. Without it, a call that nobody waits for
        still gets its tools run; a caller that turns out to wait is served from then on.

    Attributes
    ----------
    before_tool : callable or None
        Called in the waiting thread before it runs a plain function: to show what has come, which may be long ago when
        the function has ended.
    """

    def __init__(self, *, waits: bool) -> None:
        self._thread = threading.current_thread()
        self._context = contextvars.copy_context()  # prints of a worker thread find their cell by it
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._waits = waits
        self.before_tool: Callable[[], None] | None = None
        self._own_loop: asyncio.AbstractEventLoop | None = None  # where there is none, kept for the call
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._nudge: asyncio.Future[None] | None = None  # wakes the waiting thread while it runs the loop
        self._out: set[Job] = set()  # wherever they are; of these …
        self._queue: deque[Job] = deque()  # … plain functions for the waiting thread,
        self._active: set[Job] = set()  # … and coroutines on the caller's loop
        self._turn = asyncio.Lock()  # plain functions one after the other, wherever they run: first come, first served
        self._lock = threading.Lock()  # guards what follows
        self._in_wait = False
        self._left = False
        self._closed = False

    # ---- in the caller's thread ------------------------------------------------------------------

    def wait(self, done: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait, and do meanwhile what the service thread asks for.

        From any other thread than the caller's this is ``done.wait(timeout)``.

        Parameters
        ----------
        done : InterruptibleEvent
            What is waited for.
        timeout : float, optional
            Seconds; a job that has begun is done to its end.

        Returns
        -------
        bool
            Whether ``done`` is set.

        Raises
        ------
        KeyboardInterrupt
            Also when it hit a tool. What was asked for is cancelled, and no more is done.
        """
        if threading.current_thread() is not self._thread:
            return done.wait(timeout)
        with self._lock:
            self._waits = self._in_wait = True
        done.listen(self._ring)
        try:
            return self._wait(done, timeout)
        except BaseException:
            self._leave()
            raise
        finally:
            done.unlisten(self._ring)
            with self._lock:
                self._in_wait = False
                ending = self._take_own_loop() if self._over else None
            if ending is not None:
                end_loop(ending)

    def _wait(self, done: InterruptibleEvent, timeout: float | None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        while not done.is_set():
            seconds = None if until is None else until - monotonic()
            if seconds is not None and seconds <= 0:
                return False
            self._rest(sleep_slice(seconds))
            # What is waited for comes first: text that came before a tool is shown before the tool takes its time.
            while self._queue and not done.is_set():
                if self.before_tool is not None:
                    self.before_tool()
                self._queue[0].do()
                self._queue.popleft()  # not before: an interrupt must find the job it hit
        return True

    @property
    def is_left(self) -> bool:
        """Whether the caller was interrupted, so that nothing more is done."""
        return self._left

    @property
    def _over(self) -> bool:
        return self._left or self._closed

    def _rest(self, seconds: float | None) -> None:
        """Sleep until the bell rings; if coroutines are on the loop, run it until then."""
        if self._active and not self._over:
            self._run_loop(seconds)
        else:
            with suppress(Empty):
                self._bell.get(timeout=seconds)
        self._hush()

    def _hush(self) -> None:
        while not self._bell.empty():
            self._bell.get_nowait()

    def _run_loop(self, seconds: float | None) -> None:
        loop = self._loop or self._own_loop
        assert loop is not None, "an active job has a loop"
        if _is_in_loop():
            _make_reentrant(loop)
        nudge = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _set, nudge)
        self._nudge = nudge  # first this, then look at the bell; `_ring` does it the other way round
        try:
            if self._bell.empty():
                loop.run_until_complete(nudge)
        finally:
            self._nudge = None
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        """Cancel everything and see it end: a coroutine run by nest-asyncio would go on after an interrupt."""
        with self._lock:
            self._left = True
        self._queue.clear()
        for job in tuple(self._out):
            job.cancel()
        until = monotonic() + _GRACE_S
        with suppress(Exception):  # the interrupt is what the caller must see
            # A loop of our own is ended by `wait` in the same way.
            while self._active and self._own_loop is None and monotonic() < until:
                self._run_loop(until - monotonic())
                self._hush()

    def _ring(self) -> None:
        self._bell.put(None)
        nudge = self._nudge
        if nudge is not None:
            with suppress(RuntimeError):  # the loop is closed, so nobody sleeps in it
                nudge.get_loop().call_soon_threadsafe(_set, nudge)

    # ---- on the service thread -------------------------------------------------------------------

    async def run(self, tool: UserCode, kwargs: Mapping[str, Any], *, then: Callable[[Any], T]) -> T:
        """Call a tool's function where it belongs.

        Parameters
        ----------
        tool : UserCode
            What to call; its ``timeout`` counts from when it begins.
        kwargs : mapping
            The arguments.
        then : callable
            What to make of the result, in the same place: a result may be bound to its thread too.

        Raises
        ------
        Exception
            What the function raised.
        ToolTimeout
            It took longer than the tool's timeout; a coroutine is cancelled, a plain function left behind.
        asyncio.CancelledError
            The user interrupted, or the thread or loop that would do it has ended.
        """
        if tool.is_async:
            return await self._await(partial(tool.function, **kwargs), then, tool)
        async with self._turn:
            job = Job(lambda: _finished(tool.function(**kwargs), then))
            made = await self._outcome(job, self._queue_up if tool.timeout is None else self._in_worker, tool)
        if isinstance(made, _Unfinished):  # a plain function that returned a coroutine: a lambda, a decorator
            return await self._await(lambda: made.awaitable, then, tool)
        result: T = made
        return result

    async def _await(self, function: Callable[[], Awaitable[Any]], then: Callable[[Any], T], tool: UserCode) -> T:
        async def whole() -> T:
            return then(await function())

        result: T = await self._outcome(Job(whole), self._put_on_loop, tool)
        return result

    async def _outcome(self, job: Job, post: Callable[[Job], None], tool: UserCode) -> Any:
        """Post a job and wait for what comes of it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._left:
                raise asyncio.CancelledError(_GONE)
            self._out.add(job)
        try:
            async with asyncio.timeout(None) as limit:
                if tool.timeout is not None:
                    allowed_s = tool.timeout
                    job.on_begin(lambda: limit.reschedule(loop.time() + allowed_s))
                post(job)
                while not job.outcome.done():
                    await asyncio.wait({job.outcome}, timeout=_LOOK_EVERY_S)
                    if not job.outcome.done() and self._is_gone(job):
                        raise asyncio.CancelledError(_GONE)
        except TimeoutError:
            raise ToolTimeout(f"{tool.name} took longer than {tool.timeout:g} s") from None
        finally:
            self._out.discard(job)
            if not job.outcome.done():
                job.cancel()
        return job.result()

    def _is_gone(self, job: Job) -> bool:
        loop = self._loop or self._own_loop
        if job in self._active and loop is not None and loop.is_closed():
            return True
        return self._waits and not self._thread.is_alive()

    def _queue_up(self, job: Job) -> None:
        """Have a plain function done by the waiting thread, or by a worker if none waits."""
        if self._waits:
            self._queue.append(job)
            self._ring()
        else:
            self._in_worker(job)

    def _in_worker(self, job: Job) -> None:
        self._begin_worker(job.do_here)

    def _begin_worker(self, work: Callable[[], None]) -> None:
        # Not a pool: a hanging tool would block its place, and the interpreter's exit waits for the threads of pools.
        run = partial(self._context.copy().run, work)
        threading.Thread(target=run, name="ipyllm-tool", daemon=True).start()

    def _put_on_loop(self, job: Job) -> None:
        """Have a coroutine run on the caller's loop, by whoever runs that loop: its owner, or :meth:`wait`."""
        with self._lock:
            if self._loop is None and self._own_loop is None and self._waits and not self._over:
                self._own_loop = asyncio.new_event_loop()
            loop = self._loop or self._own_loop
        if loop is None:
            self._begin_worker(job.do_in_own_loop)
            return
        self._active.add(job)
        try:
            loop.call_soon_threadsafe(job.start, loop, self._ended, context=self._context.copy())
        except RuntimeError:
            self._active.discard(job)
            raise asyncio.CancelledError(_GONE) from None
        self._ring()

    def _ended(self, job: Job) -> None:
        self._active.discard(job)
        self._ring()

    def close(self) -> None:
        """Say that the call has ended, before its ``done`` is set: a loop kept for it is closed."""
        with self._lock:
            self._closed = True
            ending = None if self._in_wait else self._take_own_loop()
        if ending is not None:
            self._begin_worker(partial(end_loop, ending))

    def _take_own_loop(self) -> asyncio.AbstractEventLoop | None:
        """Give the loop to the one who ends it: the waiting thread, or a worker for one who waits no more."""
        loop, self._own_loop = self._own_loop, None
        return loop


class _Unfinished:
    """What a plain function returned, if that is to be awaited."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self.awaitable = awaitable


def _finished(value: Any, then: Callable[[Any], T]) -> T | _Unfinished:
    return _Unfinished(value) if inspect.isawaitable(value) else then(value)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _make_reentrant(loop: asyncio.AbstractEventLoop) -> None:
    if hasattr(loop, "_nest_patched"):
        return
    import nest_asyncio2  # type: ignore[import-untyped]

    try:
        nest_asyncio2.apply(loop)
    except ValueError:
        raise LLMError(
            f"An async function of yours cannot run while this call blocks its loop, a {type(loop).__module__} one; "
            "await it instead, for example with `await service.achat(…)`.",
            category="bad_request",
        ) from None


def _set(nudge: asyncio.Future[None]) -> None:
    if not nudge.done():
        nudge.set_result(None)
