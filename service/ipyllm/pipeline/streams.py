"""Streams for callers: from plain code or a coroutine, as text or as typed events.

Nothing is sent before the first item is requested. Leaving the loop early (``break``, an exception) cancels the call
and closes its connection. A stream that has begun belongs to its process: in a forked child, reading it raises.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ipyllm.errors import LLMError
from ipyllm.events import Finished, TextDelta
from ipyllm.runtime.interruptible import CANCEL_GRACE_S, InterruptibleEvent
from ipyllm.runtime.liveness import CHECK_S
from ipyllm.runtime.wakeups import wake_soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    from ipyllm.events import Event
    from ipyllm.pipeline.call import Call
    from ipyllm.response import ChatResponse

    StartCall = Callable[[Callable[[Event], None]], Call]

__all__ = ["AsyncEventStream", "AsyncTextStream", "TextStream"]


class _Stream:
    """A call that starts with the first item, and is cancelled when the stream is garbage-collected."""

    def __init__(self, start_call: StartCall) -> None:
        self._start_call = start_call
        self._call: Call | None = None

    @property
    def response(self) -> ChatResponse | None:
        """The response; None before the end."""
        return self._call.response if self._call is not None else None

    def outcome(self) -> ChatResponse:
        """Return the response after the end, or raise the call's error."""
        assert self._call is not None
        return self._call.outcome()

    def close(self) -> None:
        """Cancel the call, if it is still running."""
        if self._call is not None and not self._call.done.is_set():
            self._call.cancel()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit the modules this needs may be gone
            self.close()


class TextStream(_Stream):
    """Pieces of text, for a plain ``for`` loop; ``response`` is set at the end.

    The loop raises the call's error after the text that arrived before the failure.
    """

    def __init__(self, start_call: StartCall) -> None:
        super().__init__(start_call)
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self._arrived = InterruptibleEvent()

    def __iter__(self) -> Iterator[str]:
        # A generator: when the loop is left early it is closed at once, even if a variable holds the stream.
        try:
            while (text := next(self, None)) is not None:
                yield text
        finally:
            self.close()

    def __next__(self) -> str:
        if self._call is None:
            self._call = self._start_call(_enqueue_into(self._queue, self._arrived))
            self._arrived.set_by = self._call.done.set_by
        self._call.check_process()
        if self._call.done.is_set() and self._queue.empty():
            raise StopIteration
        try:
            while True:
                event = self._get(self._call)
                if isinstance(event, TextDelta):
                    return event.text
                if isinstance(event, Finished):
                    self._call.wait_for(self._call.done)
                    self.outcome()
                    raise StopIteration
        except KeyboardInterrupt:
            self._call.cancel()
            with suppress(LLMError):  # the service thread cannot end it
                self._call.done.wait(CANCEL_GRACE_S)
            raise

    def _get(self, call: Call) -> Event:
        while True:
            try:
                return self._queue.get_nowait()
            except Empty:
                call.wait_for(self._arrived)
                self._arrived.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _enqueue_into(queue: SimpleQueue[Event], arrived: InterruptibleEvent) -> Callable[[Event], None]:
    """Return an ``on_event`` that holds no reference to the stream, so that the stream can be garbage-collected."""

    def on_event(event: Event) -> None:
        queue.put(event)
        arrived.set()

    return on_event


class _Channel:
    """Passes events from the service thread to a reader on another loop, which is woken only when it waits.

    The call refers to the channel, not to the reader, so that an abandoned reader is garbage-collected and cancels it.
    It needs no lock: the reader alone says that it waits, before it looks for events once more, and the service thread
    adds an event before it looks whether the reader waits.
    """

    def __init__(self) -> None:
        self._buffer: deque[Event] = deque()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None  # set by the reader
        self._woken: object = None  # the waiter that was woken last, set by the service thread

    def check(self, done: InterruptibleEvent) -> None:
        """Let the reader's wait raise if the call cannot end any more; call it on the reader's loop."""
        try:
            done.check()
        except LLMError as exc:
            waiter = self._waiter
            if waiter is not None and not waiter[1].done():
                waiter[1].set_exception(exc)

    def put(self, event: Event) -> None:
        """Add an event, on the service thread."""
        self._buffer.append(event)
        waiter = self._waiter
        if waiter is not None and waiter is not self._woken:
            self._woken = waiter
            wake_soon(*waiter, at_once=isinstance(event, Finished))

    def get_nowait(self) -> Event | None:
        """Return the next event if there is one."""
        return self._buffer.popleft() if self._buffer else None

    async def get(self) -> Event:
        """Wait for the next event, on the reader's loop."""
        while not self._buffer:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._waiter = loop, future
            if self._buffer:  # it has come just now
                self._waiter = None
            else:
                await future
        return self._buffer.popleft()


class _Watch:
    """Looks from time to time, on the loop of several readers, whether their calls can still end."""

    def __init__(self) -> None:
        self._waits: dict[_Channel, InterruptibleEvent] = {}

    def add(self, channel: _Channel, done: InterruptibleEvent) -> None:
        """Watch a call until it is ``done``."""
        if not self._waits:
            asyncio.get_running_loop().call_later(CHECK_S, self._look)
        self._waits[channel] = done

    def _look(self) -> None:
        self._waits = {channel: done for channel, done in self._waits.items() if not done.is_set()}
        for channel, done in self._waits.items():
            channel.check(done)
        if self._waits:
            asyncio.get_running_loop().call_later(CHECK_S, self._look)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


class _AsyncStream(_Stream):
    def __init__(self, start_call: StartCall) -> None:
        super().__init__(start_call)
        self._channel = _Channel()
        self._ended = False
        self._pid = 0  # of the process that started the call

    async def _events(self) -> AsyncIterator[Event]:
        # A generator: when the loop is left early it is closed at once, even if a variable holds the stream.
        try:
            while not self._ended:
                event = self._channel.get_nowait() if self._pid == os.getpid() else None
                if event is None:
                    event = await self._next_event()
                self._ended = isinstance(event, Finished)
                yield event
        finally:
            self.close()

    async def _next_event(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        if self._call is None:
            self._call = self._start_call(self._channel.put)
            self._pid = os.getpid()
            loop = asyncio.get_running_loop()
            watch = _watches.get(loop) or _watches.setdefault(loop, _Watch())
            watch.add(self._channel, self._call.done)
        self._call.check_process()
        try:
            event = await self._channel.get()
        except asyncio.CancelledError:
            self.close()
            raise
        self._ended = isinstance(event, Finished)
        return event

    async def aclose(self) -> None:
        """Cancel the call, if it is still running."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


class AsyncEventStream(_AsyncStream):
    """Typed events, for ``async for`` on the user's loop; the last one is :class:`~ipyllm.events.Finished`.

    A failure raises nothing: it is the status of the last event's response.
    """

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def __anext__(self) -> Event:
        return await self._next_event()


class AsyncTextStream(_AsyncStream):
    """Pieces of text, for ``async for``; ``response`` is set at the end.

    The loop raises the call's error after the text that arrived before the failure.
    """

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._events():
            if isinstance(event, TextDelta):
                yield event.text
            if isinstance(event, Finished):
                self.outcome()
