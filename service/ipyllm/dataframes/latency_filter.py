"""Decides which calls count in latency statistics, metric by metric, for summaries, statistics, plots and dashboards.

The rule must not depend on the figure that it judges. "Late by more than a tenth of the time to first token", say,
drops fast calls and keeps slow ones, and so shifts every median.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final

from ipyllm.timing import MAX_READ_DELAY_S

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "as_bool",
    "as_float",
    "as_of_older_version",
    "counts_in_latency",
    "known_column",
    "left_out_late",
    "mostly_late",
]

_OF_COMPLETE_CALLS: Final = frozenset({"total_s", "thinking_s", "tpot_s", "output_tps"})
_OF_COUNTED_TOKENS: Final = frozenset({"tpot_s", "output_tps"})


def counts_in_latency(frame: pd.DataFrame, metric: str) -> pd.Series[bool]:
    """Return for each call whether this latency counts in statistics.

    Parameters
    ----------
    frame : DataFrame
        Rows as of :func:`~ipyllm.dataframes.usage.usage`. Columns may be missing: what is unknown excludes nothing.
    metric : str
        A latency of the ledger: ``"ttft_s"``, ``"ttfo_s"``, ``"thinking_s"``, ``"total_s"``, ``"output_tps"``, …

    Returns
    -------
    Series of bool
        False for warm-ups, for calls that loaded a model or came from our cache, for those of an experiment that were
        made under ``other_conditions`` than its latest run, and for those whose first token was read late. ``total_s``,
        ``thinking_s`` and speeds need the status ``ok``, speeds also tokens that the server counted.

    Notes
    -----
    *Late*: the kernel did not stamp the arrivals (``arrival_clock`` is ``process``), and the first token was read more
    than :data:`~ipyllm.timing.MAX_READ_DELAY_S` after it had come (``client_lag_s`` less ``send_delay_s``, which no
    latency contains). The bound is absolute and the delay is ours, so the rule does not select by the latency.
    ``total_s`` is never late: it is the time that the user waited.

    Rows of older versions have no ``arrival_clock``. Their ``client_lag_s`` is the longest delay within the call, which
    is longer in longer calls: any bound on it would select by length. They all count.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"arrival_clock": ["kernel", "process", "process"], "client_lag_s": [0.2, 0.002, 0.2]})
    >>> counts_in_latency(calls, "ttft_s").tolist(), counts_in_latency(calls, "total_s").tolist()
    ([True, True, False], [True, True, True])
    """
    return _would_count(frame, metric) & ~_read_late(frame, metric)


def left_out_late(frame: pd.DataFrame, metric: str) -> pd.Series[bool]:
    """Return which calls have this latency, and are left out only because their first token was read late."""
    late = _read_late(frame, metric)
    return late & _would_count(frame, metric) & known_column(frame, metric).notna() if late.any() else late


def mostly_late(late: Any, counted: Any) -> Any:
    """Return whether most timings were measured late, so that no quantile of the others is shown.

    Those that remain come from the quiet moments of the machine, and are few.

    Parameters
    ----------
    late, counted : int or Series of int
        Calls by :func:`left_out_late`, and calls that count and have a value.
    """
    return late > counted


def as_of_older_version(frame: pd.DataFrame) -> pd.Series[bool]:
    """Return which calls were recorded before the delay at the first token was measured, and may have been late."""
    before = known_column(frame, "ttft_s").notna() & ~_is(frame, "arrival_clock", "kernel", "process")
    return before & (known_column(frame, "client_lag_s") > MAX_READ_DELAY_S)


def known_column(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return a column as floats, null as NaN; all NaN if there is none."""
    import pandas as pd

    return as_float(frame[name]) if name in frame.columns else pd.Series(float("nan"), index=frame.index)


def as_float(column: pd.Series[Any]) -> pd.Series[float]:
    """Return ``column`` as floats, null as NaN."""
    return column if column.dtype == "float64" else column.astype("Float64").astype("float64")


def as_bool(column: pd.Series[Any]) -> pd.Series[bool]:
    """Return where ``column`` is True; null counts as False."""
    return column.astype("boolean").fillna(value=False).astype(bool)


def _would_count(frame: pd.DataFrame, metric: str) -> pd.Series[bool]:
    left_out = (_flag(frame, name) for name in ("cold", "cache_hit", "warmup", "other_conditions"))
    counts = ~reduce(or_, left_out)
    if metric in _OF_COMPLETE_CALLS and "status" in frame.columns:
        counts &= _is(frame, "status", "ok")
    return counts & ~_is(frame, "usage_source", "estimated") if metric in _OF_COUNTED_TOKENS else counts


def _read_late(frame: pd.DataFrame, metric: str) -> pd.Series[bool]:
    delay_s = known_column(frame, "client_lag_s") - known_column(frame, "send_delay_s").fillna(0.0)
    return _is(frame, "arrival_clock", "process") & (delay_s > MAX_READ_DELAY_S) & (metric != "total_s")


def _flag(frame: pd.DataFrame, name: str) -> pd.Series[bool]:
    import pandas as pd

    return as_bool(frame[name]) if name in frame.columns else pd.Series(False, index=frame.index)


def _is(frame: pd.DataFrame, name: str, *values: str) -> pd.Series[bool]:
    import pandas as pd

    return frame[name].isin(values) if name in frame.columns else pd.Series(False, index=frame.index)
