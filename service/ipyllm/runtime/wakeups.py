"""Wakes readers on other event loops: one wakeup per loop for all readers that had to wait in the last milliseconds.

Waking another thread's loop costs a system call and competes for the interpreter's lock: at 100 concurrent streams
half of the service thread's time, if each of its iterations does it. Arrivals are stamped before, so that figures do
not depend on when a reader wakes.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Final

__all__ = ["wake_soon"]

_PAUSE_S: Final = 0.004  # between two wakeups: not seen by a reader, and as long as some ten streams need for a chunk


class _Wakeups(threading.local):
    """Readers to be woken by the event loop of this thread."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        self._next: asyncio.Handle | None = None
        self._last_s = 0.0

    def add(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], *, at_once: bool) -> None:
        self._waiters.setdefault(loop, []).append(waiter)
        running = asyncio.get_running_loop()
        due_s = self._last_s + _PAUSE_S
        if self._next is None:
            if at_once or running.time() >= due_s:
                self._next = running.call_soon(self._wake_all)
            else:
                self._next = running.call_at(due_s, self._wake_all)
        elif at_once and isinstance(self._next, asyncio.TimerHandle):
            self._next.cancel()
            self._next = running.call_soon(self._wake_all)

    def _wake_all(self) -> None:
        waiters, self._waiters, self._next = self._waiters, {}, None
        self._last_s = asyncio.get_running_loop().time()
        for loop, futures in waiters.items():
            with suppress(RuntimeError):  # that loop was closed; a reader's call is cancelled with the reader
                loop.call_soon_threadsafe(_complete, futures)


_wakeups = _Wakeups()


def wake_soon(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], *, at_once: bool = False) -> None:
    """Complete ``waiter``, a future of ``loop``: after this iteration of the running loop, or a few milliseconds later.

    ``at_once`` is for what must not wait for the others. On the running loop itself, a wakeup costs nothing.
    """
    if loop is asyncio.get_running_loop():
        _complete([waiter])
    else:
        _wakeups.add(loop, waiter, at_once=at_once)


def _complete(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
