"""Converts the result of a tool to text for a model: strings unchanged, data as JSON, tables as CSV, all limited."""

from __future__ import annotations

import sys
from typing import Any

from ipyllm.text.redact import redact

__all__ = ["as_text", "describe_error", "truncate"]

_MAX_ROWS = 50  # of a table; a model that needs more asks for an aggregate
_MAX_COLUMNS = 50
_MAX_ITEMS = 10_000  # of an array; a larger one is shown as numpy's summary
_MAX_INNER = 5  # exceptions of a group


def as_text(value: Any, limit: int) -> str:
    """Return ``value``, any object, as text of at most ``limit`` characters, with a note if it was truncated."""
    try:
        text = _text(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - not JSON: a cycle, bytes, an object of the user's class
        text = _repr(value)
    return truncate(text, limit)


def truncate(text: str, limit: int) -> str:
    """Limit ``text`` to ``limit`` characters and a note; mask API keys, and replace what a JSON body cannot contain."""
    safe = redact(text.encode("utf-8", "replace").decode("utf-8"))
    if len(text) <= limit:
        return safe
    return f"{safe[:limit]}\n[cut: these are the first {limit:,} of {len(text):,} characters]"


def describe_error(exc: BaseException) -> str:
    """Return ``ErrorType: message``, with the exceptions in a group.

    Call it where the exception was raised: its class is the user's, and so is what ``str()`` calls. It raises nothing
    but an interrupt.
    """
    try:
        message = str(exc)
        if isinstance(exc, BaseExceptionGroup):
            message = f"{exc.message} ({'; '.join(describe_error(inner) for inner in exc.exceptions[:_MAX_INNER])})"
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - not even an exit
        message = ""
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # the value of a string enum, not its name
    table = _table(value)
    if table is not None:
        return table
    from pydantic_core import to_json

    return to_json(value, fallback=_to_json_value).decode("utf-8")


def _to_json_value(value: Any) -> Any:
    """Return the JSON value for an object that pydantic does not know."""
    table = _table(value)
    if table is not None:
        return table
    # numpy arrays and scalars, and pandas' missing value.
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.tolist() if value.size <= _MAX_ITEMS else str(value)
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
    shown = frame.iloc[:_MAX_ROWS, :_MAX_COLUMNS]
    numbered = isinstance(value, pandas.Index) or isinstance(shown.index, pandas.RangeIndex)
    csv = shown.to_csv(index=not numbered).strip("\n")
    more = [f"{rows - _MAX_ROWS:,} more rows"] if rows > _MAX_ROWS else []
    more += [f"{columns - _MAX_COLUMNS:,} more columns"] if columns > _MAX_COLUMNS else []
    return f"table of {rows:,} rows × {columns:,} columns, as CSV:\n{csv}" + (f"\n… {', '.join(more)}" if more else "")


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the repr of the user's class may do anything
        return f"<{type(value).__name__}>"
