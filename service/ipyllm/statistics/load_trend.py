"""Whether first tokens come later, the more calls are in flight: a server that queues what it cannot serve at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ipyllm.dataframes.latency_filter import known_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["LoadTrend", "load_trends"]

_Z: Final = 3.0902  # one-sided p = 0.001
_LEAST_RATIO: Final = 1.25
_LEAST_RISE: Final = 4  # calls


@dataclass(frozen=True, slots=True)
class LoadTrend:
    """First times at one address that grow with the calls in flight: medians in seconds."""

    address: str
    few: int  # most other calls in flight, of those with the time `few_s`
    few_s: float
    many: int  # fewest other calls in flight, of those with the time `many_s`
    many_s: float


def load_trends(calls: pd.DataFrame, metric: str = "ttft_s") -> list[LoadTrend]:
    """Return the addresses where this time grows with the number of calls that were in flight when a call was sent.

    Parameters
    ----------
    calls : DataFrame
        Calls with ``arm``, ``started_at``, ``total_s``, ``metric``, and ``address`` (or ``model``), null where unknown.
        ``queue_s``, ``connect_s``, ``send_delay_s`` and ``attempts`` are used if they are there.
    metric : str
        The time, in seconds from the sending of the request.

    Notes
    -----
    Compared are calls of one arm that were sent one shortly after another while none ended, so that each had one more
    in flight: at the start of a run, all of its first calls. Whatever changes with the time of day affects them alike.
    Their orders by number and by time are compared by Kendall's S (Kendall 1970), added up over these groups and
    divided by its standard deviation. An alarm takes a z of 3.09, which chance gives in 1 of 1,000 tables, and a median
    among the quarter with most in flight that is 1.25 times that among the quarter with fewest.

    Examples
    --------
    >>> start = pd.Timestamp("2026-11-27", tz="UTC") + pd.to_timedelta(range(12), unit="ms")
    >>> wait_s = [0.05 * (1 + n // 2) for n in range(12)]  # two at a time
    >>> calls = pd.DataFrame({"arm": "a", "address": "http://host/v1", "started_at": start})
    >>> (trend,) = load_trends(calls.assign(ttft_s=wait_s, total_s=wait_s))
    >>> trend.few, round(trend.few_s, 3), trend.many, round(trend.many_s, 3)
    (2, 0.05, 9, 0.3)
    """
    if "started_at" not in calls or not {"address", "model"} & set(calls.columns):
        return []
    address = calls["address"] if "address" in calls else pd.Series(None, index=calls.index, dtype=object)
    place = address.fillna(calls["model"]) if "model" in calls else address
    known = calls.assign(place=place)[calls["started_at"].notna() & known_column(calls, "total_s").notna()]
    found = (_trend(str(name), group, metric) for name, group in known.groupby("place"))
    return [trend for trend in found if trend is not None]


def _trend(address: str, calls: pd.DataFrame, metric: str) -> LoadTrend | None:
    opened = pd.to_datetime(calls["started_at"], utc=True)
    opened_s = (opened - opened.min()).dt.total_seconds().to_numpy()
    queue_s, connect_s, delay_s, total_s, time_s = (
        known_column(calls, name).to_numpy() for name in ("queue_s", "connect_s", "send_delay_s", "total_s", metric)
    )
    sent_s = opened_s + np.nan_to_num(queue_s) + np.nan_to_num(connect_s)
    order = np.argsort(sent_s, kind="stable")
    ended_s = np.sort(opened_s + total_s - np.nan_to_num(delay_s))
    in_flight = np.arange(len(order)) - np.searchsorted(ended_s, sent_s[order], side="right")
    once = ~(known_column(calls, "attempts").to_numpy() > 1)
    time_s = np.where(once, time_s, np.nan)[order]
    arms = pd.factorize(calls["arm"])[0][order]
    s = variance = 0.0
    for rise in _rises(in_flight):
        for arm in np.unique(arms[rise]):
            own = time_s[rise][arms[rise] == arm]
            own = own[~np.isnan(own)]
            s += _kendall_s(own)
            variance += _variance_of_s(own)
    if not variance or (s - 1) / variance**0.5 < _Z:
        return None
    timed = ~np.isnan(time_s)
    least, most = int(in_flight[timed].min()), int(in_flight[timed].max())
    few, many = least + (most - least) // 4, most - (most - least) // 4
    few_s, many_s = (float(np.median(time_s[timed & chosen])) for chosen in (in_flight <= few, in_flight >= many))
    return LoadTrend(address, few, few_s, many, many_s) if many_s >= _LEAST_RATIO * few_s else None


def _rises(in_flight: NDArray[np.int_]) -> Iterator[slice]:
    """Yield the runs of calls of which each had one more in flight than the one before."""
    ends = np.flatnonzero(np.diff(in_flight) != 1) + 1
    for start, end in zip([0, *ends], [*ends, len(in_flight)], strict=True):
        if end - start >= _LEAST_RISE:
            yield slice(int(start), int(end))


def _kendall_s(values: NDArray[np.float64]) -> float:
    """Return the number of pairs in ascending order, less those in descending order."""
    return float(np.triu(np.sign(values[None, :] - values[:, None]), 1).sum())


def _variance_of_s(values: NDArray[np.float64]) -> float:
    """Return the variance of Kendall's S, if all orders are equally likely, with ties."""
    ties = np.unique(values, return_counts=True)[1]
    n = len(values)
    return float(n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
