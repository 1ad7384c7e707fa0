"""Calls of several exchanges, with tools or repaired answers, as one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["with_steps"]


def with_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last exchange of each call, with what the whole call cost and took.

    ``rows`` are exchanges with their ``trial``. ``cost_usd`` (null if that of one is unknown) and ``total_s`` are
    those of all exchanges and of the tools between them; ``exchanges`` is their number; all else is that of the last.
    """
    is_step = rows["step"].notna()
    if not is_step.any():
        return rows.assign(exchanges=1)
    ordered = rows.sort_values("started_at", kind="stable")
    is_last = ordered["step"].isna().astype("int64")
    kind = [ordered["trial"], ordered["warmup"].fillna(value=False).astype(bool)]
    number = is_last.groupby(kind).cumsum() - is_last  # of the call among those of its trial
    calls = ordered.groupby([*kind, number])
    n = calls["call_id"].transform("size")
    known = calls["cost_usd"].transform("count") == n
    took = (ordered["started_at"] - calls["started_at"].transform("min")).dt.total_seconds()
    whole = ordered.assign(
        exchanges=n,
        cost_usd=calls["cost_usd"].transform("sum").where(known),
        total_s=took + ordered["total_s"],
    )
    return whole.loc[rows.index[~is_step]]
