"""Server-sent events: each goes out at once, a slow client slows only itself, and a silent one is left in the end."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError

if TYPE_CHECKING:
    from ipyllm_server.base_handler import ApiHandler

__all__ = ["EventStream"]

_HEARTBEAT_S: Final = 15.0  # proxies close what is silent for a minute
_STALL_S: Final = 60.0
"""Seconds in which a client must read something of what is sent."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class EventStream:
    """The response of a handler as server-sent events. The head is sent with the first event."""

    def __init__(self, handler: ApiHandler) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._has_begun = False
        self._held = ""
        self._last_s = self._loop.time()
        self._is_writing = False
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._look)
        # While the model is at work: an error sets other headers.
        handler.set_header("Content-Type", "text/event-stream")
        handler.set_header("Cache-Control", "no-store")
        handler.set_header("X-Accel-Buffering", "no")  # nginx would collect the events
        with suppress(StreamClosedError, OSError):
            handler.socket_stream.set_nodelay(True)

    @property
    def has_begun(self) -> bool:
        """Whether something was sent, so that the status cannot be changed any more."""
        return self._has_begun

    def hold(self, value: Any) -> None:
        """Send a value as the event before the next one, if there is one."""
        self._held += f"data: {_encode(value)}\n\n"

    async def send(self, *values: Any) -> None:
        """Send values as JSON, one event each, in one write; wait until the client's side has taken them.

        Raises StreamClosedError if the client is gone.
        """
        await self.send_text("".join([f"data: {_encode(value)}\n\n" for value in values]))

    async def send_text(self, text: str) -> None:
        """Send lines of the stream as they are."""
        self._has_begun = True
        held, self._held = self._held, ""
        self._handler.write(held + text)
        self._last_s = self._loop.time()
        flushed, stream = self._handler.flush(), self._handler.socket_stream
        if not stream.writing() and not stream.closed():  # the system has taken it, as nearly always
            return
        self._is_writing = True
        try:
            await flushed
        finally:
            self._is_writing = False

    def end(self) -> None:
        """End the response."""
        self.close()
        with suppress(StreamClosedError):
            self._handler.finish(set_content_type="text/event-stream")

    def close(self) -> None:
        """Stop the heartbeat."""
        self._timer.cancel()

    def _look(self) -> None:
        """Send a sign of life after a silence; close the connection of a client that does not read."""
        silent_s = self._loop.time() - self._last_s
        if self._is_writing and silent_s > _STALL_S:
            self._handler.socket_stream.close()
            return
        if not self._is_writing and silent_s >= _HEARTBEAT_S:
            self._has_begun = True
            self._handler.write(": waiting\n\n")
            self._handler.flush()
            self._last_s = self._loop.time()
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._look)
