"""Wakes readers on other event loops: one wakeup per loop for all readers that one iteration of ours made ready.

Waking another thread's loop costs a system call and competes for the interpreter's lock. At 500 concurrent streams
one iteration has events for dozens of readers, and one wakeup serves them all.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

__all__ = ["wake_soon"]

_Waiters = dict[asyncio.AbstractEventLoop, list["asyncio.Future[None]"]]
_local = threading.local()


def wake_soon(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Complete ``waiter``, a future of ``loop``, after this iteration of the running loop."""
    waiters: _Waiters | None = getattr(_local, "waiters", None)
    if waiters is None:
        waiters = _local.waiters = {}
        asyncio.get_running_loop().call_soon(_wake_all)
    waiters.setdefault(loop, []).append(waiter)


def _wake_all() -> None:
    waiters: _Waiters = _local.waiters
    _local.waiters = None
    for loop, futures in waiters.items():
        with suppress(RuntimeError):  # that loop was closed; a reader's call is cancelled with the reader
            loop.call_soon_threadsafe(_complete, futures)


def _complete(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
