"""Facts of calls, read once for all dashboards of a process: those of 100,000 calls take 20 MB, reading them 60."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger import current_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.ledger import Ledger
    from ipyllm_widgets.dashboard.call_facts import CallFacts
    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters

__all__ = ["SharedFacts", "shared_facts"]

_MOST_KEPT: Final = 3


class _Read(NamedTuple):
    """Facts, the ledger that they are from, and when their reading began, by the monotonic clock."""

    facts: CallFacts
    ledger: Ledger
    began: float


class SharedFacts:
    """The newest facts of the current ledger. Facts whose calls are all among newer ones are dropped."""

    def __init__(self) -> None:
        self._reading = renewed_in_child(threading.Lock())
        self._kept: list[_Read] = []  # the newest first; replaced, never changed

    def newest(self, filters: DashboardFilters) -> tuple[CallFacts, float] | None:
        """Return facts that have the calls that meet ``filters``, and how many seconds ago they were read, or None."""
        found = self._since(filters, 0.0)
        return None if found is None else (found.facts, time.monotonic() - found.began)

    def read(
        self, filters: DashboardFilters, read: Callable[[], tuple[CallFacts, str | None]]
    ) -> tuple[CallFacts, str | None]:
        """Return facts with all calls that there are now, and why the ledger could not be read, None if it could.

        One dashboard reads at a time; whoever waited takes what another began to read since.

        Parameters
        ----------
        read : callable
            Reads them, and returns the same.
        """
        asked = time.monotonic()
        with self._reading:
            found = self._since(filters, asked)
            if found is not None:
                return found.facts, None
            began, ledger = time.monotonic(), current_ledger()
            facts, error = read()
            if error is None:
                others = [one for one in self._kept if one.ledger is ledger and not facts.have(one.facts.filters)]
                self._kept = [_Read(facts, ledger, began), *others][:_MOST_KEPT]
            return facts, error

    def _since(self, filters: DashboardFilters, moment: float) -> _Read | None:
        ledger = current_ledger()
        for one in self._kept:
            if one.ledger is ledger and one.began >= moment and one.facts.have(filters):
                return one
        return None


def shared_facts() -> SharedFacts:
    """Return those of this process; they are kept as long as somebody uses them."""
    with _lock:
        found = _instances.get("")
        if found is None:
            found = _instances[""] = SharedFacts()
        return found


_lock = renewed_in_child(threading.Lock())
_instances: weakref.WeakValueDictionary[str, SharedFacts] = weakref.WeakValueDictionary()
