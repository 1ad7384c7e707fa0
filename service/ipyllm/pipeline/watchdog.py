"""Ends an attempt when the server falls silent.

The HTTP client's read timeout does not: any byte resets it, also a comment or a chunk without content.
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
    """Ends a block with a TimeoutError when a response falls silent; ``silence`` is then the limit that was exceeded.

    No cost per chunk: a timer checks the accumulator.
    """

    def __init__(self, got: Accumulator, limits: Timeout) -> None:
        self._got = got
        self._limits = limits
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self.silence: float | None = None

    @property
    def has_first_token(self) -> bool:
        """Whether the first token has arrived."""
        return self._got.has_tokens

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
        since = self._got.last_token_ns or self._got.sent_ns
        remaining = math.inf if limit is None else limit - (perf_counter_ns() - since) / 1e9
        if limit is not None and remaining <= 0:
            self.silence = limit
            self._scope.reschedule(loop.time())
            return
        # Before the first token, check early enough for the limit that begins with it.
        if not self.has_first_token and self._limits.stall is not None:
            remaining = min(remaining, self._limits.stall)
        if remaining < math.inf:
            self._timer = loop.call_later(remaining, self._check)
