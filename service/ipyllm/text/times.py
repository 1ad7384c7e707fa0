"""Dates and durations as users write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from ipyllm.text.format import shorten

__all__ = ["parse_time"]

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}
_DURATION: Final = re.compile(rf"(\d{{1,9}}(?:\.\d{{1,9}})?)\s?([{''.join(_UNITS)}])", re.ASCII)


def parse_time(name: str, given: datetime | timedelta | str | None) -> datetime | None:
    """Return ``given``, the value of the parameter ``name``, as a time in UTC; None for None.

    Text is a date, in local time where it has no zone, how long ago (``"90s"``, ``"30m"``, ``"2h"``, ``"7d"``,
    ``"2w"``), or ``"today"`` or ``"yesterday"``, which begin at midnight. Raises ValueError for anything else.
    """
    if given is None:
        return None
    try:
        if isinstance(given, str) and (days := _DAYS_AGO.get(given.strip().lower())) is not None:
            day = datetime.now().astimezone().date() - timedelta(days)
            return datetime.combine(day, time()).astimezone(UTC)
        if isinstance(given, str) and (duration := _DURATION.fullmatch(given.strip())):
            given = timedelta(**{_UNITS[duration[2]]: float(duration[1])})
        if isinstance(given, timedelta):
            return datetime.now(UTC) - given
        return (datetime.fromisoformat(given) if isinstance(given, str) else given).astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        raise ValueError(
            f"{name}={shorten(repr(given), 100)} is not a date. Use 2026-11-23, 2026-11-23T14:30, yesterday, or a "
            "duration such as 2h."
        ) from None
