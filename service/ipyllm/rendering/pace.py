"""Limits how often a growing answer is drawn: a token bucket over the bytes that go to the browser.

Redrawing sends the live tail again each time. Bounding bytes, not frames, keeps a short tail lively (12 a second)
and a long one cheap, whatever the model's speed: 10 kB over 10 s stay below 20 times their own size.
"""

from __future__ import annotations

from ipyllm.token_bucket import TokenBucket

__all__ = ["Pace"]

_LONGEST_S = 2.0


class Pace:
    """A budget that refills with time; all instants are seconds of one monotonic clock.

    Parameters
    ----------
    now : float
        The present instant.
    bytes_per_s, burst : float
        What flows into the budget, and what it holds at most. The defaults are a cell's.
    shortest_s : float
        Pause after any drawing, however small.

    Examples
    --------
    >>> pace = Pace(now=0.0)
    >>> pace.spend(21_000, now=0.0)
    >>> round(pace.pause(now=0.0), 2)
    1.0
    """

    def __init__(
        self, now: float, *, bytes_per_s: float = 15_000.0, burst: float = 6_000.0, shortest_s: float = 0.08
    ) -> None:
        self._bucket = TokenBucket(bytes_per_s, burst, now)
        self._shortest_s = shortest_s

    def spend(self, size: int, now: float) -> None:
        """Count ``size`` bytes as sent."""
        self._bucket.take(size, now)

    def pause(self, now: float) -> float:
        """Return the seconds to wait before the next drawing."""
        return min(_LONGEST_S, max(self._shortest_s, self._bucket.wait_s(0, now)))
