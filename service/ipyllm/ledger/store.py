"""Database of a ledger: opened when first needed, written and read in whole transactions.

It waits for short locks, and raises other errors: the writer keeps the rows and tries again. This module imports
SQLAlchemy, so only the writer thread and the first read import it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from ipyllm.fork_safety import never_finalize
from ipyllm.ledger import arrow_read
from ipyllm.ledger.claims import delete_abandoned, forget_dead, leave, update_claims
from ipyllm.ledger.columns import CALLS, TEXT
from ipyllm.ledger.dead_processes import calls_of_dead, dead_holders, dead_participants
from ipyllm.ledger.leftovers import take_in_damaged_files, take_in_unwritten_rows
from ipyllm.ledger.open_reads import OpenReads
from ipyllm.ledger.paging import divide
from ipyllm.ledger.reservations import add_up_spending, release_dead, reserve
from ipyllm.ledger.sqlite_file import SQLiteFile, error_text, is_busy, is_damaged, retry_while_busy
from ipyllm.ledger.stored_values import fetch
from ipyllm.ledger.tables import (
    VERSION,
    UnknownVersionError,
    calls,
    migrate,
    participants,
    reservations,
    tables,
    version_of,
)
from ipyllm.ledger.unwritten_rows import UnwrittenRows
from ipyllm.ledger.upserts import Upserts, is_row_error
from ipyllm.ledger.wait_limit import BUSY_S, begin_writing, hold, is_limited, limited_waits, remaining_s
from ipyllm.process_identity import this_process
from ipyllm.text.format import count, join_names
from ipyllm.text.redact import remember_secret

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ipyllm.ledger.budget_state import BudgetState
    from ipyllm.ledger.claim_state import ClaimRequest, ClaimState
    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.query import Conditions

__all__ = ["LedgerDamagedError", "LedgerReplacedError", "Store"]

_MARK_S = 1.0
"""Seconds that a read waits to mark interrupted calls."""

_NAMED = 3
"""Most rows that a sentence names."""

_PRUNE_BATCH = 2000
"""Rows deleted in one transaction, which other kernels wait for."""

_BUDGET_LOCK = 0x1971
"""First key of PostgreSQL's locks on budgets; the second is the experiment."""

_CLAIM_LOCK = 0x1972
"""That of its locks on claims."""

_EMPTY_SHARE = 0.25
"""Largest empty share of the file; above it, the file is rewritten."""


class LedgerReplacedError(Exception):
    """The open file is no longer the file at its path: rows written to it are lost."""


class LedgerDamagedError(Exception):
    """The file was no longer a valid database, and was moved aside; the next opening reads what it can of it."""


