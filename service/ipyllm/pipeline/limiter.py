"""Limits the concurrent calls to one address, and their rate; learns the limit from admissions and rejections.

One :class:`Limiter` per address, on the service thread's loop; an attempt holds its :class:`Slot` while its request is
in flight. The rules are those of TCP's congestion control: start with many, double while all are admitted, fall back
to what the server evidently admitted when it rejects, then probe for more at growing intervals.
"""

from __future__ import annotations

import asyncio
import math
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ipyllm.errors import bad_request
from ipyllm.pipeline.retry import LONGEST_RETRY_AFTER_S
from ipyllm.token_bucket import TokenBucket

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Limiter", "Slot"]

_FIRST_LIMIT = 100
_PROBE_S = 1.0  # between two probes for a higher limit; doubled after each failed probe
_MAX_PROBE_S = 60.0
_PROBE_S_PER_PAUSE_S = 16  # after a pause of 1 s, the next probe is 16 s later
_FIRST_PAUSE_S = 0.25  # when no request is admitted and the server sends no Retry-After
_MAX_PAUSE_S = 8.0
_BURST_S = 6.0  # after idle time, this many seconds' worth of a per-minute limit may be sent at once


class Limiter:
    """Limits the calls to one address; they are sent in the order in which they came.

    Limits per minute allow a burst of a tenth after idle time. Tokens are estimated when a call is sent and corrected
    when it has succeeded.

    Attributes
    ----------
    is_cold : bool
        Whether a model was loaded for a call, and the server has sent no token since.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        names = ("requests_per_minute", "tokens_per_minute", "max_in_flight")
        for name, value in zip(names, (requests_per_minute, tokens_per_minute, max_in_flight), strict=True):
            if value is not None and not value > 0:
                raise bad_request(f"{name} must be a number above 0, not {value!r}.")
        self._window = _Window(max_in_flight)
        self._per_minute = requests_per_minute, tokens_per_minute
        self._requests, self._tokens = (
            TokenBucket(*_rate(limit), monotonic()) if limit else None for limit in self._per_minute
        )
        self._senders: dict[str, int] = {}
        self._order = count()
        self._queue: list[tuple[int, asyncio.Future[None], Slot]] = []  # a heap, by order
        self._waiting = 0
        self._paused_until = 0.0
        self._pause_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_cold = False

    def __repr__(self) -> str:
        return f"Limiter(limit={self.limit}, in_flight={self.in_flight}, waiting={self.waiting})"

    @property
    def limit(self) -> int:
        """Number of requests that may be in flight now."""
        return self._window.limit

    @property
    def in_flight(self) -> int:
        """Number of requests in flight."""
        return self._window.in_flight

    @property
    def paused_until(self) -> float:
        """Until when nothing is sent after a rejection, as ``time.monotonic``; a past time without a pause."""
        return self._paused_until

    @property
    def waiting(self) -> int:
        """Number of calls that wait for a slot."""
        return self._waiting

    @property
    def rejections(self) -> int:
        """Number of "too many requests" from the server."""
        return self._window.rejections

    @property
    def counts_tokens(self) -> bool:
        """Whether a token limit is set."""
        return self._tokens is not None

    def slot(self, estimated_tokens: int = 0) -> Slot:
        """Create the slot of one call, which is entered for each attempt."""
        return Slot(self, estimated_tokens, next(self._order))

    def share(self, owner: str, n_senders: int) -> None:
        """Take one of ``n_senders`` equal parts of the limits per minute, until ``owner`` says otherwise.

        Of several owners, the smallest part counts.
        """
        before = max(self._senders.values(), default=1)
        self._senders.pop(owner, None)
        if n_senders > 1:
            self._senders[owner] = n_senders
        now_of = max(self._senders.values(), default=1)
        if now_of == before:
            return
        for bucket, limit in zip((self._requests, self._tokens), self._per_minute, strict=True):
            if bucket is not None and limit:
                bucket.set_rate(*_rate(limit / now_of), monotonic())
        self._dispatch()

    # ---- for Slot ------------------------------------------------------------------------------------

    async def enter(self, slot: Slot) -> None:
        """Wait until ``slot`` may send its request."""
        if not self._waiting and self._ready_at(slot) == 0.0:
            self._grant(slot)
            return
        since = monotonic()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._queue, (slot.order, ready, slot))
        self._waiting += 1
        self._dispatch()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.cancelled():
                self._waiting -= 1
                self._dispatch()
            else:
                self.leave(slot)  # it became ready at the same instant
            raise
        finally:
            slot.waited_s += monotonic() - since

    def admitted(self, slot: Slot) -> None:
        """Record that the server admitted a request."""
        assert slot.sent is not None
        self._window.admitted(slot.sent)
        self._dispatch()

    def leave(self, slot: Slot) -> None:
        """Record that a request has ended."""
        slot.sent = None
        self._window.in_flight -= 1
        self._dispatch()

    def succeeded(self, more_tokens: int) -> None:
        """Record a success, and how many tokens more than estimated it used."""
        self._pause_s = 0.0
        if self._tokens is not None:
            self._tokens.take(more_tokens, monotonic())

    def rejected(self, slot: Slot, retry_after: float | None) -> bool:
        """Record a rejection; return whether the server was serving other requests of ours."""
        assert slot.sent is not None
        now = monotonic()
        pause_s = retry_after if retry_after is not None and retry_after <= LONGEST_RETRY_AFTER_S else None
        serves_others = self._window.rejected(slot.sent, now, pause_s or 0.0)
        if pause_s is None and not serves_others:
            pause_s = self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _MAX_PAUSE_S)
        if pause_s is not None:
            self._paused_until = max(self._paused_until, now + pause_s)
        if self._tokens is not None:
            self._tokens.take(-slot.tokens, now)
        self.leave(slot)
        return serves_others

    # ---- the queue -----------------------------------------------------------------------------------

    def _grant(self, slot: Slot) -> None:
        if self._requests is not None:
            self._requests.take(1, monotonic())
        if self._tokens is not None:
            self._tokens.take(slot.tokens, monotonic())
        slot.sent = self._window.record_send()

    def _ready_at(self, slot: Slot) -> float:
        """Return when ``slot`` may send: 0 for now, infinity when that depends on other requests."""
        now = monotonic()
        if now < self._paused_until:
            return self._paused_until
        window = self._window
        if window.in_flight >= window.limit:
            grows_at = window.grows_at()
            if grows_at > now:
                return grows_at
            window.grow(now)
        wait_s = self._requests.wait_s(1, now) if self._requests is not None else 0.0
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(slot.tokens, now))
        return now + wait_s if wait_s else 0.0

    def _dispatch(self) -> None:
        """Let the calls that are ready send, and set a timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            _, ready, slot = self._queue[0]
            if not ready.done():  # else it was cancelled
                at = self._ready_at(slot)
                if at:
                    if at < math.inf:
                        self._timer = asyncio.get_running_loop().call_at(at, self._dispatch)
                    return
                self._waiting -= 1
                self._grant(slot)
                ready.set_result(None)
            heappop(self._queue)


