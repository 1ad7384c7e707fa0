"""What the ledger says about the recovery of a large damaged file: who is at it, how far, and what came of it.

So that of all processes that use the ledger one recovers the file, and another takes it up if that is killed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ipyllm.ledger.tables import recoveries
from ipyllm.process_identity import ProcessIdentity, is_dead, this_process

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["MAX_ATTEMPTS", "claim", "is_at_work", "mark_told", "newly_ended", "record_end", "record_progress"]

MAX_ATTEMPTS: Final = 3
"""How often a recovery is begun: a file may be so damaged that reading it kills the process."""

_DEAD_AFTER_S: Final = 600.0
"""Seconds of silence after which a process of another host counts as dead."""

_RUNNING, _ENDED, _TOLD = "running", "ended", "told"


def is_at_work(connection: sa.Connection, damaged_file: str) -> bool:
    """Return whether a living process recovers the file."""
    return _living(_row(connection, damaged_file))


def claim(connection: sa.Connection, damaged_file: str, size_bytes: int) -> int:
    """Claim the file for this process, in a transaction that writes, and return which attempt this is.

    Returns 0 if another living process recovers it.
    """
    row = _row(connection, damaged_file)
    if _living(row):
        return 0
    attempt = row.attempts + 1 if row is not None and row.state == _RUNNING else 1
    writer = this_process()
    values = {
        "state": _RUNNING,
        "attempts": attempt,
        "size_bytes": size_bytes,
        "read_bytes": 0,
        "calls": 0,
        "votes": 0,
        "summary": None,
        "writer_host": writer.host,
        "writer_pid": writer.pid,
        "writer_start": writer.start,
        "updated_at": datetime.now(UTC),
    }
    insert = sqlite.insert(recoveries).values(damaged_file=damaged_file, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["damaged_file"], set_=values))
    return attempt


def record_progress(connection: sa.Connection, damaged_file: str, read_bytes: int, calls: int, votes: int) -> None:
    """Record how far this process is, which also is a sign of life."""
    _update(connection, damaged_file, read_bytes=read_bytes, calls=calls, votes=votes)


def record_end(connection: sa.Connection, damaged_file: str, summary: str) -> None:
    """Record that the file needs no recovery any more, and what the user should know."""
    _update(connection, damaged_file, state=_ENDED, summary=summary)


def newly_ended(connection: sa.Connection, unfinished: Collection[str]) -> dict[str, str | None]:
    """Return the files whose recovery has ended, with the summaries that no reader was told.

    ``unfinished`` are the files that still wait. A process that was killed at the very end has left no summary.
    """
    column = recoveries.c
    ended = sa.select(column.damaged_file, column.summary).where(column.state != _TOLD)
    return {name: summary for name, summary in connection.execute(ended) if name not in unfinished}


def mark_told(connection: sa.Connection, damaged_files: Collection[str]) -> None:
    """Record that the user was told what came of these files."""
    which = recoveries.c.damaged_file.in_(damaged_files)
    connection.execute(sa.update(recoveries).where(which).values(state=_TOLD))


def _row(connection: sa.Connection, damaged_file: str) -> sa.Row[tuple[object, ...]] | None:
    return connection.execute(sa.select(recoveries).where(recoveries.c.damaged_file == damaged_file)).one_or_none()


def _living(row: sa.Row[tuple[object, ...]] | None) -> bool:
    if row is None or row.state == _TOLD:
        return False
    writer = ProcessIdentity(row.writer_host, row.writer_pid, row.writer_start)
    return not is_dead(writer, (datetime.now(UTC) - row.updated_at).total_seconds(), _DEAD_AFTER_S)


def _update(connection: sa.Connection, damaged_file: str, **values: object) -> None:
    which = recoveries.c.damaged_file == damaged_file
    connection.execute(sa.update(recoveries).where(which).values(**values, updated_at=datetime.now(UTC)))
