"""Lets calls wait until their rows are in the ledger, so that a call that was sent is known whatever happens then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WrittenRows"]

_PAUSE_S: Final = 0.005
"""Seconds between two times: more calls then share one transaction."""


class WrittenRows:
    """Writes the rows that were put; calls that come while rows are being written share the next time.

    Parameters
    ----------
    flush : callable
        Writes the rows, in a thread of its own. What it raises is raised by :meth:`wait`.
    """

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._latest: asyncio.Task[None] | None = None  # that began last
        self._next: asyncio.Task[None] | None = None  # that has not begun
        self._ended_at = 0.0

    async def wait(self) -> None:
        """Wait until all rows are written that were put before; on the service thread."""
        loop = asyncio.get_running_loop()
        if self._next is None or self._next.get_loop() is not loop:  # the parent's, in a forked child
            self._next = loop.create_task(self._write_after(self._latest))
        await asyncio.shield(self._next)

    async def _write_after(self, earlier: asyncio.Task[None] | None) -> None:
        loop = asyncio.get_running_loop()
        if earlier is not None and earlier.get_loop() is loop:
            await asyncio.wait([earlier])
            if (pause_s := self._ended_at + _PAUSE_S - loop.time()) > 0:
                await asyncio.sleep(pause_s)
        self._latest, self._next = self._next, None
        try:
            await asyncio.to_thread(self._flush)
        finally:
            self._ended_at = loop.time()
