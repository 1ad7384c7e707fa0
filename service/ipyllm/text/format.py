"""Formats amounts, durations, numbers, counts and lists for people. Unknown values are a dash, never 0."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from ipyllm.text.redact import redact
from ipyllm.text.terminal import strip_control_sequences

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
    """Return whether a value is missing: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, Real) and bool(value != value)  # noqa: PLR0124 - true for NaN only


def money(usd: float | None) -> str:
    """Format an amount in US dollars: ``$12.35``, or two significant digits for less than a cent: ``$0.00012``."""
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
    """Format a duration in seconds: ``<0.001 s``, ``0.08 s``, ``1.21 s``, ``1 min 01 s``."""
    if duration_s is None or is_missing(duration_s):
        return UNKNOWN
    if duration_s < 0.0005:  # noqa: PLR2004
        return "<0.001 s"
    if duration_s >= 59.95:  # noqa: PLR2004
        return "{:.0f} min {:02.0f} s".format(*divmod(round(duration_s), 60))
    decimals = 3 if duration_s < 0.00995 else 2 if duration_s < 9.995 else 1  # noqa: PLR2004
    return f"{duration_s:.{decimals}f} s"


def number(value: float | None) -> str:
    """Format a number with three significant digits."""
    if value is None or is_missing(value):
        return UNKNOWN
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "∞" if value > 0 else "-∞"
    digits = min(max(0, 2 - math.floor(math.log10(abs(value)))), 12)
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if digits else text
    return "0" if text == "-0" else text


def compact_count(value: float | None) -> str:
    """Format a count of tokens or calls in little space: ``4,321``, ``43.2k``, ``4.32M``."""
    if value is None or is_missing(value):
        return UNKNOWN
    for least, divisor, unit in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:,.0f}"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 call``, ``2,000 calls``."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def join_names(names: Sequence[str], *, conjunction: str = "and", limit: int | None = None) -> str:
    """Join names as a sentence does, with only the first ``limit`` of more than ``limit + 1``."""
    if limit is not None and len(names) > limit + 1:
        names = [*names[:limit], f"{len(names) - limit} more"]
    *others, last = names or ("",)
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def json_path(path: Iterable[str | int]) -> str:
    """Format the path to a value in JSON: ``people[0].age``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def shorten(text: str, limit: int, *, fold: bool = True) -> str:
    """Cut ``text`` to at most ``limit`` characters, the last an ellipsis, by default with white space folded.

    Keys are masked before: half a key could not be recognised any more.
    """
    # Control sequences first: one directly before a key would hide it.
    folded = redact(" ".join(strip_control_sequences(text).split()) if fold else text)
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
