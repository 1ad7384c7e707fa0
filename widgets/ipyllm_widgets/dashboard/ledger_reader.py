"""Reads the dashboard's calls from the ledger: the facts of all, and the newest with their texts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.compact_frame import read_compact
from ipyllm.dataframes.filters import read_frame
from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger import current_ledger
from ipyllm.ledger.query import Query
from ipyllm_widgets.dashboard.call_facts import CallFacts, facts_query, for_all_models
from ipyllm_widgets.dashboard.call_list import PAGE, CallList
from ipyllm_widgets.dashboard.figures import first_metric
from ipyllm_widgets.dashboard.shared_facts import shared_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters

__all__ = ["FEW", "LedgerReader", "Reading"]

FEW = 5_000
"""Calls that are read while a cell waits."""

_REMEMBERED = 1_000  # calls that can be opened: a click may come after newer calls pushed its row out of the list


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of one reading.

    Attributes
    ----------
    calls, listed : DataFrame
        What figures need of all calls, and all columns of the listed ones, with their texts, in their order.
    listing : CallList
        What is listed; its page is one that there is.
    n_listed : int
        Calls of all pages of the list.
    models : list of str
        Models of the calls without the filters for model and status: those that could be chosen instead.
    marks : dict
        The number of each model's mark: it keeps that, whatever the filters.
    metric : str
        The column of first times; once a model has reasoned, that of the first visible text, whatever the filters.
    read_error : str or None
        Why the ledger could not be read. The calls are then only those that it has not stored yet.
    n_read : int
        Calls that were read, those of all models and statuses.
    n_newest : int
        If not 0, only so many of the newest of these were read.
    is_current : bool
        Whether these are all calls that there are now.
    age_s : float
        Seconds since the calls were read.
    why_none : str
        If there are no calls, which filter is the cause, in a sentence.
    """

    calls: pd.DataFrame
    listed: pd.DataFrame
    listing: CallList
    n_listed: int
    models: list[str]
    marks: dict[str, int]
    metric: str
    read_error: str | None
    n_read: int
    n_newest: int = 0
    is_current: bool = True
    age_s: float = 0.0
    why_none: str = ""


class LedgerReader:
    """Reads the current ledger, for several threads at once."""

    def __init__(self) -> None:
        self._lock = renewed_in_child(threading.Lock())
        self._notices: list[str] = []
        self._shared = shared_facts()
        self._started_at: dict[str, pd.Timestamp] = {}
        self._marks: dict[str, int] = {}  # by model; replaced, never changed
        self._metric = ""
        self._found: tuple[object, frozenset[str]] = (None, frozenset())

    def calls(self, filters: DashboardFilters, listing: CallList) -> Reading:
        """Return the calls that meet ``filters``, earliest first."""
        facts, read_error = self._shared.read(filters, lambda: self._read_facts(filters))
        return self._reading(facts, filters, listing, read_error)

    def at_once(self, filters: DashboardFilters, listing: CallList) -> Reading:
        """Return what can be shown without a wait: all calls if they are few, or were read before, or else the newest.

        ``n_newest`` says how many these are; the calls that were read before may have gone on since.
        """
        facts, age_s = self._shared.newest(filters) or (None, 0.0)
        if facts is not None and len(facts.table) > FEW:
            return replace(self._reading(facts, filters, listing, None), is_current=False, age_s=age_s)
        facts, read_error = self._read_facts(filters, FEW)
        newest = self._reading(facts, filters, listing, read_error)
        return replace(newest, n_newest=FEW, is_current=False) if newest.n_read == FEW else newest

    def _read_facts(self, filters: DashboardFilters, limit: int | None = None) -> tuple[CallFacts, str | None]:
        table = read_compact(facts_query(filters).with_limit(limit), None, self._add_notice)
        return CallFacts(for_all_models(filters), table), current_ledger().read_error

    def _reading(
        self, facts: CallFacts, filters: DashboardFilters, listing: CallList, read_error: str | None
    ) -> Reading:
        calls, models = facts.matching(filters), facts.models()
        with self._lock:
            new = [model for model in models if model not in self._marks]
            self._marks = self._marks | {model: at for at, model in enumerate(new, len(self._marks))}
            if self._metric != "ttfo_s":
                self._metric = first_metric(facts.table)
            marks, metric = self._marks, self._metric
        wanted = (
            calls[calls["call_id"].isin(self._containing(calls, filters, listing.search))] if listing.search else calls
        )
        listing = replace(listing, page=min(listing.page, listing.n_pages(len(wanted))))
        ids = listing.arranged(wanted, metric)["call_id"].iloc[(listing.page - 1) * PAGE : listing.page * PAGE]
        rows = self._read(Query(call_ids=tuple(ids) or ("none",)))
        order = {call_id: at for at, call_id in enumerate(ids)}
        listed = rows.iloc[rows["call_id"].map(order).argsort()]
        with self._lock:
            if read_error:  # it is shown while it lasts, so not as a notice too
                self._notices = [sentence for sentence in self._notices if not sentence.startswith(read_error)]
            for call_id, started_at in zip(listed["call_id"], listed["started_at"], strict=True):
                self._started_at[call_id] = started_at
            while len(self._started_at) > _REMEMBERED:
                del self._started_at[next(iter(self._started_at))]
        return Reading(
            *(calls, listed, listing, len(wanted), models, marks, metric, read_error),
            n_read=len(facts.table),
            why_none="" if len(calls) else facts.why_none(filters),
        )

    def _containing(self, calls: pd.DataFrame, filters: DashboardFilters, text: str) -> frozenset[str]:
        """Return the ids of the calls with a text in prompt or answer; searched again only if there are other calls."""
        key = (
            filters,
            text,
            len(calls),
            calls["call_id"].iloc[-1] if len(calls) else "",
            int((calls["status"] == "running").sum()),
        )
        found = self._found
        if found[0] != key:
            query = replace(filters.query(), containing=text, text=False, only=frozenset({"call_id"}))
            self._found = found = key, frozenset(self._read(query)["call_id"])
        return found[1]

    def take_notices(self) -> list[str]:
        """Return messages that the ledger gives once, such as that it moved a damaged file; each is returned once."""
        with self._lock:
            taken, self._notices = self._notices, []
        return taken

    def call(self, call_id: str) -> Mapping[Any, Any] | None:
        """Return the row of a listed call with its texts; None if it was not listed or no longer exists."""
        import pandas as pd

        with self._lock:
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
        return read_frame(query, None, self._add_notice)

    def _add_notice(self, sentence: str) -> None:
        with self._lock:
            self._notices.append(sentence)
