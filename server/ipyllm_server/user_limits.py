"""How much one user may ask: requests a minute, calls and sockets at a time, dollars a day."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ipyllm.ledger.current import current_ledger
from ipyllm.ledger.query import Query
from ipyllm.pipeline.budget import Budget, Reservation
from ipyllm.settings import get_settings
from ipyllm.token_bucket import TokenBucket
from ipyllm_server.refusals import Refusal

if TYPE_CHECKING:
    from datetime import date

__all__ = ["USER_TAG", "Limits", "UserLimits"]

USER_TAG: Final = "user"
"""Tag of a call in the ledger with the name of its user."""

_MINUTE_S: Final = 60.0
_KNOWN_USERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of each user.

    Attributes
    ----------
    requests_per_minute : int
        Questions a minute; as many may come at once.
    calls : int
        Calls at a time.
    sockets : int
        Open sockets at a time.
    usd_per_day : float or None
        Dollars in a day of UTC, those of other servers on the same ledger counted up to the day's first call here.
    body_bytes : int
        Bytes of the bodies, and of messages over sockets, that are in memory at a time.
    """

    requests_per_minute: int = 120
    calls: int = 16
    sockets: int = 32
    usd_per_day: float | None = None
    body_bytes: int = 160_000_000


class UserLimits:
    """Counts what users do, on the server's loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: dict[str, TokenBucket] = {}
        self._calls: Counter[str] = Counter()
        self._sockets: Counter[str] = Counter()
        self._body_bytes: Counter[str] = Counter()
        self._budgets: dict[tuple[str, date], Budget] = {}

    async def admit(self, user: str) -> Reservation | None:
        """Let a user ask one question; return its place in the user's budget, if there is one.

        Raises
        ------
        Refusal
            429: too many questions in a minute, or at a time.
        """
        now_s = asyncio.get_running_loop().time()
        if self._calls[user] >= self.limits.calls:
            sentence = f"You have {self._calls[user]} calls running, and may have {self.limits.calls}."
            raise Refusal(429, f"{sentence} Wait until one ends.", "too_many_requests", retry_after_s=1)
        bucket = self._bucket(user, now_s)
        if (wait_s := bucket.wait_s(1, now_s)) > 0:
            sentence = f"You may ask {self.limits.requests_per_minute} times a minute."
            raise Refusal(429, f"{sentence} Try again in {wait_s:.0f} s.", "too_many_requests", retry_after_s=wait_s)
        bucket.take(1, now_s)
        return await self._reservation(user)

    def begin(self, user: str) -> None:
        """Count a call that begins."""
        self._calls[user] += 1

    def end(self, user: str) -> None:
        """Count a call that has ended."""
        _decrease(self._calls, user)

    def receive(self, user: str, n_bytes: int) -> bool:
        """Count bytes of a body or message, unless they are too many at a time; return whether they were counted."""
        if self._body_bytes[user] + n_bytes > self.limits.body_bytes:
            return False
        self._body_bytes[user] += n_bytes
        return True

    def forget(self, user: str, n_bytes: int) -> None:
        """Count bytes of a body or message no longer."""
        _decrease(self._body_bytes, user, n_bytes)

    def open_socket(self, user: str) -> bool:
        """Count a socket, unless the user has too many; return whether it was counted."""
        if self._sockets[user] >= self.limits.sockets:
            return False
        self._sockets[user] += 1
        return True

    def close_socket(self, user: str) -> None:
        """Count a socket that was closed."""
        _decrease(self._sockets, user)

    def _bucket(self, user: str, now_s: float) -> TokenBucket:
        if user not in self._buckets:
            if len(self._buckets) >= _KNOWN_USERS:
                self._buckets.clear()  # of providers that name everyone anew
            n = self.limits.requests_per_minute
            self._buckets[user] = TokenBucket(n / _MINUTE_S, n, now_s)
        return self._buckets[user]

    async def _reservation(self, user: str) -> Reservation | None:
        limit = self.limits.usd_per_day
        if limit is None:
            return None
        today = datetime.now(UTC).date()
        budget = self._budgets.get((user, today))
        if budget is None:
            spent = await asyncio.to_thread(
                _spent_since, datetime(today.year, today.month, today.day, tzinfo=UTC), user
            )
            self._budgets = {key: each for key, each in self._budgets.items() if key[1] == today}
            budget = self._budgets.setdefault((user, today), Budget(limit))
            budget.spent_usd = max(budget.spent_usd, spent)
        budget.allow_unknown_price = get_settings().allow_unknown_price
        return Reservation(budget)


def _spent_since(since: datetime, user: str) -> float:
    """Return what a user's calls cost, in US dollars."""
    query = Query(kernel_ids=None, since=since, origins=("server",), tags={USER_TAG: user}, text=False)
    index = query.columns.index("cost_usd")
    return sum(row[index] or 0.0 for row in current_ledger().read(query))


def _decrease(counter: Counter[str], user: str, n: int = 1) -> None:
    counter[user] -= n
    if counter[user] <= 0:
        del counter[user]
