"""How long a call may take: four limits, and the watchdog that holds those on silence.

The HTTP client's own read timeout is no help: it counts any byte, so that a server which sends comments, or a
chunk now and then, is never too slow.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ipyllm.pipeline.accumulator import Accumulator

__all__ = ["Timeout", "Watchdog"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Limits of a call, in seconds; None is no limit.

    Attributes
    ----------
    connect : float or None
        To reach the server.
    first_token : float or None
        From the request to the first chunk with content, reasoning or a tool call.
    stall : float or None
        Between two such chunks.
    total : float or None
        For the whole call: queue, every attempt and every wait between them, tools and repairs.

    Examples
    --------
    >>> Timeout.of(5)
    Timeout(connect=5, first_token=5, stall=5, total=None)
    """

    connect: float | None = 60.0
    first_token: float | None = 60.0
    stall: float | None = 60.0
    total: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect", "first_token", "stall", "total"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise LLMError(
                    f"The timeout {name} must be a number of seconds above 0, not {value!r}.", category="bad_request"
                )

    @classmethod
    def of(cls, given: Any) -> Timeout:
        """Take a Timeout, or a number: the longest silence at any stage."""
        if isinstance(given, Timeout):
            return given
        if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
            raise LLMError(
                f"timeout must be a number of seconds above 0, or a Timeout, not {given!r}.", category="bad_request"
            )
        return cls(connect=given, first_token=given, stall=given)


class Watchdog:
    """Ends a block when a response falls silent. No cost per chunk: a timer checks the accumulator.

    Parameters
    ----------
    got : Accumulator
        Records arrival times.
    limits : Timeout
        ``first_token`` and ``stall`` are enforced.

    Raises
    ------
    TimeoutError
        From the block; ``silence`` is the limit that was exceeded, ``begun`` whether any token had arrived.
    """

    def __init__(self, got: Accumulator, limits: Timeout) -> None:
        self._got = got
        self._limits = limits
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self.silence: float | None = None

    @property
    def begun(self) -> bool:
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
        limit = self._limits.stall if self.begun else self._limits.first_token
        since = self._got.last_token_ns or self._got.sent_ns
        remaining = math.inf if limit is None else limit - (perf_counter_ns() - since) / 1e9
        if limit is not None and remaining <= 0:
            self.silence = limit
            self._scope.reschedule(loop.time())
            return
        # Before the first token, check early enough for the limit that begins with it.
        if not self.begun and self._limits.stall is not None:
            remaining = min(remaining, self._limits.stall)
        if remaining < math.inf:
            self._timer = loop.call_later(remaining, self._check)
