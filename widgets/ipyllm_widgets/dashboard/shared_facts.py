"""Facts of calls, read once for all dashboards of a process, and again only if the ledger has changed."""

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

__all__ = ["SharedFacts", "one_at_a_time", "shared_facts"]

one_at_a_time = renewed_in_child(threading.Lock())
"""Held while facts are read or a dashboard computes figures of them: several at once take several times the memory."""

_MOST_KEPT: Final = 3


class _Read(NamedTuple):
    """Facts, the ledger that they are from, when their reading began, by the monotonic clock, and its mark then."""

    facts: CallFacts
    ledger: Ledger
    began: float
    mark: object | None


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
            mark = ledger.content_mark()
            found = self._unchanged(filters, ledger, mark)
            if found is not None:
                self._kept = [one._replace(began=began) if one is found else one for one in self._kept]
                return found.facts, None
            with one_at_a_time:
                facts, error = read()
            if error is None:
                others = [one for one in self._kept if one.ledger is ledger and not facts.have(one.facts.filters)]
                self._kept = [_Read(facts, ledger, began, mark), *others][:_MOST_KEPT]
            return facts, error

    def _unchanged(self, filters: DashboardFilters, ledger: Ledger, mark: object | None) -> _Read | None:
        """Return what a new reading would find; None where that is not known.

        A call that runs is read again: its process may have died without a change of the ledger.
        """
        for one in self._kept if mark is not None else ():
            if one.ledger is ledger and one.mark == mark and one.facts.have(filters) and not one.facts.n_running:
                return one
        return None

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
