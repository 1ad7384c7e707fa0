"""The watchdog: ends an attempt whose server falls silent.

The HTTP client's own read timeout is no help: it counts any byte, so that a server which sends comments, or a
chunk now and then, is never too slow.
"""

from __future__ import annotations

import asyncio
import math
from time import perf_counter_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.timeout import Timeout

__all__ = ["Watchdog"]


class Watchdog:
    """Ends a block when an answer falls silent. Costs nothing per chunk: it looks at the accumulator when it wakes.

    Parameters
    ----------
    got : Accumulator
        What has arrived, and when.
    limits : Timeout
        Of which ``first_token`` and ``stall`` are held.

    Raises
    ------
    TimeoutError
        From the block; ``silence`` says how long the limit was, ``begun`` whether anything had come.
    """

    def __init__(self, got: Accumulator, limits: Timeout) -> None:
        self._got = got
        self._limits = limits
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self.silence: float | None = None

    @property
    def begun(self) -> bool:
        """Whether the first token had come."""
        return self._got.anything

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(kind, exc, trace)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        limit = self._limits.stall if self.begun else self._limits.first_token
        since = self._got.last_token_ns or self._got.sent_ns
        remaining = math.inf if limit is None else limit - (perf_counter_ns() - since) / 1e9
        if limit is not None and remaining <= 0:
            self.silence = limit
            self._scope.reschedule(loop.time())
            return
        # Before the first token, wake soon enough to hold the limit that begins with it.
        if not self.begun and self._limits.stall is not None:
            remaining = min(remaining, self._limits.stall)
        if remaining < math.inf:
            self._timer = loop.call_later(remaining, self._look)
