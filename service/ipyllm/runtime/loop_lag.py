"""Measures how late our own event loop runs: that part of a latency may not be the server's."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LagMonitor", "Watch"]

_TICK_S = 0.005  # lag between two ticks is not seen: well below the 10 ms that make a latency unreliable


class Watch:
    """The worst lag, in seconds, within a block: ``with monitor.watch() as watch: …``."""

    __slots__ = ("_monitor", "worst_s")

    def __init__(self, monitor: LagMonitor | None = None) -> None:
        self._monitor = monitor
        self.worst_s = 0.0

    def __enter__(self) -> Self:
        if self._monitor is not None:
            self._monitor.begin(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._monitor is not None:
            self._monitor.end(self)


class LagMonitor:
    """A timer on the running loop that measures its lag while a :class:`Watch` is open."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> Watch:
        """Create a watch for one call."""
        return Watch(self)

    def begin(self, watch: Watch) -> None:
        """Start updating ``watch``."""
        self._watches.add(watch)
        if self._timer is None:
            self._schedule()

    def end(self, watch: Watch) -> None:
        """Stop updating ``watch``."""
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
