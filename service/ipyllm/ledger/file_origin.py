"""Whether a file at the path of a ledger or a cache is one of ours, damaged or not. Others are never touched."""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LEDGER", "ForeignFileError", "Origin"]

_HEAD = 4096
"""Bytes at the beginning of a file, of which a database has some that are 0, and a text none."""


_CANNOT_TELL = {5, 6, 8, 10, 14}
"""SQLite's codes for a file that is locked or cannot be read: the opening will say so."""

_APPLICATION_ID = slice(68, 72)
"""Where SQLite's header has ``PRAGMA application_id``."""


class ForeignFileError(Exception):
    """The file is not ours: it must not be renamed or written into. The message says what it is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file of ours contains: tables by these names; where it is damaged, still its id or one of these pieces."""

    tables: frozenset[str]
    application_id: int
    traces: tuple[bytes, ...]

    def check(self, path: Path, wait_s: float = 5.0) -> None:
        """Raise ForeignFileError for what is there and not ours; a file that is missing or empty may become ours.

        Waits ``wait_s`` seconds at most for a process that holds it.
        """
        try:
            status = path.stat()
        except OSError:
            return  # the opening says what is wrong
        if stat.S_ISDIR(status.st_mode):
            raise ForeignFileError("it is a folder")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ForeignFileError("it is not a file")
        if not status.st_size or not os.access(path, os.R_OK):
            return
        tables = _table_names(path, wait_s)
        if tables is not None and (not tables or tables >= self.tables):
            return
        if not self._left_traces(path):
            raise ForeignFileError("it is not a database" if tables is None else "it is another program's database")

    def _left_traces(self, path: Path) -> bool:
        """Return whether a database that is damaged, or lacks a table, was one of ours."""
        with path.open("rb") as file, closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
            if b"\0" not in content[:_HEAD]:
                return False
            is_marked = content[_APPLICATION_ID] == self.application_id.to_bytes(4, "big")
            return is_marked or any(content.find(trace) >= 0 for trace in self.traces)


LEDGER: Final = Origin(
    frozenset({"calls", "ledger_version"}),
    0x6C6C6D6C,  # as in migrations/4.sqlite.sql; older ledgers have none
    (
        b"CREATE TABLE calls (\n    call_id TEXT",
        b"CREATE TABLE votes (\n    comparison TEXT",
        b"CREATE TABLE reservations (\n    reservation_id TEXT",
        b"CREATE TABLE ledger_version",
    ),
)
"""How a ledger is told from another file."""


def _table_names(path: Path, wait_s: float) -> frozenset[str] | None:
    """Return the names of the tables in an SQLite file, None if it is none; no names where that cannot be told.

    Through SQLite, because closing another descriptor of a file would drop the locks of this process's connections;
    and so that not even the log of somebody's database is written into the file.
    """
    import sqlite3

    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() else "immutable=1"  # without a log, the former would create one
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=wait_s)) as connection:
            connection.text_factory = bytes
            found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as exc:  # the latter: the message of the former
        return frozenset() if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _CANNOT_TELL else None
    return frozenset(name.decode(errors="replace") for (name,) in found)