class Store:
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
        self._engine: sa.Engine | None = None
        self._reads: Final = OpenReads()
        self._ahead = timedelta()  # the database's clock, of ours
        self._upserts = Upserts(self._backend)
        self._makes_tables = False  # this process makes or upgrades them, so SQL that fails is no sign of damage
        self.unwritten: Final = UnwrittenRows(str(self) if self._file is None else self._file.path)

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True) if self._file is None else str(self._file.path)

    def write(self, rows: Sequence[Row], table: Table = CALLS) -> list[tuple[Row, str]]:
        """Insert ``rows``, or update these columns of existing rows, in one transaction.

        Returns the rows whose values the database refuses, each with the reason; all others are stored. After
        LedgerReplacedError or LedgerDamagedError, everything must be written again, to a new database; SQLAlchemyError,
        OSError and LedgerTooNewError say that the database cannot be written now.
        """
        with self._lock, self._detecting_replacement():
            engine = self._opened()
            try:
                self._write_all(engine, rows, table)
            except (sa_exc.StatementError, OverflowError) as exc:
                if not is_row_error(exc):
                    raise
                if len(rows) == 1:
                    return [(rows[0], error_text(exc))]
                return [refused for row in rows for refused in self.write([row], table)]
        return []

    def read(self, query: Conditions) -> list[tuple[Any, ...]]:
        """Return the rows of ``query``, values in the order of its columns, oldest row first.

        Calls whose process died are marked ``interrupted`` first. Raises as :meth:`write` does.
        """
        kinds = [query.table.writable[name] for name in query.columns]
        with (
            self._detecting_replacement(),
            self._connected() as connection,
            # A ledger in memory has one connection, which two threads cannot use at once.
            hold(self._lock) if self._in_memory else nullcontext(),
            limited_waits(connection),
        ):
            self._mark_interrupted(connection)
            rows, damaged = fetch(connection, query.select(), kinds, query.without_json().select())
        if damaged:
            key = query.columns.index(query.table.key)
            ids = join_names([rows[index][key] or "without an id" for index in damaged], limit=_NAMED)
            self._say(
                f"has damaged values in {count(len(damaged), query.table.row_name)} ({ids}). "
                "Bytes that are no text are shown as �, other values as missing."
            )
            rows = query.filter(rows)
        return rows

    def read_large(self, query: Conditions) -> arrow_read.Chunks | None:
        """Return the rows of ``query`` as Arrow columns; None if there are too few, or they cannot be read that way.

        Raises as :meth:`write` does.
        """
        if (
            self._file is None
            or query.needs_python
            or (query.limit or arrow_read.MIN_ROWS) < arrow_read.MIN_ROWS
            or not arrow_read.is_available()
        ):
            return None
        stored = tables[query.table.name]
        row_number: sa.ColumnElement[int] = sa.literal_column("rowid", sa.Integer)
        enough = sa.select(sa.literal(1)).select_from(stored).where(*query.conditions()).limit(arrow_read.MIN_ROWS)
        with self._detecting_replacement():
            with self._connected() as connection, limited_waits(connection):
                last = connection.scalar(sa.select(sa.func.max(row_number)).select_from(stored)) or 0
                counted = sa.select(sa.func.count()).select_from(enough.subquery())
                if last < arrow_read.MIN_ROWS or connection.execute(counted).scalar_one() < arrow_read.MIN_ROWS:
                    return None
                self._mark_interrupted(connection)
            if query.limit or query.page is not None:
                selects = [query.select()]
            else:  # unsorted: sorted reads look up every row by an index and take twice as long
                half = last // arrow_read.N_READERS
                ends = [part * half for part in range(1, arrow_read.N_READERS)]
                everything = query.select().order_by(None)
                selects = [
                    everything.where(*([row_number > start] if start else []), *([row_number <= end] if end else []))
                    for start, end in zip([0, *ends], [*ends, 0], strict=True)
                ]
            columns = {name: query.table.columns[name] for name in query.columns}
            return arrow_read.read_columns(self._file.path, selects, columns)

    def pages(self, query: Conditions) -> Sequence[Conditions] | None:
        """Return ``query`` for each page of its rows, as :func:`ipyllm.ledger.paging.divide` does."""
        with (
            self._detecting_replacement(),
            self._connected() as connection,
            hold(self._lock) if self._in_memory else nullcontext(),
            limited_waits(connection),
        ):
            return divide(connection, query)

    def reserve(
        self, experiment: str, limit_usd: float, wanted: Mapping[str, tuple[float, bool]], released: Collection[str]
    ) -> BudgetState:
        """Release and grant reservations of an experiment's budget: see :mod:`ipyllm.ledger.reservations`.

        Raises as :meth:`write` does.
        """
        with hold(self._lock), self._detecting_replacement(), self._opened().connect() as connection:
            writer, now = this_process(), self._now()
            dead = dead_holders(connection, reservations.c.experiment == experiment, now)
            connection.rollback()
            if dead:  # before their reservations fall away, so that their calls count from now on
                self._mark_interrupted(connection)
            self._begin_alone(connection, _BUDGET_LOCK, experiment)
            state = reserve(connection, experiment, limit_usd, wanted, released, writer, dead, now)
            connection.commit()
            return state

    def update_claims(self, request: ClaimRequest) -> ClaimState:
        """Give a sign of life of a participant, and change its claims: see :mod:`ipyllm.ledger.claims`.

        Raises as :meth:`write` does.
        """
        with hold(self._lock), self._detecting_replacement(), self._opened().connect() as connection:
            writer, now = this_process(), self._now()
            dead = dead_participants(connection, participants.c.experiment == request.experiment, now)
            connection.rollback()
            if dead:  # before their trials are asked again
                self._mark_interrupted(connection)
            self._begin_alone(connection, _CLAIM_LOCK, request.experiment)
            state = update_claims(connection, request, writer, dead, now)
            connection.commit()
            return state

    def leave(self, participant: str, experiment: str) -> None:
        """Give back all claims of a participant, and forget it. Raises as :meth:`write` does."""
        with hold(self._lock), self._detecting_replacement(), self._opened().connect() as connection:
            self._begin_alone(connection, _CLAIM_LOCK, experiment)
            leave(connection, participant, experiment)
            connection.commit()

    def has_participant(self, participant: str) -> bool:
        """Return whether a participant is known here. Raises as :meth:`write` does."""
        found = sa.select(sa.literal(1)).where(participants.c.participant_id == participant)
        with hold(self._lock), self._detecting_replacement(), self._opened().connect() as connection:
            return connection.scalar(found) is not None

    def prune(self, table: Table, before: datetime | None, text_before: datetime | None) -> tuple[int, int]:
        """Delete rows that began before ``before``, and text of those before ``text_before``, but not running calls.

        Returns the number of deleted rows, and of rows whose text was deleted. Raises as :meth:`write` does; rows
        deleted before stay deleted.
        """
        stored = tables[table.name]
        key, began = stored.c[table.key], stored.c[table.time]
        ended = [stored.c.status.is_distinct_from("running")] if table is CALLS else []
        texts = [stored.c[name] for name in TEXT if name in stored.c]

        def batch(until: datetime, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
            return key.in_(sa.select(key).where(began < until, *ended, *conditions).limit(_PRUNE_BATCH))

        rows = emptied = 0
        if before is not None:
            rows = self._execute_in_batches(sa.delete(stored).where(batch(before)))
            self._prune_budgets(before)
        if text_before is not None and texts:
            has_text = sa.or_(*(text.is_not(None) for text in texts))
            no_text = {text.name: None for text in texts}
            emptied = self._execute_in_batches(sa.update(stored).where(batch(text_before, has_text)).values(no_text))
        return rows, emptied

    def _prune_budgets(self, before: datetime) -> None:
        """Delete old reservations and participants of dead processes, and add up what deleted calls have left."""
        is_old, was_old = reservations.c.updated_at < before, participants.c.updated_at < before
        with self._lock, self._detecting_replacement(), self._opened().connect() as connection:
            dead = dead_holders(connection, is_old, self._now())
            dead_runs = dead_participants(connection, was_old, self._now())
            connection.rollback()
            self._begin(connection)
            release_dead(connection, dead, is_old)
            forget_dead(connection, dead_runs)
            delete_abandoned(connection)
            add_up_spending(connection)
            connection.commit()

    def compact(self) -> None:
        """Empty the write-ahead log after pruning, and shrink the file if much of it is empty.

        Raises ``OperationalError`` while another kernel is writing, or if the disk has no space for the smaller copy.
        """
        if self._backend != "sqlite" or self._in_memory:
            return  # PostgreSQL does this by itself
        with self._lock, self._detecting_replacement(), self._opened().connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            if connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() > pages * _EMPTY_SHARE:
                connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _execute_in_batches(self, statement: sa.Delete | sa.Update) -> int:
        """Run ``statement``, each time in its own transaction, until it finds no row; return the number of rows."""
        total = 0
        while True:
            with self._lock, self._detecting_replacement(), self._opened().connect() as connection:
                if self._backend == "sqlite":  # overwrite deleted data, instead of only unlinking it
                    connection.exec_driver_sql("PRAGMA secure_delete=ON")
                self._begin(connection)
                found = connection.execute(statement).rowcount
                connection.commit()
            if not found:
                return total
            total += found

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
                    yield connection
                return

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
            self._file.prepare()
        pool: dict[str, Any] = {"poolclass": sa.StaticPool} if self._in_memory else {}
        arguments = {"timeout": BUSY_S, "check_same_thread": False}
        engine = sa.create_engine(self._url, connect_args=arguments, **pool)
        sa.event.listen(engine, "connect", _configure)
        return engine

    def _set_up(self, engine: sa.Engine) -> None:
        with engine.connect() as connection, limited_waits(connection):
            version = version_of(connection)  # first: a newer ledger must stay unchanged
            if self._backend == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
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
        if self._file is not None:
            take_in_damaged_files(engine, self._begin, self._file, self._say)
        take_in_unwritten_rows(engine, self._begin, self.unwritten, self._upserts, self._now(), self._say)

    def _now(self) -> datetime:
        """Return the time of the database's host: those of the processes that share a ledger may differ."""
        return datetime.now(UTC) + self._ahead

    def _write_all(self, engine: sa.Engine, rows: Sequence[Row], table: Table) -> None:
        with engine.connect() as connection:
            self._begin(connection)
            self._upserts.execute(connection, rows, table, self._now())
            connection.commit()

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
