"""The result of a tool as text for a model: a string as it is, JSON for data, CSV for tables, never without end."""

from __future__ import annotations

import sys
from typing import Any

from ipyllm.text.redact import redact

__all__ = ["as_text", "cut", "told"]

_ROWS = 50  # of a table; a model that needs more asks for an aggregate
_COLUMNS = 50
_ITEMS = 10_000  # of an array, before numpy's own summary is the better text
_MAX_INNER = 5  # exceptions of a group
_MARGIN = 500  # characters kept beyond a cut, so that a key that straddles it is still seen as one


def as_text(value: Any, limit: int) -> str:
    """Return ``value`` as text of at most ``limit`` characters and a note on what was cut.

    Parameters
    ----------
    value : object
        What a tool returned. Whatever it is, this does not fail.
    limit : int
        Characters.

    Examples
    --------
    >>> as_text("Rain.", 100), as_text({"days": [1, 2]}, 100), as_text(None, 100)
    ('Rain.', '{"days":[1,2]}', 'null')
    >>> print(as_text("x" * 1000, 10))
    xxxxxxxxxx
    [cut: these are the first 10 of 1,000 characters]
    >>> import pandas as pd
    >>> print(as_text(pd.DataFrame({"city": ["Rome", "Oslo"], "degrees": [31.5, 18.0]}), 100))
    table of 2 rows × 2 columns, as CSV:
    city,degrees
    Rome,31.5
    Oslo,18.0
    """
    try:
        text = _text(value)
    except Exception:  # noqa: BLE001 - no JSON: a circle, bytes, an object of the user's own
        text = _repr(value)
    return cut(text, limit)


def cut(text: str, limit: int) -> str:
    """Return ``text`` without keys, without what JSON bodies cannot carry, and not longer than ``limit`` and a note."""
    kept = redact(text[: limit + _MARGIN].encode("utf-8", "replace").decode("utf-8"))
    if len(text) <= limit:
        return kept
    if len(text) > limit + _MARGIN:
        kept = kept[:-_MARGIN]  # there the cut may have gone through a key
    return f"{kept[:limit]}\n[cut: these are the first {limit:,} of {len(text):,} characters]"


def told(exc: BaseException) -> str:
    """Return ``ErrorType: message``, and what is inside a group; this does not fail.

    Examples
    --------
    >>> told(KeyError("city")), told(TimeoutError())
    ("KeyError: 'city'", 'TimeoutError')
    """
    try:
        message = str(exc)
    except Exception:  # noqa: BLE001 - an exception of the user's own may fail even at this
        message = ""
    if isinstance(exc, BaseExceptionGroup):
        message = f"{exc.message} ({'; '.join(told(inner) for inner in exc.exceptions[:_MAX_INNER])})"
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of an enum of strings the string, not its name
    table = _table(value)
    if table is not None:
        return table
    from pydantic_core import to_json

    return to_json(value, fallback=_in_json).decode("utf-8")


def _in_json(value: Any) -> Any:
    """Return what stands in JSON for an object that pydantic does not know."""
    table = _table(value)
    if table is not None:
        return table
    # All of numpy's arrays and scalars; and pandas' missing value.
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.tolist() if value.size <= _ITEMS else str(value)
    if pandas is not None and value is pandas.NA:
        return None
    raise TypeError(type(value).__name__)


def _table(value: Any) -> str | None:
    """Return a pandas table as CSV: the fewest tokens per value."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index)):
        return None
    frame = value if isinstance(value, pandas.DataFrame) else value.to_frame()
    rows, columns = frame.shape
    shown = frame.iloc[:_ROWS, :_COLUMNS]
    numbered = isinstance(value, pandas.Index) or isinstance(shown.index, pandas.RangeIndex)
    csv = shown.to_csv(index=not numbered).strip("\n")
    more = [f"{rows - _ROWS:,} more rows"] if rows > _ROWS else []
    more += [f"{columns - _COLUMNS:,} more columns"] if columns > _COLUMNS else []
    return f"table of {rows:,} rows × {columns:,} columns, as CSV:\n{csv}" + (f"\n… {', '.join(more)}" if more else "")


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a repr of the user's own may do anything
        return f"<{type(value).__name__}>"
