"""How often a growing answer may be drawn: a token bucket over the bytes that go to the browser.

Redrawing sends the live tail again each time. Bounding bytes, not frames, keeps a short tail lively (12 a second)
and a long one cheap, whatever the model's speed: 10 kB over 10 s stay below 20 times their own size.
"""

from __future__ import annotations

__all__ = ["Pace"]

_BYTES_PER_S = 15_000.0
_BURST = 6_000.0
_SHORTEST_S = 0.08
_LONGEST_S = 2.0


class Pace:
    """A budget that refills with time; all instants are seconds of one monotonic clock.

    Parameters
    ----------
    now : float
        When it begins.
    bytes_per_s, burst : float
        How fast it refills, and what it holds.

    Examples
    --------
    >>> pace = Pace(now=0.0)
    >>> pace.spend(21_000, now=0.0)
    >>> round(pace.pause(now=0.0), 2)
    1.0
    """

    def __init__(self, now: float, *, bytes_per_s: float = _BYTES_PER_S, burst: float = _BURST) -> None:
        self._rate = bytes_per_s
        self._burst = burst
        self._budget = burst
        self._at = now

    def spend(self, size: int, now: float) -> None:
        """Count ``size`` bytes as sent."""
        self._budget = min(self._burst, self._budget + (now - self._at) * self._rate) - size
        self._at = now

    def pause(self, now: float) -> float:
        """Seconds to wait before the next drawing."""
        missing = -(self._budget + (now - self._at) * self._rate)
        return min(_LONGEST_S, max(_SHORTEST_S, missing / self._rate))
