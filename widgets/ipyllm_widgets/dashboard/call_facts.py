"""What the dashboard's figures need of each call, small enough to be kept, and filtered in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ipyllm.dataframes.filters import kernel_filter
from ipyllm.text.format import count, join_names, shorten
from ipyllm_widgets.dashboard.dashboard_filters import SCOPES, SPANS, STATUSES, DashboardFilters

if TYPE_CHECKING:
    import pandas as pd

    from ipyllm.ledger.query import Query

__all__ = ["CallFacts", "facts_query", "for_all_models"]

_COLUMNS: Final = frozenset(
    {
        *("call_id", "started_at", "kernel_id", "model", "status", "finish_reason", "attempts", "refused"),
        *("cold", "cache_hit", "warmup", "arrival_clock", "client_lag_s", "send_delay_s"),
        *("ttft_s", "ttfo_s", "thinking_s", "total_s", "output_tps"),
        *("input_tokens", "output_tokens", "visible_tokens", "reasoning_tokens", "output_tokens_estimated"),
        *("usage_source", "cost_usd", "price_source"),
    }
)
_WIDTHS: Final = tuple(SPANS)
"""Names of the time spans, from the shortest to the longest."""

_TAG_CHARS: Final = 100  # in a sentence


def facts_query(filters: DashboardFilters) -> Query:
    """Return the query for the facts of all models and statuses, with the other filters."""
    return replace(for_all_models(filters).query(), text=False, only=_COLUMNS)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Facts of the calls of all models and statuses that meet the other filters, as ``read_compact`` returns them."""

    filters: DashboardFilters
    table: pd.DataFrame

    def have(self, filters: DashboardFilters) -> bool:
        """Return whether the calls that meet these filters are among these."""
        return (
            filters.tag == self.filters.tag
            and self.filters.scope in {filters.scope, "all"}
            and _WIDTHS.index(filters.since) <= _WIDTHS.index(self.filters.since)
        )

    def matching(self, filters: DashboardFilters) -> pd.DataFrame:
        """Return those that meet filters that these facts :meth:`have`, earliest first."""
        table = self.table
        wanted = filters.query()
        if filters.scope != self.filters.scope:
            table = table[table["kernel_id"].isin(kernel_filter("current") or ())]
        if filters.since != self.filters.since:
            table = table[table["started_at"] >= wanted.since]
        return filters.of_status(table[table["model"] == filters.model] if filters.model else table)

    def why_none(self, filters: DashboardFilters) -> str:
        """Return which of the filters is the cause if no call meets them all, and what to choose instead."""
        where = f"of {SCOPES[filters.scope]}{'' if filters.since == 'all' else f' in the last {filters.since}'}"
        where += f" with the tag {shorten(filters.tag, _TAG_CHARS)}" if filters.tag else ""
        if n := len(self.matching(for_all_models(filters))):
            if of_model := len(self.matching(filters.replace("status", ""))):
                asked = f" to {filters.model}" if filters.model else ""
                status = STATUSES[filters.status]
                return f"{_there_are(of_model)}{asked} {where}, but none with the status “{status}”: choose another."
            return f"{_there_are(n)} {where}, but none to {filters.model}: choose another model."
        others = {
            "a longer time": filters.since != "all",
            "all kernels": filters.scope == "kernel",
            "no tag": bool(filters.tag),
        }
        choices = join_names([choice for choice, is_narrower in others.items() if is_narrower], conjunction="or")
        return f"There is no call {where}. {f'Choose {choices}, or ask' if choices else 'Ask'} a model."

    @property
    def n_running(self) -> int:
        """Number of calls that had not ended."""
        return int((self.table["status"] == "running").sum())

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted(self.table["model"].dropna().unique())


def for_all_models(filters: DashboardFilters) -> DashboardFilters:
    """Return the filters without those for model and status."""
    return filters.replace("model", "").replace("status", "")


def _there_are(n: int) -> str:
    return f"There {'is' if n == 1 else 'are'} {count(n, 'call')}"
