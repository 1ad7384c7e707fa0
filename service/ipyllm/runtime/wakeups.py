"""Wakes readers on other loops: all that have become ready in one turn of our own loop, at once.

To wake another thread's loop is a system call and a fight for the interpreter's lock. At 500 streams in flight one turn
of our loop has news for dozens of readers, and they are all told by one wake.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

__all__ = ["ring"]

_Waiting = dict[asyncio.AbstractEventLoop, list["asyncio.Future[None]"]]
_here = threading.local()


def ring(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Have ``waiter``, a future of ``loop``, set when this turn of the running loop is over."""
    waiting: _Waiting | None = getattr(_here, "waiting", None)
    if waiting is None:
        waiting = _here.waiting = {}
        asyncio.get_running_loop().call_soon(_tell)
    waiting.setdefault(loop, []).append(waiter)


def _tell() -> None:
    waiting: _Waiting = _here.waiting
    _here.waiting = None
    for loop, waiters in waiting.items():
        with suppress(RuntimeError):  # that loop was closed; a reader's call is cancelled with the reader
            loop.call_soon_threadsafe(_wake, waiters)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
