"""How late our own event loop ran: the part of a measured latency that may be ours and not the server's."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LagMonitor", "Watch"]

_TICK_S = 0.005  # what falls between two beats is not seen: so much less than the 10 ms that would spoil a figure


class Watch:
    """The worst lag, in seconds, while this watch was kept: ``with monitor.watch() as watch: …``."""

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
    """A heartbeat on the running loop, beating only while somebody watches."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> Watch:
        """Watch the loop during a call."""
        return Watch(self)

    def begin(self, watch: Watch) -> None:
        """Tell ``watch`` of every lag from now on."""
        self._watches.add(watch)
        if self._timer is None:
            self._schedule()

    def end(self, watch: Watch) -> None:
        """Tell it no more."""
        self._watches.discard(watch)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK_S, self._beat, perf_counter() + _TICK_S)

    def _beat(self, due: float) -> None:
        # The loop's clock and perf_counter may differ by a tick's rounding; that is never negative lag.
        late = max(0.0, perf_counter() - due)
        for watch in self._watches:
            watch.worst_s = max(watch.worst_s, late)
        self._timer = None
        if self._watches:
            self._schedule()
