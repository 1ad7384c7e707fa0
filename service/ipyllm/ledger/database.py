"""The database of a ledger: opened when first needed, and anew where its file was replaced or damaged.

It waits for short locks, and raises other errors.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from ipyllm.fork_safety import never_finalize
from ipyllm.ledger.damaged_files import DamagedFiles
from ipyllm.ledger.dead_processes import calls_of_dead
from ipyllm.ledger.open_reads import OpenReads
from ipyllm.ledger.sqlite_file import SQLiteFile, error_text, is_busy, is_damaged, retry_while_busy
from ipyllm.ledger.stored_values import read_json
from ipyllm.ledger.tables import VERSION, UnknownVersionError, calls, migrate, version_of
from ipyllm.ledger.unwritten_rows import UnwrittenRows, take_in_unwritten_rows
from ipyllm.ledger.upserts import Upserts
from ipyllm.ledger.wait_limit import BUSY_S, begin_writing, hold, is_limited, limited_waits, remaining_s
from ipyllm.ledger.wal_frames import WalFrames, keep_if_ignored, read_frames
from ipyllm.text.redact import remember_secret

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Iterator

__all__ = ["Database", "LedgerDamagedError", "LedgerReplacedError"]

_MARK_S = 1.0
"""Seconds that a read waits to mark interrupted calls."""


class LedgerReplacedError(Exception):
    """The open file is no longer the file at its path: rows written to it are lost."""


class LedgerDamagedError(Exception):
    """The file was no longer a valid database, and was moved aside; the next opening reads what it can of it."""


class Database:
    """One database, given by the path of an SQLite file or by an SQLAlchemy URL.

    ``lock`` is held while connections are opened, closed or written to; rows are fetched without it. ``say`` takes what
    the user should know about the ledger, as the end of a sentence.
    """

    def __init__(self, target: str, lock: threading.RLock, say: Callable[[str], None]) -> None:
        self._lock = lock
        self._say = say
        self._url = sa.make_url(target) if "://" in target else sa.URL.create("sqlite", database=target)
        if self._url.drivername == "postgresql":
            self._url = self._url.set(drivername="postgresql+psycopg")
        remember_secret(str(self._url.password) if self._url.password else None)
        self._backend: Final = self._url.get_backend_name()
        self._file: SQLiteFile | None = None
        self._in_memory: Final = self._backend == "sqlite" and self._url.database in {None, "", ":memory:"}
        if self._backend == "sqlite" and not self._in_memory:
            self._file = SQLiteFile(Path(self._url.database or "").expanduser().absolute())
            self._url = self._url.set(database=str(self._file.path))
        self._damaged = DamagedFiles(self._file, self._begin, say) if self._file is not None else None
        self._engine: sa.Engine | None = None
        self._frames = WalFrames(b"", 0)
        self._reads: Final = OpenReads()
        self._ahead = timedelta()  # the database's clock, of ours
        self._upserts = Upserts(self._backend)
        self._makes_tables = False  # this process makes or upgrades them, so SQL that fails is no sign of damage
        self.unwritten: Final = UnwrittenRows(str(self) if self._file is None else self._file.path)

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True) if self._file is None else str(self._file.path)

    def close(self) -> None:
        """Close all connections. The next write or read opens new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def abandon(self) -> None:
        """Drop the parent's connections in a forked child, without closing them."""
        never_finalize(self._engine)
        self._engine = None
        self._reads.forget()

    def before_fork(self, timeout: float) -> None:
        """Close SQLite connections before a fork, for the reason in :mod:`ipyllm.fork_safety`, after the open reads."""
        if self._backend == "sqlite" and not self._in_memory:
            self._reads.stop(timeout)
            self.close()

    def after_fork_in_parent(self) -> None:
        """Let reads begin again."""
        self._reads.go_on()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """Yield a connection to read with. A thread that writes, and waits for others, is not waited for."""
        is_file = self._file is not None
        while True:
            if self._engine is None:
                with hold(self._lock):
                    self._opened()
            with self._reads.one() if is_file else nullcontext():
                if (engine := self._engine) is None:  # closed just now, for a fork
                    continue
                with engine.connect() as connection:
                    self._look_at_damaged_files(connection)
                    yield connection
                return

    @property
    def is_recovering(self) -> bool:
        """Whether rows of a damaged file are still being recovered, as of the last read."""
        return self._damaged is not None and self._damaged.remaining

    def _look_at_damaged_files(self, connection: sa.Connection) -> None:
        if self._damaged is None or not self._damaged.remaining:
            return
        try:
            self._damaged.look(connection)
        except sa_exc.OperationalError as exc:
            connection.rollback()
            if not is_busy(exc):  # a read can do without
                raise

    def _opened(self) -> sa.Engine:
        """Return the engine; first create or upgrade the ledger, and mark interrupted calls."""
        if self._engine is None:
            self._engine = retry_while_busy(self._open, for_s=remaining_s(BUSY_S), pause_s=(0.005, 0.05))
            try:
                self._take_in_leftovers(self._engine)
            except sa_exc.OperationalError as exc:
                if is_busy(exc):  # so that the next opening takes them in
                    self.close()
                raise
        return self._engine

    def _open(self) -> sa.Engine:
        engine = self._new_engine()
        try:
            self._set_up(engine)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _new_engine(self) -> sa.Engine:
        if self._backend == "postgresql":
            return sa.create_engine(self._url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY_S)})
        if self._backend != "sqlite":
            raise sa_exc.ArgumentError(f"a ledger must be SQLite or PostgreSQL, not {self._backend}")
        if self._file is not None:
            self._file.prepare(remaining_s(BUSY_S))
            self._frames = read_frames(self._file.log)  # before SQLite opens it
        pool: dict[str, Any] = {"poolclass": sa.StaticPool} if self._in_memory else {}
        arguments = {"timeout": BUSY_S, "check_same_thread": False}
        engine = sa.create_engine(self._url, connect_args=arguments, json_deserializer=read_json, **pool)
        sa.event.listen(engine, "connect", _configure)
        return engine

    def _set_up(self, engine: sa.Engine) -> None:
        with engine.connect() as connection, limited_waits(connection):
            version = version_of(connection)  # first: a newer ledger must stay unchanged
            if self._backend == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            if self._file is not None and (lost := keep_if_ignored(connection, self._file.log, self._frames)):
                self._say(lost)
            if version < VERSION:
                self._makes_tables = True
                self._begin(connection)
                migrate(connection)
            connection.commit()
            if self._backend == "postgresql":
                clock: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
                self._ahead = clock - datetime.now(UTC)
            self._mark_interrupted(connection)

    def _take_in_leftovers(self, engine: sa.Engine) -> None:
        """Write what earlier processes could not, and what can be read of damaged files."""
        if self._in_memory:
            return
        if self._damaged is not None:
            self._damaged.take_in(engine)
        take_in_unwritten_rows(engine, self._begin, self.unwritten, self._upserts, self._now(), self._say)

    def _now(self) -> datetime:
        """Return the time of the database's host: those of the processes that share a ledger may differ."""
        return datetime.now(UTC) + self._ahead

    def _begin(self, connection: sa.Connection, for_s: float | None = None) -> None:
        if self._backend == "sqlite":
            begin_writing(connection, BUSY_S if for_s is None else for_s)

    def _begin_alone(self, connection: sa.Connection, lock: int, experiment: str) -> None:
        """Begin a transaction that is the only one of its kind for an experiment."""
        self._begin(connection)
        if self._backend == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock, sa.func.hashtext(experiment))))

    def _mark_interrupted(self, connection: sa.Connection) -> None:
        """Mark running rows of dead processes ``interrupted``. If the ledger cannot be written, nothing is marked."""
        interrupted = calls_of_dead(connection, self._now())
        connection.rollback()
        if not interrupted:
            return
        same_row = (calls.c.call_id == sa.bindparam("dead_call"), calls.c.updated_at == sa.bindparam("last_update"))
        try:
            # A read can do without, and must have time left for itself.
            self._begin(connection, _MARK_S if is_limited() else BUSY_S)
            connection.execute(calls.update().where(*same_row).values(status="interrupted"), interrupted)
            connection.commit()
        except sa_exc.OperationalError:
            connection.rollback()

    @contextmanager
    def _detecting_replacement(self) -> Iterator[None]:
        """Raise LedgerReplacedError or LedgerDamagedError if the file was replaced or damaged."""
        try:
            yield
        except (sa_exc.DatabaseError, UnicodeDecodeError, UnknownVersionError) as exc:
            if self._is_replaced():
                self.close()
                raise LedgerReplacedError from exc
            if self._file is not None and self._shows_damage(exc, self._file):
                self.close()
                self._file.move_aside()
                self._makes_tables = True
                raise LedgerDamagedError(error_text(exc)) from exc
            raise
        if self._is_replaced():  # SQLite writes into a deleted file without an error
            self.close()
            raise LedgerReplacedError

    def _shows_damage(self, exc: Exception, file: SQLiteFile) -> bool:
        is_malformed = isinstance(exc, UnknownVersionError) or file.is_malformed(exc)
        return is_damaged(exc) or (is_malformed and not self._makes_tables)

    def _is_replaced(self) -> bool:
        return self._file is not None and self._engine is not None and self._file.is_replaced


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[assignment,unused-ignore]
    connection.execute(f"PRAGMA busy_timeout={int(remaining_s(BUSY_S) * 1000)}").close()  # the next reads the file
    connection.execute("PRAGMA synchronous=NORMAL").close()
