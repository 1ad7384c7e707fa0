"""SQLite file of the response cache: its tables, and opening it however it is found."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from ipyllm.fork_safety import never_finalize
from ipyllm.ledger.file_origin import ForeignFileError, Origin
from ipyllm.ledger.sqlite_file import SQLiteFile, is_damaged, retry_while_busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["OPEN_S", "CacheFile", "UnusableError", "used_bytes"]

_APPLICATION_ID: Final = 0x6C6C6D63
_ORIGIN: Final = Origin(frozenset({"answers"}), _APPLICATION_ID, (b"CREATE TABLE answers (\n        key TEXT",))
_VERSION: Final = 1
_SCHEMA: Final = (
    """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY, answer TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL
    )
    """,
    "CREATE INDEX answers_used ON answers (used_at)",
    f"PRAGMA application_id={_APPLICATION_ID}",
    f"PRAGMA user_version={_VERSION}",
)

_BUSY_S: Final = 0.5
"""Seconds to wait for another process. Short, because a call waits, and a response need not be cached."""

OPEN_S: Final = 2.0
"""Seconds that several processes may take to create a file."""


class UnusableError(Exception):
    """The file is a database, but not a cache that this version can use."""


class CacheFile:
    """The file at an absolute path, opened when it is needed. One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._file = SQLiteFile(path, _ORIGIN)
        self._connection: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, opened if necessary; move a damaged file aside."""
        if self._connection is not None and self._file.is_replaced:
            self.close()  # SQLite writes into a deleted file without an error
        try:
            if self._connection is None:
                self._connection = retry_while_busy(self._connect, for_s=OPEN_S, pause_s=(0.005, 0.05))
            yield self._connection
        except BaseException as exc:
            if self._connection is not None and self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            if is_damaged(exc):
                self.close()
                with suppress(OSError, ForeignFileError):
                    if (damaged := self._file.move_aside()) is not None:
                        self._file.mark_recovered(damaged)  # answers can be had again: nothing is read of it
            raise

    def _connect(self) -> sqlite3.Connection:
        self._file.prepare()
        connection = sqlite3.connect(self._file.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection. The next use opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """Drop the parent's connection in a forked child, without closing it."""
        never_finalize(self._connection)
        self._connection = None


def _set_up(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file, and refuse a file of another program."""
    connection.execute("PRAGMA synchronous=NORMAL")
    if _version_of(connection) == _VERSION:
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    if _version_of(connection) != _VERSION:  # else another process was first
        connection.execute("DROP TABLE IF EXISTS answers")
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("COMMIT")


def _version_of(connection: sqlite3.Connection) -> int:
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application != _APPLICATION_ID and tables:
        raise UnusableError("it is a database of another program. Set IPYLLM_CACHE_PATH to another file")
    if version > _VERSION:
        raise UnusableError("a newer ipyllm wrote it. Upgrade ipyllm, or set IPYLLM_CACHE_PATH to another file")
    return int(version)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes in use; SQLite fills freed pages before the file grows."""
    found = connection.execute(
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    return int(found.fetchone()[0])
