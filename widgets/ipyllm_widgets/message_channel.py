"""Sends numbered messages to the browser: a view that missed one notices the gap and asks for a snapshot."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ipyllm.fork_safety import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MessageChannel"]


class MessageChannel:
    """Sends messages in the order of their numbers, from any thread.

    Attributes
    ----------
    lock : threading.RLock
        The only lock of a widget. Hold it to change the state of a snapshot and send the change; never render while
        holding it.

    Parameters
    ----------
    send : callable
        Takes a message that JSON can represent, and its binary buffers.

    Examples
    --------
    >>> sent = []
    >>> channel = MessageChannel(lambda message, buffers: sent.append(message))
    >>> channel.send_change("update", order=["1"])
    >>> channel.send("ack", nonce=7)
    >>> sent
    [{'kind': 'update', 'seq': 1, 'order': ['1']}, {'kind': 'ack', 'nonce': 7}]
    """

    def __init__(self, send: Callable[[dict[str, Any], Sequence[bytes] | None], None]) -> None:
        self._send = send
        self.lock = renewed_in_child(threading.RLock())
        self.seq = 0

    def send_change(self, kind: str, **fields: Any) -> None:
        """Send a numbered message that changes the state of the views."""
        with self.lock:
            self.seq += 1
            self._send({"kind": kind, "seq": self.seq, **fields}, None)

    def send(self, kind: str, *, buffers: Sequence[bytes] | None = None, **fields: Any) -> None:
        """Send a message that changes no state, such as the reply to a command."""
        with self.lock:
            self._send({"kind": kind, **fields}, buffers)
