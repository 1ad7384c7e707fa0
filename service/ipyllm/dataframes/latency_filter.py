"""Decides which calls count in latency statistics, for ``summarise()``, the statistics and the plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.timing import LARGEST_LAG

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LARGEST_LAG", "as_bool", "as_float", "counts_in_latency"]


def counts_in_latency(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return for each call whether its latencies are caused by the model.

    False for a call that loaded a model, was a warm-up, came from our cache, or was measured while our own event loop
    was late by more than a tenth of the time to first token. Null values exclude nothing.
    """
    warm = ~(as_bool(frame["cold"]) | as_bool(frame["cache_hit"]))
    if "warmup" in frame.columns:
        warm &= ~as_bool(frame["warmup"])
    on_time = ~(as_float(frame["client_lag_s"]) > LARGEST_LAG * as_float(frame["ttft_s"]))
    return warm & on_time


def as_float(column: pd.Series[Any]) -> pd.Series[float]:
    """Return ``column`` as floats, null as NaN."""
    return column.astype("Float64").astype("float64")


def as_bool(column: pd.Series[Any]) -> pd.Series[bool]:
    """Return where ``column`` is True; null counts as False."""
    return column.astype("boolean").fillna(value=False).astype(bool)