class Slot:
    """Permission of one call to have a request in flight: ``async with slot: …``.

    Within the block, report what the server did: :meth:`admitted`, then :meth:`succeeded`; or :meth:`rejected`. Report
    no other failure. A rejected call enters the same slot again, before all calls that came after it. ``waited_s``
    is the time that the call has waited in all, part of the row's ``queue_s``.
    """

    __slots__ = ("_admitted", "_limiter", "order", "sent", "tokens", "waited_s")

    def __init__(self, limiter: Limiter, tokens: int, order: int) -> None:
        self._limiter = limiter
        self._admitted = False
        self.tokens = tokens
        self.order = order
        self.sent: _SendState | None = None
        self.waited_s = 0.0

    async def __aenter__(self) -> Self:
        self._admitted = False
        await self._limiter.enter(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.sent is not None:
            self._limiter.leave(self)

    def admitted(self) -> None:
        """Report that the server admitted the request (status 200), long before the response ends.

        So the limit can grow before the response is complete.
        """
        if not self._admitted:
            self._admitted = True
            self._limiter.admitted(self)

    def answered(self) -> None:
        """Report the first token: the server has its model."""
        self._limiter.is_cold = False

    def succeeded(self, tokens: int | None = None) -> None:
        """Report that the response is complete, and its tokens if the server counted them."""
        self.admitted()
        self._limiter.succeeded(0 if tokens is None else tokens - self.tokens)

    def rejected(self, retry_after: float | None = None) -> bool:
        """Report that the server rejected the request: "too many requests", not "no quota".

        Nothing is sent to this address for ``retry_after`` seconds. Return whether the server was serving other
        requests of ours. If it was, it only allows fewer at once: send the call again, without counting a retry. If
        not, the attempt has failed.
        """
        return self._limiter.rejected(self, retry_after)


class _SendState(NamedTuple):
    """State of the window when a request was sent."""

    number: int
    in_flight: int  # itself included
    rejections: int


class _Window:
    """Computes how many requests may be in flight. It reads no clock: times are passed in."""

    def __init__(self, max_limit: int | None) -> None:
        self.limit = _FIRST_LIMIT if max_limit is None else min(max_limit, _FIRST_LIMIT)
        self.in_flight = 0
        self.rejections = 0
        self._max_limit = math.inf if max_limit is None else max_limit
        self._sent = 0
        # Before the limit grows again, so many of the requests sent after its last change must be admitted.
        self._sent_at_change = 0
        self._admissions_needed = self.limit
        # Highest limit that the server is known to admit; infinite before the first rejection.
        self._proven_limit: float = math.inf
        self._limit_before_rejections: int | None = None  # None while nothing is rejected
        self._probe_step = 1
        self._probe_interval_s = _PROBE_S
        self._probe_at = 0.0

    def record_send(self) -> _SendState:
        self._sent += 1
        self.in_flight += 1
        return _SendState(self._sent, self.in_flight, self.rejections)

    def admitted(self, sent: _SendState) -> None:
        if sent.number > self._sent_at_change:
            self._admissions_needed -= 1
            self._limit_before_rejections = None

    def grows_at(self) -> float:
        """Return when the limit may grow: 0 or a past time for now, infinity while admissions are missing."""
        if self._admissions_needed > 0 or self.limit >= self._max_limit:
            return math.inf
        return self._probe_at if self.limit >= self._proven_limit else 0.0

    def grow(self, now: float) -> None:
        if self.limit < self._proven_limit:
            limit = min(2 * self.limit, self._proven_limit)
        else:
            limit = self.limit + self._probe_step
            self._probe_step *= 2
            self._probe_interval_s = max(self._probe_interval_s / 2, _PROBE_S)
            self._probe_at = now + self._probe_interval_s
        self._set_limit(int(min(limit, self._max_limit)))

    def rejected(self, sent: _SendState, now: float, retry_after: float) -> bool:
        """Lower the limit; return whether the server has admitted other requests. The caller updates ``in_flight``."""
        self.rejections += 1
        if self._limit_before_rejections is None:
            self._limit_before_rejections = self.limit
            if self._proven_limit < math.inf:
                self._probe_interval_s *= 2
        # In flight now, or when this one was sent, less those rejected since: a response that ends before a rejection
        # arrives must not count against the server.
        n_admitted = max(self.in_flight - 1, sent.in_flight - (self.rejections - sent.rejections))
        # Nothing was admitted, so the number does not matter: after the pause, double from one again.
        self._proven_limit = min(self.limit, n_admitted) if n_admitted else max(1, self._limit_before_rejections // 2)
        self._set_limit(max(1, min(self.limit, n_admitted)))
        self._probe_step = 1
        self._probe_interval_s = min(max(self._probe_interval_s, _PROBE_S_PER_PAUSE_S * retry_after), _MAX_PROBE_S)
        self._probe_at = now + self._probe_interval_s
        return n_admitted > 0

    def _set_limit(self, limit: int) -> None:
        self._admissions_needed = max(1, limit - self.limit)
        self._sent_at_change = self._sent
        self.limit = limit


def _rate(per_minute: float) -> tuple[float, float]:
    """Return the rate per second, and how much may be sent at once."""
    per_s = per_minute / 60
    return per_s, max(1.0, per_s * _BURST_S)
