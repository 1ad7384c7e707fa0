"""Formats amounts, durations, numbers, counts and lists for people. Unknown values are a dash, never 0."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "UNKNOWN",
    "compact_count",
    "count",
    "is_missing",
    "join_names",
    "json_path",
    "money",
    "number",
    "seconds",
    "shorten",
]

UNKNOWN = "–"


def is_missing(value: object) -> bool:
    """Return whether a value is missing: None, NaN, or pandas' NA and NaT.

    Examples
    --------
    >>> is_missing(float("nan")), is_missing(None), is_missing(""), is_missing(0)
    (True, True, False, False)
    """
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, Real) and bool(value != value)  # noqa: PLR0124 - true for NaN only


def money(usd: float | None) -> str:
    """Format an amount in US dollars: cents, or two significant digits for smaller amounts.

    Examples
    --------
    >>> [money(usd) for usd in (None, 0, 0.0000023, 0.000118, 0.0123, 0.5, 12.345, 1234.5, -0.02)]
    ['–', '$0', '$0.0000023', '$0.00012', '$0.012', '$0.50', '$12.35', '$1,234.50', '-$0.02']
    """
    if usd is None or is_missing(usd):
        return UNKNOWN
    if usd == 0:
        return "$0"
    if math.isinf(usd):
        return "∞" if usd > 0 else "-∞"
    size = abs(usd)
    decimals = max(2, 1 - math.floor(math.log10(float(f"{size:.1e}"))))
    text = f"${size:,.{decimals}f}"
    if decimals > 2:  # noqa: PLR2004
        text = text.rstrip("0")
        text += "0" * (2 - len(text.rpartition(".")[2]))
    return f"-{text}" if usd < 0 else text


def seconds(duration_s: float | None) -> str:
    """Format a duration in seconds.

    Examples
    --------
    >>> [seconds(s) for s in (None, 0.0001, 0.004, 0.08, 1.213, 59.94, 61, 3605)]
    ['–', '<0.001 s', '0.004 s', '0.08 s', '1.21 s', '59.9 s', '1 min 01 s', '60 min 05 s']
    """
    if duration_s is None or is_missing(duration_s):
        return UNKNOWN
    if duration_s < 0.0005:  # noqa: PLR2004
        return "<0.001 s"
    if duration_s >= 59.95:  # noqa: PLR2004
        return "{:.0f} min {:02.0f} s".format(*divmod(round(duration_s), 60))
    decimals = 3 if duration_s < 0.00995 else 2 if duration_s < 9.995 else 1  # noqa: PLR2004
    return f"{duration_s:.{decimals}f} s"


def number(value: float | None) -> str:
    """Format a number with three significant digits.

    Examples
    --------
    >>> [number(value) for value in (0.123456, 0.5, 1234567.0, 0.0, -0.00012345, float("nan"), float("-inf"))]
    ['0.123', '0.5', '1,234,567', '0', '-0.000123', '–', '-∞']
    """
    if value is None or is_missing(value):
        return UNKNOWN
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "∞" if value > 0 else "-∞"
    digits = min(max(0, 2 - math.floor(math.log10(abs(value)))), 12)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def compact_count(value: float | None) -> str:
    """Format a count of tokens or calls in little space.

    Examples
    --------
    >>> [compact_count(value) for value in (None, 0, 4321, 43210, 4321000)]
    ['–', '0', '4,321', '43.2k', '4.32M']
    """
    if value is None or is_missing(value):
        return UNKNOWN
    for least, divisor, unit in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:,.0f}"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "call"), count(2000, "call"), count(2, "reply", "replies")
    ('1 call', '2,000 calls', '2 replies')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def join_names(names: Sequence[str], *, conjunction: str = "and", limit: int | None = None) -> str:
    """Join names as a sentence does, with only the first ``limit`` of more than ``limit + 1``.

    Examples
    --------
    >>> join_names(["a"]), join_names(["a", "b", "c"]), join_names(["a", "b"], conjunction="or")
    ('a', 'a, b and c', 'a or b')
    >>> join_names(list("abcdefg"), limit=4)
    'a, b, c, d and 3 more'
    """
    if limit is not None and len(names) > limit + 1:
        names = [*names[:limit], f"{len(names) - limit} more"]
    *others, last = names or ("",)
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def json_path(path: Iterable[str | int]) -> str:
    """Format the path to a value in JSON.

    Examples
    --------
    >>> json_path(["people", 0, "age"])
    'people[0].age'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def shorten(text: str, limit: int, *, fold: bool = True) -> str:
    r"""Cut ``text`` to at most ``limit`` characters, the last an ellipsis, by default with white space folded.

    Examples
    --------
    >>> shorten("one  two\nthree", 9)
    'one two …'
    """
    folded = " ".join(text.split()) if fold else text
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
