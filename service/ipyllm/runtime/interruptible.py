"""The event that ends a wait, and wakes those who wait for something else besides; and how long a wait may sleep.

An interrupt is a note that the main thread finds when it next runs Python code. If it is written just before that
thread goes to sleep in the kernel, or by another thread, nothing wakes it: the note lies there until the answer is
complete, and whoever pressed "stop" sees nothing happen. So the main thread never sleeps for long.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InterruptibleEvent", "sleep_slice"]

_LONGEST_NAP_S = 0.2  # the longest an interrupt can lie there; five wakes a second cost nothing that can be measured


def sleep_slice(seconds: float | None) -> float | None:
    """Return how long the caller may sleep at once, of the seconds it wants to: in the main thread never for long.

    Examples
    --------
    >>> sleep_slice(None), sleep_slice(60.0), sleep_slice(0.01)
    (0.2, 0.2, 0.01)
    """
    if threading.current_thread() is not threading.main_thread():  # no other is ever interrupted
        return seconds
    return _LONGEST_NAP_S if seconds is None else min(seconds, _LONGEST_NAP_S)


class InterruptibleEvent(threading.Event):
    """A :class:`threading.Event` that calls its listeners when it is set, and whose wait hears every interrupt.

    One thread cannot sleep on an event and on a queue of jobs at once: so it sleeps on the queue, and the event
    knocks there.

    Examples
    --------
    >>> done = InterruptibleEvent()
    >>> done.listen(lambda: print("woken"))
    >>> done.set()
    woken
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[], None]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, ``timeout`` seconds at most; return whether it is.

        Examples
        --------
        >>> InterruptibleEvent().wait(0.01)
        False
        """
        until = None if timeout is None else monotonic() + timeout
        left = timeout
        while not super().wait(sleep_slice(left)):
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
        """Have ``listener`` called from now on; look at :meth:`is_set` after this, not before."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Take a listener away again."""
        with suppress(ValueError):
            self._listeners.remove(listener)
