"""Statements that insert rows, or update these columns of existing ones."""

from __future__ import annotations

import json
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import postgresql, sqlite

from ipyllm.ledger.columns import CALLS
from ipyllm.ledger.tables import tables
from ipyllm.process_identity import this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ipyllm.ledger.columns import Row, Table

__all__ = ["Upserts", "is_row_error"]


def _time_text(value: datetime) -> str:
    """Return a time in UTC as SQLAlchemy's type for SQLite writes it."""
    return value.replace(tzinfo=None).isoformat(" ", "microseconds")


def _json_text(value: dict[str, Any]) -> str:
    return json.dumps(value) if value else "{}"


_AS_IS: Final = {"float": float, "bool": bool, "packed": bytes}
"""The types of values that drivers take as they are, by the kind of their column."""

_QUICK: Final[Mapping[str, tuple[type, Callable[[Any], Any]]]] = {
    "time": (datetime, _time_text),
    "json": (dict, _json_text),
}
"""Types of values that SQLite's driver takes as such texts."""


class Upserts:
    """The statements for one database, made when they are needed first."""

    def __init__(self, backend: str) -> None:
        self._insert = postgresql.insert if backend == "postgresql" else sqlite.insert
        self._prepared: dict[tuple[Table, tuple[str, ...]], _Prepared] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Row], table: Table, now: datetime) -> None:
        """Write ``rows`` in the transaction of ``connection``; a call then belongs to this process, ``now``."""
        for names, group in _by_columns(rows, table, now).items():
            prepared = self._prepared.get((table, names))
            if prepared is None:
                prepared = _Prepared(self._statement(table, names), table, names, connection.dialect)
                self._prepared[table, names] = prepared
            prepared.execute(connection, group)

    def _statement(self, table: Table, names: tuple[str, ...]) -> sa.Insert:
        stored = tables[table.name]
        insert = self._insert(stored)
        changed = {name: insert.excluded[name] for name in names if name != table.key}
        # A call has one writer. The later of two votes counts, even if it is written first.
        only_if_later = None if table is CALLS else insert.excluded[table.time] >= stored.c[table.time]
        return insert.on_conflict_do_update(index_elements=[table.key], set_=changed, where=only_if_later)


class _Prepared:
    """A statement as the driver takes it: SQLAlchemy takes twice as long to bind each row."""

    def __init__(self, statement: sa.Insert, table: Table, names: tuple[str, ...], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names)
        self._sql = str(compiled)
        self._order = tuple(compiled.positiontup or ()) or names
        self._values = itemgetter(*self._order)
        self._by_name = not compiled.positional
        kinds, quick = {**table.writable, **table.private}, _QUICK if dialect.name == "sqlite" else {}
        self._converters: list[tuple[int, type, Callable[[Any], Any] | None, Callable[[Any], Any]]] = []
        for index, name in enumerate(self._order):
            convert = statement.table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                usual = quick.get(kinds[name], (_AS_IS.get(kinds[name], type(None)), None))
                self._converters.append((index, *usual, convert))

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Write ``rows``; raise StatementError for a value that cannot be converted, as SQLAlchemy does."""
        try:
            values: list[Any] = [self._converted(row) for row in rows]
        except (TypeError, ValueError) as exc:
            raise sa_exc.StatementError(str(exc), self._sql, None, exc, hide_parameters=True) from exc
        if self._by_name:
            values = [dict(zip(self._order, each, strict=True)) for each in values]
        connection.exec_driver_sql(self._sql, values)

    def _converted(self, row: Row) -> tuple[Any, ...]:
        values = list(self._values(row))
        for index, usual_type, quick, convert in self._converters:
            value = values[index]
            if value is None:
                continue
            if type(value) is not usual_type:
                values[index] = convert(value)
            elif quick is not None:
                values[index] = quick(value)
        return tuple(values)


def is_row_error(exc: BaseException) -> bool:
    """Return whether the database refuses only the values of a row."""
    if isinstance(exc, sa_exc.DBAPIError):
        return isinstance(exc, sa_exc.DataError | sa_exc.IntegrityError)
    return True  # a value that the driver could not bind


def _by_columns(rows: Iterable[Row], table: Table, now: datetime) -> dict[tuple[str, ...], list[Row]]:
    """Return ``rows`` grouped by their columns in order, so that one statement writes a group; add this process."""
    writer_columns: Row = {}
    if table is CALLS:
        writer = this_process()
        writer_columns = {
            "writer_host": writer.host,
            "writer_pid": writer.pid,
            "writer_start": writer.start,
            "updated_at": now,
        }
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        complete = row | writer_columns
        groups.setdefault(tuple(complete), []).append(complete)
    return groups
