"""From calls to what the dashboard's charts draw: one value for each model and stretch of time.

The rules of what counts are those of :func:`ipyllm.dataframes.usage.summarise`; nothing is computed a second way here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Series", "over_time", "stretch"]

_STRETCHES = [
    *(timedelta(seconds=n) for n in (1, 2, 5, 10, 30)),
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 30)),
    *(timedelta(hours=n) for n in (1, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 7, 30, 90, 365)),
]
_MOST = 48  # stretches in a chart: more would be narrower than a pixel or two each


@dataclass(frozen=True, slots=True)
class Series:
    """Stretches of time from ``start``, and for each of ``models`` its values in them, None where there are none.

    Attributes
    ----------
    start : datetime
        Where the first stretch begins, in UTC.
    width : timedelta
        Of one stretch.
    n : int
        How many stretches there are.
    models : tuple of str
    by_column : dict
        By column of :func:`~ipyllm.dataframes.usage.summarise`, then by model: one value for each stretch.
    """

    start: datetime
    width: timedelta
    n: int
    models: tuple[str, ...]
    by_column: dict[str, dict[str, list[float | None]]]

    def instant(self, place: float) -> datetime:
        """Return the moment ``place`` stretches after the start."""
        return self.start + self.width * place


def stretch(span: timedelta) -> timedelta:
    """Return the narrowest round stretch of which at most 48 cover ``span``.

    Examples
    --------
    >>> str(stretch(timedelta(minutes=3))), str(stretch(timedelta(hours=20)))
    ('0:00:05', '0:30:00')
    """
    return next((width for width in _STRETCHES if span / width < _MOST), span / _MOST + timedelta(days=1))


def over_time(calls: pd.DataFrame, columns: tuple[str, ...]) -> Series | None:
    """Return the series of ``columns``, by model; None when there are no calls.

    Parameters
    ----------
    calls : DataFrame
        As :func:`~ipyllm.dataframes.usage.usage` returns it.
    columns : tuple of str
        Columns of :func:`~ipyllm.dataframes.usage.summarise`.
    """
    import pandas as pd

    from ipyllm.dataframes.usage import summarise

    calls = calls[calls["started_at"].notna() & calls["model"].notna()]
    if calls.empty:
        return None
    first, last = calls["started_at"].min().to_pydatetime(), calls["started_at"].max().to_pydatetime()
    width = stretch(last - first)
    start = datetime.fromtimestamp(first.timestamp() // width.total_seconds() * width.total_seconds(), UTC)
    place = ((calls["started_at"] - pd.Timestamp(start)) // width).astype(int)
    table = summarise(calls.assign(place=place), by=["model", "place"])
    models = tuple(sorted(calls["model"].unique()))
    n = int(place.max()) + 1
    values: dict[str, dict[str, list[float | None]]] = {
        column: {model: [None] * n for model in models} for column in columns
    }
    for row in table.reset_index().to_dict("records"):
        for column in columns:
            if pd.notna(row[column]):
                values[column][row["model"]][int(row["place"])] = float(row[column])
    return Series(start, width, n, models, values)
