"""Reads the dashboard's calls from the ledger: the facts of all, and the newest with their texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.filters import read_frame
from ipyllm.ledger import current_ledger
from ipyllm.ledger.query import Query
from ipyllm_widgets.dashboard.call_facts import CallFacts, facts_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters

__all__ = ["FEW", "LedgerReader", "Reading"]

FEW = 5_000
"""Calls that are read while a cell waits."""

_LISTED = 50
_REMEMBERED = 1_000  # calls that can be opened: a click may come after newer calls pushed its row out of the list


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of one reading.

    Attributes
    ----------
    calls, newest : DataFrame
        What figures need of all calls, and all columns of the newest, with their texts.
    models : list of str
        Models of the calls without the filters for model and status: those that could be chosen instead.
    read_error : str or None
        Why the ledger could not be read. The calls are then only those that it has not stored yet.
    n_read : int
        Calls that were read, those of all models and statuses.
    n_newest : int
        If not 0, only so many of the newest of these were read.
    is_current : bool
        Whether these are all calls that there are now.
    """

    calls: pd.DataFrame
    newest: pd.DataFrame
    models: list[str]
    read_error: str | None
    n_read: int
    n_newest: int = 0
    is_current: bool = True


class LedgerReader:
    """Reads the current ledger.

    Attributes
    ----------
    notices : list of str
        Messages that the ledger gives once, such as that it moved a damaged file. The dashboard empties the list.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._facts: CallFacts | None = None
        self._started_at: dict[str, pd.Timestamp] = {}

    def calls(self, filters: DashboardFilters) -> Reading:
        """Return the calls that meet ``filters``, earliest first, and remember them for :meth:`at_once`."""
        return self._read_facts(filters, None)

    def at_once(self, filters: DashboardFilters) -> Reading:
        """Return what can be shown without a wait: all calls if they are few, or were read before, or else the newest.

        ``n_newest`` says how many these are; the calls that were read before may have gone on since.
        """
        facts = self._facts
        if facts is not None and len(facts.table) > FEW and facts.have(filters):
            return replace(self._reading(facts, filters, None), is_current=False)
        newest = self._read_facts(filters, FEW)
        return replace(newest, n_newest=FEW, is_current=False) if newest.n_read == FEW else newest

    def _read_facts(self, filters: DashboardFilters, limit: int | None) -> Reading:
        rows = self._read(facts_query(filters).with_limit(limit))
        read_error = current_ledger().read_error
        facts = CallFacts.of(rows, filters)
        if limit is None and not read_error:
            self._facts = facts
        return self._reading(facts, filters, read_error)

    def _reading(self, facts: CallFacts, filters: DashboardFilters, read_error: str | None) -> Reading:
        calls = facts.matching(filters)
        newest = self._read(Query(call_ids=tuple(calls["call_id"].tail(_LISTED)) or ("none",)))
        read_error = read_error or current_ledger().read_error
        if read_error:  # it is shown while it lasts, so not as a notice too
            self.notices = [sentence for sentence in self.notices if not sentence.startswith(read_error)]
        for call_id, started_at in zip(newest["call_id"], newest["started_at"], strict=True):
            self._started_at[call_id] = started_at
        while len(self._started_at) > _REMEMBERED:
            del self._started_at[next(iter(self._started_at))]
        return Reading(calls, newest, facts.models(), read_error, n_read=len(facts.table))

    def call(self, call_id: str) -> Mapping[Any, Any] | None:
        """Return the row of a listed call with its texts; None if it was not listed or no longer exists."""
        import pandas as pd

        if call_id not in self._started_at:
            return None
        started_at = self._started_at[call_id]
        query = Query()
        if pd.notna(started_at):  # the ledger has an index of the times
            start, end = started_at.to_pydatetime(), (started_at + timedelta(milliseconds=1)).to_pydatetime()
            query = Query(since=start, until=end)
        found = self._read(query)
        found = found[found["call_id"] == call_id]
        return None if found.empty else found.to_dict("records")[0]

    def _read(self, query: Query) -> pd.DataFrame:
        return read_frame(query, None, self.notices.append)
