"""Measures how late our own event loop runs: that part of a latency may not be the server's."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LagMeasurement", "LagMonitor"]

_TICK_S = 0.005  # lag between two ticks is not seen: well below the 10 ms that make a latency unreliable


@dataclass(slots=True, eq=False)
class LagMeasurement:
    """The worst lag during a call, in seconds."""

    worst_s: float = 0.0


class LagMonitor:
    """A timer on the running loop that measures its lag while there is a :class:`LagMeasurement`."""

    def __init__(self) -> None:
        self._watches: set[LagMeasurement] = set()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watch(self) -> Iterator[LagMeasurement]:
        """Measure the lag within a block: ``with monitor.watch() as watch: …``."""
        watch = LagMeasurement()
        self._watches.add(watch)
        if self._timer is None:
            self._schedule()
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK_S, self._tick, perf_counter() + _TICK_S)

    def _tick(self, due: float) -> None:
        # The loop's clock and perf_counter may differ by their rounding, which is not negative lag.
        late = max(0.0, perf_counter() - due)
        for watch in self._watches:
            watch.worst_s = max(watch.worst_s, late)
        self._timer = None
        if self._watches:
            self._schedule()
