"""Ends an attempt when the server falls silent.

The HTTP client's read timeout cannot do this: any byte resets it, even a comment or a chunk without content.
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
    """Ends a block with a TimeoutError when a response falls silent; ``exceeded_s`` is then the limit in seconds.

    A timer checks the accumulator, so a chunk costs nothing extra.
    """

    def __init__(self, received: Accumulator, limits: Timeout) -> None:
        self._received = received
        self._limits = limits
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self.exceeded_s: float | None = None

    @property
    def has_first_token(self) -> bool:
        """Whether the first token has arrived."""
        return self._received.has_tokens

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(kind, exc, trace)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        limit = self._limits.stall if self.has_first_token else self._limits.first_token
        since = self._received.last_token_ns or self._received.sent_ns
        remaining = math.inf if limit is None else limit - (perf_counter_ns() - since) / 1e9
        if limit is not None and remaining <= 0:
            self.exceeded_s = limit
            self._scope.reschedule(loop.time())
            return
        # Before the first token, check early enough for the limit that begins with it.
        if not self.has_first_token and self._limits.stall is not None:
            remaining = min(remaining, self._limits.stall)
        if remaining < math.inf:
            self._timer = loop.call_later(remaining, self._check)
