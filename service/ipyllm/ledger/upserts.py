"""Statements that insert rows, or update these columns of existing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.dialects import postgresql, sqlite

from ipyllm.ledger.columns import CALLS
from ipyllm.ledger.tables import tables
from ipyllm.process_identity import this_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from ipyllm.ledger.columns import Row, Table

__all__ = ["Upserts", "is_row_error"]


class Upserts:
    """The statements for one database, made when they are needed first."""

    def __init__(self, backend: str) -> None:
        self._insert = postgresql.insert if backend == "postgresql" else sqlite.insert
        self._statements: dict[tuple[Table, tuple[str, ...]], sa.Insert] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Row], table: Table, now: datetime) -> None:
        """Write ``rows`` in the transaction of ``connection``; a call then belongs to this process, ``now``."""
        for names, group in _by_columns(rows, table, now).items():
            connection.execute(self._statement(table, names), group)

    def _statement(self, table: Table, names: tuple[str, ...]) -> sa.Insert:
        if (table, names) not in self._statements:
            stored = tables[table.name]
            insert = self._insert(stored)
            changed = {name: insert.excluded[name] for name in names if name != table.key}
            # A call has one writer. The later of two votes counts, even if it is written first.
            only_if_later = None if table is CALLS else insert.excluded[table.time] >= stored.c[table.time]
            self._statements[table, names] = insert.on_conflict_do_update(
                index_elements=[table.key], set_=changed, where=only_if_later
            )
        return self._statements[table, names]


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
