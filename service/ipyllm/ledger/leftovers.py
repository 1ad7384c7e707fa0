"""What earlier processes left for a ledger: rows that they could not write, and damaged files.

Both are taken in when the ledger is opened. A damaged file is called ``….recovering-…`` until its rows are in the new
one, and ``….corrupt-…`` then, so that nothing is forgotten if the process is killed meanwhile; rows that are written
twice do no harm.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects import sqlite

from ipyllm.ledger.columns import CALLS, FINAL, PRIVATE, TABLES, VOTES
from ipyllm.ledger.recovery import Layout, Recovery
from ipyllm.ledger.tables import calls, reservations, tables
from ipyllm.ledger.unwritten_rows import read_rows
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    import sqlalchemy as sa

    from ipyllm.ledger.columns import Kind
    from ipyllm.ledger.sqlite_file import SQLiteFile
    from ipyllm.ledger.unwritten_rows import UnwrittenRows
    from ipyllm.ledger.upserts import Upserts

__all__ = ["take_in_damaged_files", "take_in_unwritten_rows"]

_log = logging.getLogger("ipyllm.ledger")

_BATCH: Final = 500
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


def take_in_damaged_files(
    engine: sa.Engine, begin: Callable[[sa.Connection], None], file: SQLiteFile, say: Callable[[str], None]
) -> None:
    """Write to the ledger what can be read of the damaged files beside it, and ``say`` what came of it."""
    for path in file.damaged_files():
        try:
            recovery = _recover(engine, begin, path)
            kept = file.mark_recovered(path)
        except FileNotFoundError:  # another process was faster
            continue
        n_calls, n_votes = len(recovery.read[CALLS.name]), len(recovery.read[VOTES.name])
        rows = count(n_calls, "call") + (f" and {count(n_votes, 'vote')}" if n_votes else "")
        say(
            f"was damaged. A new file was created with what could be read: {rows}{_what_is_missing(recovery)}. "
            f"The old file was kept as {kept.name}."
        )


def _what_is_missing(recovery: Recovery) -> str:
    """Return which rows were read in part or not at all, as the end of a sentence's part."""
    parts = (("with damaged values", recovery.damaged), ("could not be read", recovery.lost))
    return "".join(f"; {len(ids):,} {what} ({join_names(sorted(ids), limit=_NAMED)})" for what, ids in parts if ids)


def _recover(engine: sa.Engine, begin: Callable[[sa.Connection], None], path: Path) -> Recovery:
    with engine.connect() as connection:
        recovery = Recovery(path, _layouts(connection))
        rows = recovery.rows()
        while batch := list(islice(rows, _BATCH)):
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
    return recovery


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
        CALLS.name: replace(layouts[CALLS.name], at_least=_FIRST_VERSION_OF_CALLS, statuses=FINAL | {"running"})
    }


def take_in_unwritten_rows(
    engine: sa.Engine,
    begin: Callable[[sa.Connection], None],
    unwritten: UnwrittenRows,
    upserts: Upserts,
    now: datetime,
    say: Callable[[str], None],
) -> None:
    """Write to the ledger the rows that earlier processes kept in files, and delete these."""
    for path in unwritten.files():
        try:
            entries = list(read_rows(path))
        except OSError as exc:
            _log.warning("%s cannot be read (%s).", path, exc.strerror)
            continue
        found = [entry for entry in entries if entry is not None]
        with engine.connect() as connection:
            begin(connection)
            for table in TABLES:
                upserts.execute(connection, [row for of, row in found if of is table], table, now)
            connection.commit()
        n_damaged = len(entries) - len(found)
        kept = path.with_name(f"{path.name}.corrupt") if n_damaged else path
        with suppress(FileNotFoundError):  # another process was faster
            path.rename(kept) if n_damaged else path.unlink()
        damaged = f"; {count(n_damaged, 'row')} could not be read and stayed there" if n_damaged else ""
        say(f"now has {count(len(found), 'row')} that an earlier process kept in {kept.name}{damaged}.")
