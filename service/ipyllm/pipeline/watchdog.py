"""Ends an attempt when a time limit is exceeded: of the first token, between tokens, or of silence on the connection.

It also has the text so far saved every second, so that a killed kernel loses at most that much.

The HTTP client's read timeout cannot do this: any byte resets it, even a comment or a chunk without content.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from ipyllm.errors import LimitName
    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.timeout import TimeLimits
    from ipyllm.transport.wire_times import WireTimes

__all__ = ["Watchdog"]

_LAST_LOOK_S: Final = 0.02  # for the reading of what arrived while this thread was held up
_LOOK_S: Final = 1.0
_SAVE_EVERY_NS: Final = 900_000_000  # at nearly every look, but not at all of those of a short limit


class _Clock(NamedTuple):
    """A limit, in seconds, and the ``perf_counter_ns`` since when it counts."""

    name: LimitName
    limit_s: float | None
    since_ns: int


class Watchdog:
    """Ends a block with a TimeoutError when a limit of a response is exceeded; :meth:`error` then says which.

    ``save`` is called every second in which something has arrived. A timer checks what has arrived, so a chunk costs
    nothing extra.
    """

    def __init__(
        self, received: Accumulator, times: WireTimes, limits: TimeLimits, save: Callable[[Accumulator], None]
    ) -> None:
        self._received = received
        self._times = times
        self._limits = limits
        # Of a limit that begins before the next look, nothing may be missed.
        self._look_s: float = min(
            filter(None, (limits.first_token, limits.first_byte, limits.stall, limits.silence, _LOOK_S))
        )
        self._save = save
        self._saved_chunks = 0
        self._saved_ns = received.sent_ns
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._is_last_look = False
        self._exceeded: tuple[LimitName, float] | None = None

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._timer = asyncio.get_running_loop().call_later(self._look_s, self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(kind, exc, trace)

    def _check(self) -> None:
        loop, now_ns, next_s = asyncio.get_running_loop(), perf_counter_ns(), self._look_s
        if self._received.n_chunks != self._saved_chunks and now_ns - self._saved_ns > _SAVE_EVERY_NS:
            self._saved_chunks, self._saved_ns = self._received.n_chunks, now_ns
            self._save(self._received)
        for name, limit_s, since_ns in self._clocks():
            if limit_s is None:
                continue
            remaining_s = limit_s - (now_ns - since_ns) / 1e9
            if remaining_s <= 0 and self._is_last_look:
                self._exceeded = name, limit_s
                self._scope.reschedule(loop.time())
                return
            next_s = min(next_s, remaining_s)
        self._is_last_look = next_s <= 0
        self._timer = loop.call_later(_LAST_LOOK_S if self._is_last_look else next_s, self._check)

    def _clocks(self) -> Iterator[_Clock]:
        received, heard_ns, limits = self._received, self._times.heard_ns, self._limits
        if received.last_token_ns is None:
            yield _Clock("first_token", limits.first_token, received.sent_ns)
        else:
            yield _Clock("stall", limits.stall, received.last_token_ns)
        if heard_ns is None:
            yield _Clock("silence", limits.first_byte, received.sent_ns)
        else:
            yield _Clock("silence", limits.silence, heard_ns)

    def error(self, model: str, *, reasons: bool) -> LLMError | None:
        """Return the error of the limit that was exceeded, or None if none was.

        A request that the server has begun to answer must not be sent again, since both may be billed. Neither must one
        to a model that ``reasons``: it may do so without a word, before the response begins.
        """
        if self._exceeded is None:
            return None
        limit, limit_s = self._exceeded
        times = self._times
        may_be_at_work = times.is_accepted or (reasons and times.heard_ns is None and not times.is_connecting)
        sentence = f"{model} took too long: {self._missing(limit)} for {limit_s:g} s"
        if may_be_at_work:
            why = "its server had begun to answer" if times.is_accepted else "it may be reasoning"
            sentence += f"; {why}, so the request was not sent again: the work might be done, and billed, twice"
        return LLMError(
            f"{sentence}; allow more time with timeout=Timeout({limit}=…).",
            category="timeout",
            model=model,
            reached_server=not times.is_connecting,
            limit=limit,
            may_be_at_work=may_be_at_work,
        )

    def _missing(self, limit: LimitName) -> str:
        if self._times.is_connecting:
            return "no connection was made"
        if self._times.heard_ns is None:
            return "nothing arrived"
        return {"first_token": "no first token arrived", "stall": "no further token arrived"}.get(
            limit, "nothing more arrived"
        )
