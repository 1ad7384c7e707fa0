"""Copies what can be read of a damaged file of a ledger into the new one, in short transactions.

Rows that are copied twice do no harm, so a copy that was interrupted is simply begun anew.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects import sqlite

from ipyllm.ledger.columns import CALLS, CONVERSATIONS, FINAL, NOTES, PRIVATE, TABLES, VOTES
from ipyllm.ledger.recovery import Layout, Recovery
from ipyllm.ledger.tables import calls, reservations, tables
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind, Row

__all__ = ["copy_rows", "n_copied", "what_came_of_it"]

_BATCH: Final = 500
_BATCH_CHARACTERS: Final = 2_000_000
"""Most rows of a transaction, which other processes wait for, and of characters in them but for the last row."""

_NAMED: Final = 3
_KINDS_OF_RESERVATIONS: Final[Mapping[str, Kind]] = {
    "reservation_id": "text",
    "experiment": "text",
    "usd": "float",
    "sent": "bool",
    **PRIVATE,
}
_FIRST_VERSION_OF_CALLS: Final = 45
"""Columns of ``calls`` in the first version of the ledger."""

_FIRST_VERSION_OF_CONVERSATIONS: Final = 6
"""Columns of ``conversations`` in the first version that had them."""


def copy_rows(connection: sa.Connection, begin: Callable[[sa.Connection], None], path: Path) -> Iterator[Recovery]:
    """Copy the rows of the file at ``path``; yield what is known of them after each transaction, and at the end.

    ``begin`` begins a transaction that writes.
    """
    recovery = Recovery(path, _layouts(connection))
    for batch in _batches(recovery.rows()):
        begin(connection)
        for stored in (*tables.values(), reservations):
            required = [column.name for column in stored.columns if not column.nullable]
            complete = [
                row
                for name, row in batch
                if name == stored.name and all(row[column] is not None for column in required)
            ]
            if complete:
                connection.execute(_insert(stored), complete)
        connection.commit()
        yield recovery
    yield recovery


def what_came_of_it(recovery: Recovery, kept: str) -> str:
    """Return what the user should know: the numbers, rows that were read in part or not at all, the old file's name."""
    n_calls, n_votes = n_copied(recovery)
    rows = count(n_calls, "call") + (f" and {count(n_votes, 'vote')}" if n_votes else "")
    parts = (("with damaged values", recovery.damaged), ("could not be read", recovery.lost))
    missing = "".join(f"; {len(ids):,} {what} ({join_names(sorted(ids), limit=_NAMED)})" for what, ids in parts if ids)
    return (
        f"was damaged. A new file was created with what could be read: {rows}{missing}. "
        f"The old file was kept as {kept}."
    )


def n_copied(recovery: Recovery) -> tuple[int, int]:
    """Return the numbers of calls and votes."""
    return len(recovery.read[CALLS.name]), len(recovery.read[VOTES.name])


def _batches(rows: Iterable[tuple[str, Row]]) -> Iterator[list[tuple[str, Row]]]:
    batch: list[tuple[str, Row]] = []
    size = 0
    for name, row in rows:
        batch.append((name, row))
        size += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        if len(batch) == _BATCH or size > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(stored: sa.Table) -> sa.Insert:
    """Return the statement for rows that the new file lacks."""
    insert = sqlite.insert(stored)
    if stored is not calls:
        return insert.on_conflict_do_nothing()
    # A page that is not used any more may have a call as it was while it ran.
    changed = {column.name: insert.excluded[column.name] for column in stored.columns}
    return insert.on_conflict_do_update(
        index_elements=[calls.c.call_id], set_=changed, where=calls.c.status == "running"
    )


def _layouts(connection: sa.Connection) -> dict[str, Layout]:
    """Return the layouts of the tables: that of a new file, since every file is made by the same migrations."""
    kinds: dict[str, Mapping[str, Kind]] = {table.name: {**table.writable, **table.private} for table in TABLES}
    kinds[reservations.name] = _KINDS_OF_RESERVATIONS
    layouts = {}
    for name, of_table in kinds.items():
        columns = [str(row[1]) for row in connection.exec_driver_sql(f"PRAGMA table_info({name})")]
        in_order = {column: of_table[column] for column in columns}
        layouts[name] = Layout(in_order, len(in_order))
    return layouts | {
        CALLS.name: replace(layouts[CALLS.name], at_least=_FIRST_VERSION_OF_CALLS, statuses=FINAL | {"running"}),
        CONVERSATIONS.name: replace(
            layouts[CONVERSATIONS.name], at_least=_FIRST_VERSION_OF_CONVERSATIONS, key_form=re.compile("[0-9a-f]{32}")
        ),
        NOTES.name: replace(layouts[NOTES.name], key_form=re.compile(r"\[.*\]", re.DOTALL)),  # JSON
    }
