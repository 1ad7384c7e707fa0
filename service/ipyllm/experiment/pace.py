"""How many calls a run keeps in flight: as many as make the server answer more of them per second.

A server that answers 429 says itself how many it takes, which the limiter of its address learns. One that queues what
it cannot serve only gets slower: more calls then wait longer, and run into time limits.
"""

from __future__ import annotations

from statistics import median
from typing import Final

__all__ = ["Pace"]

_FIRST = 8
_MOST: Final = 512
_GAIN = 1.2
"""How many times more answers per second twice the calls in flight must bring, so that they are doubled again."""
_SLOWER = 2.0
"""How many times slower than at its best a server may answer, before fewer calls are made."""


class Pace:
    """Learns a number of calls in flight: slow start, then additive increase and multiplicative decrease.

    It is changed after each window of as many answers as calls are in flight.

    Examples
    --------
    >>> pace = Pace()
    >>> for _ in range(8):
    ...     pace.record(0.2)
    >>> pace.limit
    16
    >>> for _ in range(16):
    ...     pace.record(0.4)  # twice as many calls, and each takes twice as long
    >>> pace.limit
    8
    """

    most: Final = _MOST

    def __init__(self) -> None:
        self.limit = _FIRST
        self._durations: list[float] = []
        self._best_rate = 0.0
        self._best_s = 0.0
        self._starts = True

    def record(self, duration_s: float) -> None:
        """Record how long the server took to answer."""
        self._durations.append(duration_s)
        if len(self._durations) < self.limit:
            return
        typical_s = max(median(self._durations), 1e-6)
        self._durations.clear()
        if not self._starts:
            self.limit = max(1, self.limit // 2) if typical_s > _SLOWER * self._best_s else min(_MOST, self.limit + 1)
        elif (rate := self.limit / typical_s) > _GAIN * self._best_rate:
            self._best_rate, self._best_s = rate, typical_s
            self.limit = min(_MOST, 2 * self.limit)
            self._starts = self.limit < _MOST
        else:
            self._starts = False
            self.limit = max(1, self.limit // 2)
