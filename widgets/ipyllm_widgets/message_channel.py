"""What goes to the browser: numbered messages, so that a view that missed one knows it and asks for a snapshot.

The lock is the widget's only one. State that a snapshot shows is changed and announced while it is held; nothing is
rendered meanwhile.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outbox"]


class Outbox:
    """Numbers messages and sends them in that order, from any thread.

    Parameters
    ----------
    send : callable
        Takes a message that JSON can hold; a widget's ``send``.

    Examples
    --------
    >>> sent = []
    >>> outbox = Outbox(sent.append)
    >>> outbox.post("update", order=["1"])
    >>> outbox.tell("ack", nonce=7)
    >>> sent
    [{'kind': 'update', 'seq': 1, 'order': ['1']}, {'kind': 'ack', 'nonce': 7}]
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self.lock = threading.RLock()
        self.seq = 0

    def post(self, kind: str, **fields: Any) -> None:
        """Send a change of state."""
        with self.lock:
            self.seq += 1
            self._send({"kind": kind, "seq": self.seq, **fields})

    def tell(self, kind: str, **fields: Any) -> None:
        """Send what changes no state, such as an answer to a question of one view."""
        with self.lock:
            self._send({"kind": kind, **fields})
