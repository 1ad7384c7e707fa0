"""A token bucket: limits a rate, and allows bursts."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Fills at ``per_s`` up to ``capacity``; starts full. Times are seconds of one monotonic clock.

    It may be overdrawn: a cost above the capacity needs a full bucket.
    """

    def __init__(self, per_s: float, capacity: float, now: float) -> None:
        self._per_s = per_s
        self._capacity = capacity
        self._level = capacity
        self._updated_at = now

    def _fill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + (now - self._updated_at) * self._per_s)
        self._updated_at = now

    def set_rate(self, per_s: float, capacity: float, now: float) -> None:
        """Fill at another rate, up to another capacity, from now on."""
        self._fill(now)
        self._per_s, self._capacity = per_s, capacity
        self._level = min(self._level, capacity)

    def take(self, cost: float, now: float) -> None:
        """Take out ``cost`` without waiting; a negative cost fills the bucket."""
        self._fill(now)
        self._level -= cost

    def wait_s(self, cost: float, now: float) -> float:
        """Return the seconds until ``cost`` may be taken; 0 if it may be now."""
        self._fill(now)
        missing = min(cost, self._capacity) - self._level
        return missing / self._per_s if missing > 1e-6 else 0.0  # noqa: PLR2004 - rounding, not a limit
