"""Measures the lag of ipyllm's event loop, which adds to the latencies measured."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LagMeasurement", "LagMonitor"]

_TICK_S = 0.005  # lag between two ticks is not seen: well below the 10 ms that make a latency unreliable
_RECENT_TICKS = 4  # between the arrival of bytes and the first token read from them the loop turns a few times


@dataclass(slots=True, eq=False)
class LagMeasurement:
    """The worst lag, in seconds, around the first token of a call, or around now while there is none, within a block.

    The lag of the whole wait would be larger in longer waits, and leaving out calls by it would leave out slow models.
    """

    worst_s: float = 0.0
    ending: bool = False
    _of: set[LagMeasurement] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._of.discard(self)

    @property
    def longest_wait_s(self) -> float:
        """The longest that bytes can have waited to be read: the loop looks for some at every tick."""
        return self.worst_s + _TICK_S

    def end(self) -> None:
        """Measure until the loop has caught up with what it does now."""
        self.ending = True


class LagMonitor:
    """A timer on the running loop that measures its lag while a block of :meth:`measure` runs."""

    def __init__(self) -> None:
        self._measurements: set[LagMeasurement] = set()
        self._recent_s: deque[float] = deque(maxlen=_RECENT_TICKS)
        self._timer: asyncio.TimerHandle | None = None

    def measure(self) -> LagMeasurement:
        """Measure the lag within a block: ``with monitor.measure() as lag: …``."""
        measurement = LagMeasurement(_of=self._measurements)
        self._measurements.add(measurement)
        if self._timer is None:
            self._recent_s.clear()
            self._schedule()
        return measurement

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK_S, self._tick, perf_counter() + _TICK_S)

    def _tick(self, due: float) -> None:
        # The loop's clock and perf_counter may differ by their rounding, which is not negative lag.
        self._recent_s.append(max(0.0, perf_counter() - due))
        worst_s = max(self._recent_s)
        for measurement in tuple(self._measurements):
            measurement.worst_s = worst_s
            if measurement.ending:
                self._measurements.discard(measurement)
        self._timer = None
        if self._measurements:
            self._schedule()
