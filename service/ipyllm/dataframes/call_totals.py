"""Totals of the calls in a DataFrame, for ``summarise()``, the statistics, ``%llm_usage`` and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.dataframes.latency_filter import as_float
from ipyllm.response import NOT_BILLED
from ipyllm.totals import CostTotal, TokenTotal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cost_total", "counted", "is_uncounted", "token_total"]


def cost_total(calls: pd.DataFrame) -> CostTotal:
    """Return the total cost of ``calls``."""
    costs = as_float(calls["cost_usd"])
    return CostTotal(float(costs.sum()), len(costs), int(costs.isna().sum()))


def token_total(calls: pd.DataFrame) -> TokenTotal:
    """Return the total of the tokens that servers counted, and of the estimates of others."""
    names = ("input_tokens", "output_tokens")
    columns = [counted(calls, name) for name in names]
    uncounted = is_uncounted(calls)
    estimates = [
        _estimated(calls, f"{name}_estimated").where(column.isna()) for name, column in zip(names, columns, strict=True)
    ]
    has_estimate = uncounted
    for column, estimate in zip(columns, estimates, strict=True):
        has_estimate = has_estimate & (column.notna() | estimate.notna())
    return TokenTotal(
        int(columns[0].sum()),
        int(columns[1].sum()),
        n=len(calls),
        n_uncounted=int(uncounted.sum()),
        n_estimated=int(has_estimate.sum()),
        input_estimated=int(estimates[0].sum()),
        output_estimated=int(estimates[1].sum()),
    )


def _estimated(calls: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return a column of estimates as floats; a table without it has none."""
    return as_float(calls[name]) if name in calls.columns else counted(calls, "input_tokens") * float("nan")


def counted(calls: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return a column of tokens as floats, NaN where the server did not count.

    A frame of ipyllm 0.1, from a file for example, has estimates in the columns of counts.
    """
    return as_float(calls[name]).where(calls["usage_source"] != "estimated")


def is_uncounted(calls: pd.DataFrame) -> pd.Series[bool]:
    """Return for each call whether a count of its input or output is missing; calls that were not billed need none."""
    missing = counted(calls, "input_tokens").isna() | counted(calls, "output_tokens").isna()
    return missing & ~calls["price_source"].isin(NOT_BILLED) if "price_source" in calls.columns else missing
