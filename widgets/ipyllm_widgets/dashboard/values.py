"""How the dashboard writes a value: what is not known is a dash, and never nought."""

from __future__ import annotations

from typing import Any

from ipyllm.text.format import money, seconds

__all__ = ["UNKNOWN", "count", "duration", "is_known", "is_text", "plain_number", "price"]

UNKNOWN = "–"


def is_text(value: Any) -> bool:
    """Return whether it is text, and not empty."""
    return isinstance(value, str) and bool(value)


def is_known(value: Any) -> bool:
    """Return whether it is not null."""
    import pandas as pd

    return isinstance(value, dict | list) or bool(pd.notna(value))


def plain_number(value: Any, form: str) -> str:
    """Write a number by ``form``, as of :meth:`str.format`."""
    return form.format(value) if is_known(value) else UNKNOWN


def duration(value: Any) -> str:
    """Write seconds."""
    return seconds(value) if is_known(value) else UNKNOWN


def count(value: Any) -> str:
    """Write a number of tokens.

    Examples
    --------
    >>> [count(value) for value in (None, 0, 4321, 43210, 4321000)]
    ['–', '0', '4,321', '43.2k', '4.32M']
    """
    if not is_known(value):
        return UNKNOWN
    for least, unit in ((1e6, "M"), (1e4, "k")):
        if value >= least:
            return f"{value / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:,.0f}"


def price(value: Any) -> str:
    """Write a cost; null is unknown, and never 0.

    Examples
    --------
    >>> [price(value) for value in (None, 0.0, 0.000012, 1.5)]
    ['–', '$0', '$0.000012', '$1.50']
    """
    if not is_known(value):
        return UNKNOWN
    return money(value) if value else "$0"
