"""How a caller reads a stream: from plain code, from a coroutine, as text or as typed events.

Nothing is sent before the first item is asked for; leaving the loop early (``break``, an exception) cancels
the call and closes its connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ipyllm.events import Finished, TextDelta
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.wakeups import ring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    from ipyllm.events import Event
    from ipyllm.pipeline.call import Call
    from ipyllm.response import ChatResponse

    Begin = Callable[[Callable[[Event], None]], Call]

__all__ = ["AsyncEventStream", "AsyncTextStream", "TextStream"]


class TextStream:
    """Pieces of text, for a plain ``for`` loop; ``response`` is there when it has ended.

    Raises
    ------
    LLMError
        From the loop, after the text that came before the failure.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self._arrived = InterruptibleEvent()
        self._call: Call | None = None

    @property
    def response(self) -> ChatResponse | None:
        """The response; None before the end."""
        return self._call.response if self._call is not None else None

    def __iter__(self) -> Iterator[str]:
        # A generator: when the loop is left early it is closed at once, also if the stream has a name.
        try:
            while (text := next(self, None)) is not None:
                yield text
        finally:
            self.close()

    def __next__(self) -> str:
        if self._call is None:
            self._call = self._begin(_into(self._queue, self._arrived))
        elif self._call.done.is_set() and self._queue.empty():
            raise StopIteration
        try:
            while True:
                event = self._get(self._call)
                if isinstance(event, TextDelta):
                    return event.text
                if isinstance(event, Finished):
                    self._call.wait_for(self._call.done)
                    self._call.outcome()
                    raise StopIteration
        except KeyboardInterrupt:
            self._call.cancel()
            self._call.done.wait(5)
            raise

    def _get(self, call: Call) -> Event:
        while True:
            try:
                return self._queue.get_nowait()
            except Empty:
                call.wait_for(self._arrived)
                self._arrived.clear()

    def close(self) -> None:
        """Stop the call, if it still runs."""
        if self._call is not None and not self._call.done.is_set():
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit the modules this needs may be gone
            self.close()


def _into(queue: SimpleQueue[Event], arrived: InterruptibleEvent) -> Callable[[Event], None]:
    """Return an ``on_event`` that does not hold the stream, so that one nobody holds is collected."""

    def on_event(event: Event) -> None:
        queue.put(event)
        arrived.set()

    return on_event


class _Channel:
    """Carries events from the service thread to a reader on another loop, which is woken only when it waits.

    The call holds the channel and not the reader, so that a reader nobody holds any more is collected, and
    its call cancelled.
    """

    def __init__(self) -> None:
        self._buffer: deque[Event] = deque()
        self._lock = threading.Lock()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def put(self, event: Event) -> None:
        """Take an event, on the service thread."""
        with self._lock:
            self._buffer.append(event)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            ring(*waiter)

    async def get(self) -> Event:
        """Wait for the next event, on the reader's loop."""
        while True:
            with self._lock:
                if self._buffer:
                    return self._buffer.popleft()
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                self._waiter = (loop, future)
            await future


class AsyncEventStream:
    """Typed events, for ``async for`` on the user's loop; the last one is :class:`~ipyllm.events.Finished`.

    A failure is no exception here but the status of the last event's response.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._call: Call | None = None
        self._channel = _Channel()
        self._ended = False

    @property
    def response(self) -> ChatResponse | None:
        """The response; None before the end."""
        return self._call.response if self._call is not None else None

    async def __aiter__(self) -> AsyncIterator[Event]:
        # A generator: when the loop is left early it is closed at once, also if the stream has a name.
        try:
            while not self._ended:
                yield await self.__anext__()
        finally:
            self.close()

    async def __anext__(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        if self._call is None:
            self._call = self._begin(self._channel.put)
        try:
            event = await self._channel.get()
        except asyncio.CancelledError:
            self.close()
            raise
        self._ended = isinstance(event, Finished)
        return event

    def close(self) -> None:
        """Stop the call, if it still runs."""
        if self._call is not None and not self._call.done.is_set():
            self._call.cancel()

    async def aclose(self) -> None:
        """Stop the call, if it still runs."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit the modules this needs may be gone
            self.close()

    def outcome(self) -> ChatResponse:
        """Return the response after the end, or raise the call's error."""
        assert self._call is not None
        return self._call.outcome()


class AsyncTextStream:
    """Pieces of text, for ``async for``; ``response`` is there when it has ended.

    Raises
    ------
    LLMError
        From the loop, after the text that came before the failure.
    """

    def __init__(self, begin: Begin) -> None:
        self._events = AsyncEventStream(begin)

    @property
    def response(self) -> ChatResponse | None:
        """The response; None before the end."""
        return self._events.response

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._events:
            if isinstance(event, TextDelta):
                yield event.text
            if isinstance(event, Finished):
                self._events.outcome()

    async def aclose(self) -> None:
        """Stop the call, if it still runs."""
        self._events.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._events.close()
