"""The rows of a ledger in its database, written and read in whole transactions.

Errors but short locks are raised: the writer keeps the rows and tries again. This module imports SQLAlchemy, so only
the writer thread and the first read import it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from ipyllm.ledger import arrow_read, column_read
from ipyllm.ledger.claims import delete_abandoned, forget_dead, leave, update_claims
from ipyllm.ledger.columns import CALLS, TEXT
from ipyllm.ledger.database import Database
from ipyllm.ledger.dead_processes import dead_holders, dead_participants
from ipyllm.ledger.paging import divide
from ipyllm.ledger.reservations import add_up_spending, release_dead, reserve
from ipyllm.ledger.sqlite_file import error_text
from ipyllm.ledger.stored_values import fetch, fetch_whole
from ipyllm.ledger.tables import (
    participants,
    reservations,
    tables,
)
from ipyllm.ledger.upserts import is_row_error
from ipyllm.ledger.wait_limit import hold, limited_waits
from ipyllm.process_identity import this_process
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from ipyllm.ledger.budget_state import BudgetState
    from ipyllm.ledger.claim_state import ClaimRequest, ClaimState
    from ipyllm.ledger.columns import Kind, Row, Table
    from ipyllm.ledger.query import Conditions

__all__ = ["Store"]

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


class Store(Database):
    """The rows of a ledger: written and read in whole transactions."""

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
        with self._reading() as connection:
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

    def read_columns(self, query: Conditions) -> column_read.StoredColumns | None:
        """Return the rows of ``query`` as arrays, in the order of its statement, without the columns of JSON.

        None if there are too few, or they cannot be read that way. Raises as :meth:`write` does.
        """
        if self._file is None or query.needs_python or not sys.executable:
            return None
        stored = tables[query.table.name]
        least = column_read.MIN_ROWS
        these = sa.select(sa.literal(1)).select_from(stored).where(*query.conditions())
        with self._detecting_replacement():
            with self._connected() as connection, limited_waits(connection):
                last = connection.scalar(sa.select(sa.func.max(sa.literal_column("rowid"))).select_from(stored)) or 0
                enough = sa.select(sa.func.count()).select_from(these.limit(least).subquery())
                if last < least or (query.limit or least) < least or connection.scalar(enough) != least:
                    return None
                self._mark_interrupted(connection)
            kinds = {name: kind for name in query.columns if (kind := query.table.columns[name]) != "json"}
            rows = query.select().with_only_columns(*(stored.c[name] for name in kinds), maintain_column_froms=True)
            count = sa.select(sa.func.count()).select_from(these.limit(query.limit).subquery())
            return column_read.read_arrays(self._file.path, count, rows, kinds, query.table.key)

    def read_by_tag(
        self, experiment: str, tag: str, columns: Sequence[str], without_status: str | None
    ) -> list[tuple[Any, ...]] | None:
        """Return calls with one of their tags, as :meth:`Ledger.read_by_tag` does; None if a value is damaged.

        Raises as :meth:`write` does.
        """
        stored = tables[CALLS.name].c
        kinds: list[Kind] = ["text", "text", *(CALLS.columns[name] for name in columns)]
        is_asked_for = [] if without_status is None else [stored.status.is_distinct_from(without_status)]
        statement = (
            sa.select(stored.call_id, stored.tags[tag].as_string(), *(stored[name] for name in columns))
            .where(stored.experiment == experiment, *is_asked_for)
            .order_by(stored.started_at.asc().nulls_first(), stored.call_id)
        )
        return self._read_whole(statement, kinds)

    def tags_of_answers(self, experiment: str, tag: str, columns: Sequence[str]) -> list[tuple[Any, ...]] | None:
        """Return answers by columns, as :meth:`Ledger.tags_of_answers` does; None if a value is damaged.

        Raises as :meth:`write` does.
        """
        stored = tables[CALLS.name].c
        groups = [*(stored[name] for name in columns), stored.address.is_not(None)]
        kinds: list[Kind] = [*(CALLS.columns[name] for name in columns), "bool", "text"]
        statement = (
            sa.select(*groups, sa.func.aggregate_strings(stored.tags[tag].as_string(), ","))
            .where(
                stored.experiment == experiment,
                stored.status == "ok",
                stored.step.is_(None),
                stored.warmup.is_distinct_from(True),
            )
            .group_by(*groups)
            .order_by(sa.func.max(stored.started_at))
        )
        return self._read_whole(statement, kinds)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that other threads do not use, and whose waits are limited."""
        with (
            self._detecting_replacement(),
            self._connected() as connection,
            # A ledger in memory has one connection, which two threads cannot use at once.
            hold(self._lock) if self._in_memory else nullcontext(),
            limited_waits(connection),
        ):
            yield connection

    def _read_whole(self, statement: sa.Select[Any], kinds: Sequence[Kind]) -> list[tuple[Any, ...]] | None:
        with self._reading() as connection:
            self._mark_interrupted(connection)
            return fetch_whole(connection, statement, kinds)

    def pages(self, query: Conditions) -> Sequence[Conditions] | None:
        """Return ``query`` for each page of its rows, as :func:`ipyllm.ledger.paging.divide` does."""
        with self._reading() as connection:
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

    def _write_all(self, engine: sa.Engine, rows: Sequence[Row], table: Table) -> None:
        with engine.connect() as connection:
            self._begin(connection)
            self._upserts.execute(connection, rows, table, self._now())
            connection.commit()
