"""Reads the dashboard's calls from the ledger: all without their texts, and the newest with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.filters import read_frame
from ipyllm.ledger import current_ledger
from ipyllm.ledger.query import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters

__all__ = ["LedgerReader", "Reading"]

_LISTED = 50
_REMEMBERED = 1_000  # calls that can be opened: a click may come after newer calls pushed its row out of the list


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of one reading.

    Attributes
    ----------
    calls, newest : DataFrame
        All calls without their texts, and the newest with them.
    read_error : str or None
        Why the ledger could not be read. The calls are then only those that it has not stored yet.
    """

    calls: pd.DataFrame
    newest: pd.DataFrame
    read_error: str | None


class LedgerReader:
    """Reads the current ledger.

    Attributes
    ----------
    notices : list of str
        Messages that the ledger gives once, such as that it moved a damaged file. The dashboard empties the list.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._started_at: dict[str, pd.Timestamp] = {}

    def calls(self, filters: DashboardFilters) -> Reading:
        """Return the calls that meet ``filters``, earliest first."""
        query = filters.query()
        calls = self._read(replace(query, text=False))
        read_error = current_ledger().read_error
        newest = self._read(query.with_limit(_LISTED))
        read_error = read_error or current_ledger().read_error
        if read_error:  # it is shown while it lasts, so not as a notice too
            self.notices = [sentence for sentence in self.notices if not sentence.startswith(read_error)]
        for call_id, started_at in zip(newest["call_id"], newest["started_at"], strict=True):
            self._started_at[call_id] = started_at
        while len(self._started_at) > _REMEMBERED:
            del self._started_at[next(iter(self._started_at))]
        return Reading(calls, newest, read_error)

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

    def other_models(self, filters: DashboardFilters) -> list[str]:
        """Return the models that could be chosen instead: those of the calls without the model filter."""
        if not filters.model:
            return []
        calls = self._read(replace(filters.replace("model", "").query(), text=False))
        return sorted(set(calls["model"].dropna()))

    def _read(self, query: Query) -> pd.DataFrame:
        return read_frame(query, None, self.notices.append)
