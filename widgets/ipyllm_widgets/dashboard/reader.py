"""What the dashboard reads of the ledger: all calls without their text, which weighs most, and the newest whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.filters import read_frame
from ipyllm.ledger import current_ledger
from ipyllm.ledger.query import Query
from ipyllm_widgets.dashboard.values import is_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.filters import Filters

__all__ = ["Reader", "Reading"]

_NEWEST = 50  # are listed
_REMEMBERED = 1_000  # calls that can be opened: somebody may click while newer ones push it out of the list


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one moment.

    Attributes
    ----------
    calls, newest : DataFrame
        All calls without what was said in them, and the newest with it.
    trouble : str or None
        That the ledger could not be read, and why; the calls are then only those that it does not have yet.
    """

    calls: pd.DataFrame
    newest: pd.DataFrame
    trouble: str | None


class Reader:
    """Reads the current ledger, and keeps what the ledger tells once: that a damaged file was moved aside.

    Attributes
    ----------
    told : list of str
        What it told, for whoever shows it to take.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self._moments: dict[str, pd.Timestamp] = {}

    def calls(self, filters: Filters) -> Reading:
        """Return the calls that meet ``filters``, earliest first."""
        query = filters.query()
        calls = self._read(replace(query, text=False))
        trouble = current_ledger().read_error
        newest = self._read(query.with_limit(_NEWEST))
        trouble = trouble or current_ledger().read_error
        if trouble:  # which lasts, and is shown for as long; no need to tell it once more
            self.told = [sentence for sentence in self.told if not sentence.startswith(trouble)]
        for call_id, moment in zip(newest["call_id"], newest["started_at"], strict=True):
            self._moments[call_id] = moment
        while len(self._moments) > _REMEMBERED:
            del self._moments[next(iter(self._moments))]
        return Reading(calls, newest, trouble)

    def whole(self, call_id: str) -> Mapping[Any, Any] | None:
        """Return one of the calls that were listed, with what was said in it; None if it was not, or is gone."""
        if call_id not in self._moments:
            return None
        moment = self._moments[call_id]
        near = Query()
        if is_known(moment):  # by which the ledger can look it up, and need not go through all there is
            start, end = moment.to_pydatetime(), (moment + timedelta(milliseconds=1)).to_pydatetime()
            near = Query(since=start, until=end)
        found = self._read(near)
        found = found[found["call_id"] == call_id]
        return None if found.empty else found.to_dict("records")[0]

    def other_models(self, filters: Filters) -> list[str]:
        """Return the models of the calls without the filter on the model: what else may be chosen."""
        if not filters.model:
            return []
        calls = self._read(replace(filters.having("model", "").query(), text=False))
        return sorted(set(calls["model"].dropna()))

    def _read(self, query: Query) -> pd.DataFrame:
        return read_frame(query, None, self.told.append)
