"""Values as SQLite stores them, read so that a damaged one costs no other.

A usual read converts column by column, and one value that it cannot convert ends it.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.sqlite_file import cannot_be_decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind

__all__ = ["as_utc", "fetch", "fetch_whole", "read_json", "read_time", "read_value"]

_PYTHON_TYPES: Mapping[Kind, frozenset[type]] = {
    "text": frozenset({str, type(None)}),
    "json": frozenset({dict, list, type(None)}),
    "time": frozenset({datetime, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "int": frozenset({int, type(None)}),
    "bool": frozenset({bool, type(None)}),
    "packed": frozenset({bytes, type(None)}),
}


_read_value_of_json = json.JSONDecoder().raw_decode


def read_json(text: str) -> Any:
    """Return a value of JSON, as ``json.loads`` does, in half the time for a short text as the ledger writes it."""
    try:
        value, end = _read_value_of_json(text)
    except (ValueError, TypeError):  # spaces, bytes, or no JSON
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def read_time(text: str) -> datetime:
    """Return a time from its text; raise ValueError for another text."""
    try:
        # SQLite stores no zone, and to replace it takes as long again.
        moment = datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is UTC else as_utc(moment)  # "2026-11-28+00:00" is a time without a zone


def as_utc(moment: datetime) -> datetime:
    """Return a stored time with its zone, always UTC. SQLite stores none."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def fetch(
    connection: sa.Connection,
    statement: sa.Select[Any],
    kinds: Sequence[Kind],
    without_json: sa.Select[Any] | None = None,
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Return the rows of a statement, and the indices of those with damaged values.

    ``kinds`` are those of its columns. ``without_json`` returns at least the same rows and does not look into JSON,
    which SQLite cannot do where it is damaged; it is executed instead if anything is damaged.
    """
    rows = fetch_whole(connection, statement, kinds)
    if rows is not None:
        return rows, []
    return _fetch_each(connection, statement if without_json is None else without_json, kinds)


def fetch_whole(
    connection: sa.Connection, statement: sa.Select[Any], kinds: Sequence[Kind]
) -> list[tuple[Any, ...]] | None:
    """Return the rows of a statement; None if a value of them, in columns of these kinds, is damaged."""
    if connection.dialect.name != "sqlite":
        return list(map(tuple, connection.execute(statement).all()))
    try:
        stored = connection.execute(_unconverted(statement)).all()
        columns = [
            column if kind not in _READERS else [None if value is None else _READERS[kind](value) for value in column]
            for kind, column in zip(kinds, zip(*stored, strict=True), strict=bool(stored))
        ]
    except Exception as exc:
        if not cannot_be_decoded(exc):
            raise
        return None
    are_whole = all(
        _PYTHON_TYPES[kind].issuperset(map(type, column)) for kind, column in zip(kinds, columns, strict=bool(stored))
    )
    return list(zip(*columns, strict=True)) if are_whole else None


def _unconverted(statement: sa.Select[Any]) -> sa.Executable:
    """Return the statement for values as they are stored: SQLAlchemy's conversion of each takes twice their time."""
    import sqlalchemy as sa

    columns = [sa.type_coerce(each, sa.types.NullType()) for each in statement.selected_columns]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


def _read_bool(stored: int) -> bool:
    if stored not in {0, 1}:
        raise ValueError(f"{stored!r} is neither 0 nor 1")
    return bool(stored)


_READERS: Mapping[Kind, Callable[[Any], Any]] = {"json": read_json, "time": read_time, "bool": _read_bool}


def _fetch_each(
    connection: sa.Connection, statement: sa.Select[Any], kinds: Sequence[Kind]
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Do what :func:`fetch` does, value by value, which takes several times as long."""
    text = str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    driver: Any = connection.connection.driver_connection
    driver.text_factory = bytes
    try:
        stored = connection.exec_driver_sql(text).fetchall()
    finally:
        driver.text_factory = str
    rows, damaged = [], []
    for index, values in enumerate(stored):
        read = [read_value(value, kind) for value, kind in zip(values, kinds, strict=True)]
        rows.append(tuple(value for value, _ in read))
        if not all(is_whole for _, is_whole in read):
            damaged.append(index)
    return rows, damaged


def read_value(stored: bytes | float | None, kind: Kind) -> tuple[Any, bool]:
    r"""Return a value as :meth:`~ipyllm.ledger.ledger.Ledger.read` returns it, and whether it is undamaged.

    ``stored`` is a text's bytes or a number. Bytes that are not UTF-8 are replaced by U+FFFD; a value that is not of
    its kind becomes None.

    Examples
    --------
    >>> read_value(b"caf\xc3\xa9", "text"), read_value(b"caf\xe9", "text"), read_value(b"7", "int")
    (('café', True), ('caf�', False), (None, False))
    """
    if stored is None:
        return None, True
    if kind == "packed":
        return (stored, True) if isinstance(stored, bytes) else (None, False)
    if isinstance(stored, bytes):
        return _read_text(stored, kind)
    if kind == "float" and math.isfinite(stored):
        return float(stored), True
    if kind == "int" and isinstance(stored, int):
        return stored, True
    return (bool(stored), True) if kind == "bool" and stored in {0, 1} else (None, False)


def _read_text(stored: bytes, kind: Kind) -> tuple[Any, bool]:
    if kind not in {"text", "json", "time"}:
        return None, False
    try:
        text, is_whole = stored.decode(), True
    except UnicodeDecodeError:
        text, is_whole = stored.decode(errors="replace"), False
    if kind == "text":
        return text, is_whole
    try:
        value = _READERS[kind](text)
    except (ValueError, OverflowError, RecursionError):
        return None, False
    return (value, is_whole) if type(value) in _PYTHON_TYPES[kind] else (None, False)
