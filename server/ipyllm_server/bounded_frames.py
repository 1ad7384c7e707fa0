"""The frames of a client's WebSocket: what a user has sent and the server has not read yet is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

if TYPE_CHECKING:
    from ipyllm_server.user_limits import UserLimits

__all__ = ["BoundedFrames"]

_MASKED: Final = 0x80
_PROTOCOL_ERROR: Final = 1002
_DISCARDED_BYTES: Final = 1 << 16


class BoundedFrames(WebSocketProtocol13):
    """Reads frames, and counts their bytes for the user from their announcement to the end of their message.

    Parameters
    ----------
    handler : WebSocketHandler
        Receives the messages.
    params
        As tornado has them.
    limits : UserLimits
        What users may send at a time.
    user : str
        Who sends.
    too_much : int
        Code with which the socket is closed if the user sends more than that.
    """

    def __init__(self, handler: Any, params: Any, limits: UserLimits, user: str, *, too_much: int) -> None:
        super().__init__(handler, mask_outgoing=False, params=params)
        self._limits, self._user, self._too_much = limits, user, too_much
        self._n_counted = 0
        self._is_begin = False

    async def _receive_frame(self) -> None:
        self._is_begin = True
        is_open = False
        try:
            await super()._receive_frame()
            is_open = self._fragmented_message_buffer is not None and not self.stream.closed()
        finally:
            if not is_open:  # else more of the message is to come
                self._limits.forget(self._user, self._n_counted)
                self._n_counted = 0

    async def _read_bytes(self, n: int) -> bytes:
        """Read the head of a frame, which must be masked (RFC 6455, 5.1), and then its other parts."""
        is_head, self._is_begin = self._is_begin, False
        if not is_head and not self._limits.receive(self._user, n):
            self.close(self._too_much, "You send too much at a time.")
            await self._discard(n)
        self._n_counted += 0 if is_head else n
        data = await super()._read_bytes(n)
        if is_head and not data[1] & _MASKED:
            self.close(_PROTOCOL_ERROR, "A client's frames are masked.")
            raise StreamClosedError
        return data

    async def _discard(self, n: int) -> None:
        """Read the rest of a frame, so that its client reads why the socket is closed; raise StreamClosedError."""
        while n > 0:
            n -= len(await super()._read_bytes(min(n, _DISCARDED_BYTES)))
        raise StreamClosedError
