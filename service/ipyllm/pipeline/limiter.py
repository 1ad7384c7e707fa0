"""How many calls go to one address at once, and how fast: learnt from what the server admits, and from what it refuses.

One :class:`Limiter` per address, on the service thread's loop; an attempt stands inside a :class:`Slot` while its
request is out. The rules are those of TCP's congestion control: begin with many, double while all are admitted,
fall back to what the server evidently took when it refuses, then ask for more only rarely.
"""

from __future__ import annotations

import asyncio
import math
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Limiter", "Slot"]

_FIRST_LIMIT = 100
_PROBE_S = 1.0  # between two attempts to go beyond what the server took; doubled with each that fails
_LONGEST_PROBE_S = 60.0
_PROBES_PER_PAUSE = 16  # a probe that costs a pause of 1 s is made every 16 s at most
_FIRST_PAUSE_S = 0.25  # when nothing at all is admitted and the server names no time
_LONGEST_PAUSE_S = 8.0
_LONGEST_RETRY_AFTER_S = 120.0  # beyond it nobody is kept waiting: each call is told by the server itself
_BURST_S = 6.0  # what may be sent at once after a rest: so many seconds' worth of a per-minute limit


class Limiter:
    """Lets calls to one address through, in their order.

    Parameters
    ----------
    requests_per_minute : float, optional
        Never send more, but for a tenth of it at once after a rest.
    tokens_per_minute : float, optional
        The same for tokens, estimated when a call is sent and put right when it has succeeded.
    max_in_flight : int, optional
        Never have more requests out.

    Examples
    --------
    >>> limiter = Limiter(max_in_flight=8)
    >>> async def call():
    ...     async with limiter.slot(estimated_tokens=20) as slot:
    ...         slot.succeeded(tokens=17)
    ...     return slot.waited_s
    >>> asyncio.run(call())
    0.0
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        given = {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "max_in_flight": max_in_flight,
        }
        for name, value in given.items():
            if value is not None and not value > 0:
                raise LLMError(f"{name} must be a number above 0, not {value!r}.", category="bad_request")
        self._window = _Window(max_in_flight)
        self._requests = _Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = _Bucket(tokens_per_minute) if tokens_per_minute else None
        self._order = count()
        self._queue: list[tuple[int, asyncio.Future[None], Slot]] = []  # a heap; the first in order goes first
        self._waiting = 0
        self._paused_until = 0.0
        self._pause_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Limiter(limit={self.limit}, in_flight={self.in_flight}, waiting={self.waiting})"

    @property
    def limit(self) -> int:
        """How many requests may be out at once, as things stand."""
        return self._window.limit

    @property
    def in_flight(self) -> int:
        """How many requests are out."""
        return self._window.in_flight

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._waiting

    @property
    def rejections(self) -> int:
        """How often the server has said "too many requests"."""
        return self._window.rejections

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of a call matter here."""
        return self._tokens is not None

    def slot(self, estimated_tokens: int = 0) -> Slot:
        """Make the slot of one call: entered once for each time its request is sent.

        Parameters
        ----------
        estimated_tokens : int
            What the call will count against ``tokens_per_minute``.
        """
        return Slot(self, estimated_tokens, next(self._order))

    # ---- for Slot ------------------------------------------------------------------------------------

    async def enter(self, slot: Slot) -> None:
        """Wait for the turn of ``slot``, and take it."""
        if not self._waiting and self._may_go_at(slot) == 0.0:
            self._send(slot)
            return
        since = monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._queue, (slot.order, turn, slot))
        self._waiting += 1
        self._let_through()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting -= 1
                self._let_through()
            else:
                self.leave(slot)  # its turn had come in the same instant
            raise
        finally:
            slot.waited_s += monotonic() - since

    def admitted(self, slot: Slot) -> None:
        """Learn that the server took a request on."""
        assert slot.sent is not None
        self._window.admitted(slot.sent)
        self._let_through()

    def leave(self, slot: Slot) -> None:
        """Learn that a request is over."""
        slot.sent = None
        self._window.in_flight -= 1
        self._let_through()

    def succeeded(self, more_tokens: int) -> None:
        """Learn that a call came to its end, and cost so many tokens more than estimated."""
        self._pause_s = 0.0
        if self._tokens is not None:
            self._tokens.take(more_tokens)

    def rejected(self, slot: Slot, retry_after: float | None) -> bool:
        """Learn that a request was refused; return whether others of ours were served meanwhile."""
        assert slot.sent is not None
        now = monotonic()
        asked = retry_after if retry_after is not None and retry_after <= _LONGEST_RETRY_AFTER_S else None
        serves_others = self._window.rejected(slot.sent, now, asked or 0.0)
        if asked is None and not serves_others:
            asked = self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        if asked is not None:
            self._paused_until = max(self._paused_until, now + asked)
        if self._tokens is not None:
            self._tokens.take(-slot.tokens)
        self.leave(slot)
        return serves_others

    # ---- the queue -----------------------------------------------------------------------------------

    def _send(self, slot: Slot) -> None:
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(slot.tokens)
        slot.sent = self._window.send()

    def _may_go_at(self, slot: Slot) -> float:
        """When ``slot`` may go: 0 for now, infinity when that depends on others."""
        now = monotonic()
        if now < self._paused_until:
            return self._paused_until
        window = self._window
        if window.in_flight >= window.limit:
            grows_at = window.grows_at()
            if grows_at > now:
                return grows_at
            window.grow(now)
        wait_s = self._requests.wait_s(now, 1) if self._requests is not None else 0.0
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(now, slot.tokens))
        return now + wait_s if wait_s else 0.0

    def _let_through(self) -> None:
        """Let go whoever may go, and wake up when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            _, turn, slot = self._queue[0]
            if not turn.done():  # else it was cancelled
                at = self._may_go_at(slot)
                if at:
                    if at < math.inf:
                        self._timer = asyncio.get_running_loop().call_at(at, self._let_through)
                    return
                self._waiting -= 1
                self._send(slot)
                turn.set_result(None)
            heappop(self._queue)


class Slot:
    """The right of one call to have a request out: ``async with slot: …``.

    Inside, say what the server did: :meth:`admitted`, then :meth:`succeeded`, or :meth:`rejected`; nothing for any
    other failure. A call that was rejected enters the same slot again, and stands before all that came after it.

    Attributes
    ----------
    waited_s : float
        How long it has waited for its turn, all entries together: the row's ``queue_s``.
    """

    __slots__ = ("_limiter", "_told", "order", "sent", "tokens", "waited_s")

    def __init__(self, limiter: Limiter, tokens: int, order: int) -> None:
        self._limiter = limiter
        self._told = False
        self.tokens = tokens
        self.order = order
        self.sent: _Sent | None = None
        self.waited_s = 0.0

    async def __aenter__(self) -> Self:
        self._told = False
        await self._limiter.enter(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.sent is not None:
            self._limiter.leave(self)

    def admitted(self) -> None:
        """Tell that the server took the request on (its status was 200), long before the answer ends.

        With it the limiter grows per time to the first byte; without it, per whole call.
        """
        if not self._told:
            self._told = True
            self._limiter.admitted(self)

    def succeeded(self, tokens: int | None = None) -> None:
        """Tell that the answer is whole, and what it cost in tokens, where the server counted."""
        self.admitted()
        self._limiter.succeeded(0 if tokens is None else tokens - self.tokens)

    def rejected(self, retry_after: float | None = None) -> bool:
        """Tell that the server refused with "too many requests" (not for want of quota).

        Parameters
        ----------
        retry_after : float, optional
            Seconds it asked to wait: nothing is sent to this address before.

        Returns
        -------
        bool
            Whether the server was serving others of ours. Then it only wants fewer at a time: send the call again,
            and do not count that as a retry. If not, it is a failed attempt like any other.
        """
        return self._limiter.rejected(self, retry_after)


class _Sent(NamedTuple):
    """How things stood when a request was sent."""

    number: int
    in_flight: int  # itself included
    rejections: int


class _Window:
    """How many may be out at once. Pure: it is told what happens, and the time."""

    def __init__(self, most: int | None) -> None:
        self.limit = _FIRST_LIMIT if most is None else min(most, _FIRST_LIMIT)
        self.in_flight = 0
        self.rejections = 0
        self._most = math.inf if most is None else most
        self._sent = 0
        # Growth has to be proven before there is more: so many of the requests sent since must be admitted.
        self._since = 0
        self._to_prove = self.limit
        # What the server evidently takes; infinite before it has first refused.
        self._known: float = math.inf
        self._before: int | None = None  # the limit before it began to refuse; None while it does not
        self._step = 1
        self._every_s = _PROBE_S
        self._probe_at = 0.0

    def send(self) -> _Sent:
        self._sent += 1
        self.in_flight += 1
        return _Sent(self._sent, self.in_flight, self.rejections)

    def admitted(self, sent: _Sent) -> None:
        if sent.number > self._since:
            self._to_prove -= 1
            self._before = None

    def grows_at(self) -> float:
        """When more may be tried: in the past for now, infinity when that has to be proven first."""
        if self._to_prove > 0 or self.limit >= self._most:
            return math.inf
        return self._probe_at if self.limit >= self._known else 0.0

    def grow(self, now: float) -> None:
        if self.limit < self._known:
            limit = min(2 * self.limit, self._known)
        else:
            limit = self.limit + self._step
            self._step *= 2
            self._every_s = max(self._every_s / 2, _PROBE_S)
            self._probe_at = now + self._every_s
        self._set(int(min(limit, self._most)))

    def rejected(self, sent: _Sent, now: float, retry_after: float) -> bool:
        """Fall back; return whether anything was evidently admitted. The caller takes it out of flight."""
        self.rejections += 1
        if self._before is None:
            self._before = self.limit
            if self._known < math.inf:
                self._every_s *= 2
        # What is in flight now, or was when this one was sent, less those refused since: an answer that ends before
        # a refusal arrives must not make the server look smaller than it is.
        evident = max(self.in_flight - 1, sent.in_flight - (self.rejections - sent.rejections))
        # Nothing at all admitted is no matter of how many at once: when the pause is over, double from one again.
        self._known = min(self.limit, evident) if evident else max(1, self._before // 2)
        self._set(max(1, min(self.limit, evident)))
        self._step = 1
        self._every_s = min(max(self._every_s, _PROBES_PER_PAUSE * retry_after), _LONGEST_PROBE_S)
        self._probe_at = now + self._every_s
        return evident > 0

    def _set(self, limit: int) -> None:
        self._to_prove = max(1, limit - self.limit)
        self._since = self._sent
        self.limit = limit


class _Bucket:
    """A token bucket that refills smoothly. It may be overdrawn: a call larger than the bucket goes when it is full."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = max(1.0, self._rate * _BURST_S)
        self._level = self._capacity
        self._at = monotonic()

    def wait_s(self, now: float, cost: float) -> float:
        """Seconds until ``cost`` may be taken; 0 for now."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        lacking = min(cost, self._capacity) - self._level
        return lacking / self._rate if lacking > 1e-6 else 0.0  # noqa: PLR2004 - rounding, not a limit

    def take(self, cost: float) -> None:
        self._level -= cost
