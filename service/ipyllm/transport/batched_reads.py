"""Reads the streams of many calls in batches, a few milliseconds apart.

The kernel stamps what arrives, so that no figure depends on when it is read. A chunk that is read as it arrives costs
about twice as much as one of fifty that are read in a row, because the code is in the processor's caches then, and one
turn of the event loop serves them all.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["BatchingSelector", "new_event_loop", "selector_of_running_loop"]

_PAUSE_S: Final = 0.005
_FEW: Final = 12  # file descriptors, of which a loop has three of its own


class BatchingSelector(selectors.DefaultSelector):  # the one that uses epoll, where this class is used
    """Selector that can report some of its files only every few milliseconds, all that are ready at once.

    Each call moves its file there and back, which is why this costs no more than the system calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._at_once = select.epoll.fromfd(os.dup(self.fileno()))  # the one that the base class uses
        self._in_batches = select.epoll()
        self._either = select.epoll()  # ready if one of these has a file that is
        for each in (self._at_once, self._in_batches):
            self._either.register(each.fileno(), select.EPOLLIN)
        self._batched: dict[int, selectors.SelectorKey] = {}
        self._due_s = 0.0

    def batch(self, file: int) -> bool:
        """Report what can be read from a file in batches from now on, if there are enough; return whether it is."""
        key = self.get_map().get(file)
        if key is None or key.events != selectors.EVENT_READ or len(self.get_map()) < _FEW:
            return False
        self._at_once.unregister(file)
        self._in_batches.register(file, select.EPOLLIN)
        self._batched[file] = key
        return True

    def report_at_once(self, file: int) -> None:
        """Report a file as soon as it is ready again."""
        if self._batched.pop(file, None) is not None:
            self._in_batches.unregister(file)
            self._at_once.register(file, select.EPOLLIN)

    # ---- what asyncio uses --------------------------------------------------------------------------

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """Report a file no more."""
        key = super().unregister(fileobj)
        if self._batched.pop(key.fd, None) is not None:
            with suppress(OSError):  # it was closed already
                self._in_batches.unregister(key.fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Report other events of a file, at once: it may be waiting to be written to."""
        self.report_at_once(self.get_key(fileobj).fd)
        return super().modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready, those in batches only when their time has come."""
        if not self._batched:
            return super().select(timeout)
        pause_s = self._due_s - monotonic()
        if pause_s > 0:
            ready = super().select(pause_s if timeout is None else min(timeout, pause_s))
            if monotonic() < self._due_s:
                return ready
        else:
            self._either.poll(timeout)
            ready = super().select(0)
        batch = [(self._batched[file], selectors.EVENT_READ) for file, _ in self._in_batches.poll(0)]
        if batch:
            self._due_s = monotonic() + _PAUSE_S
        return ready + batch

    def close(self) -> None:
        """Close all epoll instances."""
        for each in (self._either, self._in_batches, self._at_once):
            each.close()
        super().close()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop whose sockets can be read in batches, where the kernel stamps arrivals: on Linux."""
    if sys.platform != "linux":
        return asyncio.new_event_loop()
    selector = BatchingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    _selectors[loop] = selector
    return loop


def selector_of_running_loop() -> BatchingSelector | None:
    """Return the selector of the running loop, if there is one that :func:`new_event_loop` made."""
    try:
        return _selectors.get(asyncio.get_running_loop())
    except RuntimeError:
        return None


_selectors: WeakKeyDictionary[asyncio.AbstractEventLoop, BatchingSelector] = WeakKeyDictionary()
