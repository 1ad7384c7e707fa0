"""Reads that a fork waits for: a child would inherit the mutexes of SQLite that they hold, and wait for ever."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ipyllm.fork_safety import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OpenReads"]


class OpenReads:
    """The reads of one database that are open in this process, in any thread."""

    def __init__(self) -> None:
        self._changed = renewed_in_child(threading.Condition())
        self._n = 0
        self._stopped_for_fork = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a read, for as long as the block runs; it begins after a fork that has begun."""
        with self._changed:
            self._n += 1
        try:
            yield
        finally:
            with self._changed:
                self._n -= 1
                self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """Wait for the open reads, at most ``timeout`` seconds, and let none begin until :meth:`go_on`."""
        self._stopped_for_fork = self._changed.acquire(timeout=timeout)
        if self._stopped_for_fork:
            self._changed.wait_for(lambda: not self._n, timeout)

    def go_on(self) -> None:
        """Let reads begin again."""
        if self._stopped_for_fork:
            self._stopped_for_fork = False
            self._changed.release()

    def forget(self) -> None:
        """Forget the parent's reads in a forked child."""
        self._stopped_for_fork = False
        self._n = 0
