"""Converts the values of a row to values that every database accepts.

Keys are masked, characters that SQLite or PostgreSQL refuse are replaced, and a value of the wrong kind becomes null:
one bad value must not lose its row, or the rows that are written with it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.columns import COLUMNS, TEXT
from ipyllm.ledger.packed import pack
from ipyllm.text.redact import redact
from ipyllm.text.surrogates import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.ledger.columns import Kind, Row

__all__ = ["sanitize"]

_MAX_INT = 2**63 - 1
_MAX_DEPTH = 20


def sanitize(row: Mapping[str, object], *, columns: Mapping[str, Kind] = COLUMNS, store_text: bool = True) -> Row:
    """Return the values of ``row`` as they are stored; names that are not in ``columns`` are dropped.

    Columns of text are left out unless ``store_text``.
    """
    stored: Row = {}
    for name, value in row.items():
        kind = columns.get(name)
        if kind is None or (not store_text and name in TEXT):
            continue
        if value is None:
            stored[name] = None
            continue
        convert = _BY_NAME.get(name) or _CONVERTERS[kind]
        try:
            stored[name] = convert(value)
        except Exception:  # noqa: BLE001 - a value of another kind, or an object whose __str__ fails
            stored[name] = None
    return stored


def _text(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if not text.isascii():
        text = replace_surrogates(text)
    if "\0" in text:
        text = text.replace("\0", "\ufffd")  # PostgreSQL refuses NUL, and SQLite's functions stop at it
    return redact(text)


def _float(value: Any) -> float | None:
    number = value if type(value) is float else float(value)
    return number if math.isfinite(number) else None


def _int(value: Any) -> int | None:
    number = value
    if type(value) is not int:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    return number if -_MAX_INT <= number <= _MAX_INT else None


def _time(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def _tags(value: object) -> dict[str, str] | None:
    """Return tags with texts as names and values, so that SQL and Python compare them alike."""
    if not isinstance(value, Mapping):
        return None
    return {_text(key): _text(tag) for key, tag in value.items()}


def _json(value: object, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) or depth > _MAX_DEPTH:
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key): _json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, int | float):
        return _float(value) if isinstance(value, float) else _int(value)
    return _text(value)


_CONVERTERS: dict[Kind, Callable[[object], Any]] = {
    "text": _text,
    "json": _json,
    "time": _time,
    "float": _float,
    "int": _int,
    "bool": bool,
    "packed": pack,
}

_BY_NAME: dict[str, Callable[[object], Any]] = {
    "tags": _tags,
    "request": lambda value: pack(value, files=False),
}
