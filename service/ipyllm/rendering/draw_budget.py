"""Limits how often a growing answer is drawn, by a token bucket over the bytes sent to the browser.

Each redraw sends the live tail again. A limit of bytes instead of frames redraws a short tail often (12 times a second)
and a long one rarely, whatever the model's speed: an answer of 10 kB in 10 s is sent less than 20 times over.
"""

from __future__ import annotations

from ipyllm.token_bucket import TokenBucket

__all__ = ["DrawBudget"]

_LONGEST_PAUSE_S = 2.0


class DrawBudget:
    """Budget of bytes that refills with time, ``bytes_per_s`` up to ``burst``; ``shortest_s`` is the shortest pause.

    All times are seconds of one monotonic clock. The defaults are those of a cell.
    """

    def __init__(
        self, now: float, *, bytes_per_s: float = 15_000.0, burst: float = 6_000.0, shortest_s: float = 0.08
    ) -> None:
        self._bucket = TokenBucket(bytes_per_s, burst, now)
        self._shortest_s = shortest_s

    def spend(self, size: int, now: float) -> None:
        """Count ``size`` bytes as sent."""
        self._bucket.take(size, now)

    def wait_s(self, now: float) -> float:
        """Return the seconds to wait before the next drawing."""
        return min(_LONGEST_PAUSE_S, max(self._shortest_s, self._bucket.wait_s(0, now)))
