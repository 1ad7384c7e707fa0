"""Time series for the dashboard's charts: one value for each model and interval.

:func:`ipyllm.dataframes.usage.summarise` computes the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Series", "interval_width", "over_time"]

_WIDTHS = [
    *(timedelta(seconds=n) for n in (1, 2, 5, 10, 30)),
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 30)),
    *(timedelta(hours=n) for n in (1, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 7, 30, 90, 365)),
]
_MAX_INTERVALS = 48  # in a chart; more would be narrower than two pixels each


@dataclass(frozen=True, slots=True)
class Series:
    """Values of each model in consecutive intervals; None where there are none.

    Attributes
    ----------
    start : datetime
        Start of the first interval, in UTC.
    width : timedelta
        Width of an interval.
    n : int
        Number of intervals.
    models : tuple of str
    marks : tuple of int
        Number of each model's mark and colour.
    by_column : dict
        By column of :func:`~ipyllm.dataframes.usage.summarise`, then by model: one value for each interval.
    """

    start: datetime
    width: timedelta
    n: int
    models: tuple[str, ...]
    marks: tuple[int, ...]
    by_column: dict[str, dict[str, list[float | None]]]

    def instant(self, n: float) -> datetime:
        """Return the instant ``n`` intervals after the start."""
        return self.start + self.width * n


def interval_width(span: timedelta) -> timedelta:
    """Return the smallest round width with which at most 48 intervals cover ``span``.

    Examples
    --------
    >>> str(interval_width(timedelta(minutes=3))), str(interval_width(timedelta(hours=20)))
    ('0:00:05', '0:30:00')
    """
    return next(
        (width for width in _WIDTHS if span / width < _MAX_INTERVALS), span / _MAX_INTERVALS + timedelta(days=1)
    )


def over_time(calls: pd.DataFrame, columns: tuple[str, ...], marks: Mapping[str, int]) -> Series | None:
    """Return the series of ``columns``, by model; None when there are no calls.

    Parameters
    ----------
    calls : DataFrame
        As :func:`~ipyllm.dataframes.usage.usage` returns it.
    columns : tuple of str
        Columns of :func:`~ipyllm.dataframes.usage.summarise`.
    marks : mapping
        The number of each model's mark.
    """
    import pandas as pd

    from ipyllm.dataframes.usage import summarise

    known = calls["started_at"].notna() & calls["model"].notna()
    calls = calls if known.all() else calls[known]
    if calls.empty:
        return None
    first, last = calls["started_at"].min().to_pydatetime(), calls["started_at"].max().to_pydatetime()
    width = interval_width(last - first)
    start = datetime.fromtimestamp(first.timestamp() // width.total_seconds() * width.total_seconds(), UTC)
    interval = ((calls["started_at"] - pd.Timestamp(start)) // width).astype(int)
    table = summarise(calls.assign(interval=interval), by=["model", "interval"])
    models = tuple(sorted(calls["model"].unique()))
    n = int(interval.max()) + 1
    values: dict[str, dict[str, list[float | None]]] = {
        column: {model: [None] * n for model in models} for column in columns
    }
    for row in table.reset_index().to_dict("records"):
        for column in columns:
            if pd.notna(row[column]):
                values[column][row["model"]][int(row["interval"])] = float(row[column])
    return Series(start, width, n, models, tuple(marks[model] for model in models), values)
