"""Waits that Ctrl-C can interrupt, and an event that calls listeners.

Python raises an interrupt when the main thread next runs Python code. If the signal arrives just before that thread
blocks, or in another thread, nothing wakes it: the interrupt is pending until the call ends. So the main thread never
blocks for long.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANCEL_GRACE_S", "InterruptibleEvent", "interruptible_timeout"]

CANCEL_GRACE_S = 5.0
"""Seconds that a cancelled call has to end and write its row, before the interrupt is raised."""

_LONGEST_BLOCK_S = 0.2  # five wakes a second have no measurable cost


def interruptible_timeout(seconds: float | None) -> float | None:
    """Return how long the caller may block at once, out of ``seconds``: at most 0.2 s in the main thread."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        return seconds
    return _LONGEST_BLOCK_S if seconds is None else min(seconds, _LONGEST_BLOCK_S)


class InterruptibleEvent(threading.Event):
    """A :class:`threading.Event` whose ``wait`` can be interrupted, and which calls listeners when it is set.

    A thread cannot wait for an event and a queue at once: it waits for the queue, and a listener puts an item into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[], None]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return whether it is."""
        until = None if timeout is None else monotonic() + timeout
        left = timeout
        while not super().wait(interruptible_timeout(left)):
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
        return True

    def set(self) -> None:
        """Set it, then call the listeners, in this thread."""
        super().set()
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Add a listener; check :meth:`is_set` afterwards, not before."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Remove a listener."""
        with suppress(ValueError):
            self._listeners.remove(listener)
