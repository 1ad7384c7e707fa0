"""Waits that Ctrl-C can interrupt, and that end when the thread they wait for is gone; an event that calls listeners.

Python raises an interrupt when the main thread next runs Python code. If the signal arrives just before that thread
blocks, or in another thread, nothing wakes it: the interrupt is pending until the call ends. So the main thread never
blocks for long.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.fork_safety import renewed_in_child
from ipyllm.runtime.liveness import CHECK_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.runtime.liveness import Liveness, Watch

__all__ = ["CANCEL_GRACE_S", "InterruptibleEvent", "interruptible_timeout"]

CANCEL_GRACE_S = 5.0
"""Seconds that a cancelled call has to end and write its row, before the interrupt is raised."""

_LONGEST_BLOCK_S = 0.2  # five wakes a second have no measurable cost


def interruptible_timeout(seconds: float | None) -> float:
    """Return how long the caller may block at once, out of ``seconds``: at most 0.2 s in the main thread, else 1 s."""
    # Only the main thread is interrupted.
    longest_s = _LONGEST_BLOCK_S if threading.current_thread() is threading.main_thread() else CHECK_S
    return longest_s if seconds is None else min(seconds, longest_s)


class InterruptibleEvent(threading.Event):
    """A :class:`threading.Event` whose ``wait`` can be interrupted, and which calls listeners when it is set.

    A thread cannot wait for an event and a queue at once: it waits for the queue, and a listener puts an item into it.

    Attributes
    ----------
    set_by : Liveness or None
        The thread that will set it. Where it cannot any more, waits raise.
    """

    def __init__(self) -> None:
        super().__init__()
        renewed_in_child(self)
        self.set_by: Liveness | None = None
        self._watch: Watch | None = None
        self._listeners: list[Callable[[], None]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return whether it is.

        Raises
        ------
        LLMError
            The thread that would set it has ended, does not answer, or is the parent's, in a forked child.
        """
        until = None if timeout is None else monotonic() + timeout
        left = timeout
        while not super().wait(interruptible_timeout(left)):
            self.check()
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
        return True

    async def wait_async(self) -> None:
        """Wait until it is set, in a coroutine on any loop; raises as :meth:`wait` does."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
                loop.call_soon_threadsafe(told.set)

        self.listen(tell)
        try:
            while not self.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), CHECK_S)
                self.check()
        finally:
            self.unlisten(tell)

    def check(self) -> None:
        """Raise, as :meth:`wait` does, if it can no more be set. Call it about once a second while waiting."""
        if self.set_by is None:
            return
        if self._watch is None:
            self._watch = self.set_by.watch()
        error = self._watch.trouble()
        if error is not None and not self.is_set():
            raise error

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
