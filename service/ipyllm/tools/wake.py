"""The event that ends a wait, and wakes those who wait for something else besides."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Signal"]


class Signal(threading.Event):
    """A :class:`threading.Event` that calls its listeners when it is set.

    One thread cannot sleep on an event and on a queue of jobs at once: so it sleeps on the queue, and the event
    knocks there.

    Examples
    --------
    >>> done = Signal()
    >>> done.listen(lambda: print("woken"))
    >>> done.set()
    woken
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Callable[[], None]] = []

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
