"""Rows on their way from the callers to the database: put by any thread, taken by the writer.

``put`` only merges a row into a dict. The writer moves these rows to the backlog of their table, sanitized, from where
they are written in batches.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger.backlog import Backlog
from ipyllm.ledger.columns import CALLS, TABLES
from ipyllm.ledger.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipyllm.ledger.columns import Row, Table

__all__ = ["PendingRows"]

_log = logging.getLogger("ipyllm.ledger")


class PendingRows:
    """The rows of a ledger that its database does not have yet, and those of running calls; usable from any thread.

    A row stays until it is written, and longer while its call runs, in case the database is lost.
    """

    def __init__(self, *, store_text: bool) -> None:
        self._store_text = store_text
        self._unknown_columns: set[str] = set()
        # In the order in which they are acquired.
        self._backlog_lock = renewed_in_child(threading.RLock())  # held for milliseconds
        # Held for microseconds; re-entrant, for signal handlers and finalizers.
        self._put_lock = renewed_in_child(threading.RLock())
        self._backlogs = {table: Backlog(table.key) for table in TABLES}
        self._incoming: dict[Table, dict[str, Row]] = {table: {} for table in TABLES}
        self.n_put = 0
        """Number of puts so far."""

    def put(self, row: Mapping[str, object], table: Table) -> bool:
        """Add a row, or columns of one; return whether it has a key. Returns in microseconds and never raises."""
        key = row.get(table.key)
        if not isinstance(key, str):
            _log.error("A row without %s cannot be stored: %s.", table.key, ", ".join(map(str, row)))
            return False
        with self._put_lock:
            incoming = self._incoming[table]
            waiting = incoming.get(key)
            if waiting is None:
                incoming[key] = dict(row)
            else:
                waiting.update(row)
            self.n_put += 1
        return True

    @property
    def has_incoming(self) -> bool:
        """Whether rows were put since the last :meth:`take`."""
        return any(self._incoming.values())

    @property
    def has_unwritten(self) -> bool:
        """Whether rows that were taken are not written."""
        return any(backlog.n_unwritten for backlog in self._backlogs.values())

    @property
    def has_running(self) -> bool:
        """Whether calls are running."""
        with self._backlog_lock:
            return any(backlog.has_running for backlog in self._backlogs.values())

    def take(self) -> int:
        """Move the rows that were put to the backlog, and return the number of puts so far."""
        with self._backlog_lock:
            with self._put_lock:
                incoming, self._incoming = self._incoming, {table: {} for table in TABLES}
                n_put = self.n_put
            for table, rows in incoming.items():
                self._take(table, rows)
        return n_put

    def _take(self, table: Table, rows: Mapping[str, Row]) -> None:
        backlog = self._backlogs[table]
        for row in rows.values():
            unknown = row.keys() - table.writable.keys() - self._unknown_columns
            if unknown:
                self._unknown_columns |= unknown
                _log.error("The ledger has no column %s.", ", ".join(sorted(unknown)))
            backlog.merge(sanitize(row, columns=table.writable, store_text=self._store_text))
        lost = backlog.lost
        backlog.trim()
        if backlog.lost > lost:
            _log.error(
                "%d finished %ss do not fit in memory. Their rows are lost.", backlog.lost - lost, table.row_name
            )

    def batch(self, limit: int) -> tuple[Table, list[Row]] | None:
        """Return up to ``limit`` rows of a table to write, each with its unwritten columns; None if there are none."""
        with self._backlog_lock:
            for table, backlog in self._backlogs.items():
                if backlog.n_unwritten:
                    return table, backlog.batch(limit)
        return None

    def mark_written(self, table: Table, batch: list[Row]) -> None:
        """Mark a batch as written."""
        with self._backlog_lock:
            self._backlogs[table].mark_written(batch)

    def mark_all_unwritten(self) -> None:
        """Mark all rows unwritten, for a new database."""
        with self._backlog_lock:
            for backlog in self._backlogs.values():
                backlog.mark_all_unwritten()

    def unwritten(self) -> list[tuple[Table, Row]]:
        """Return all unwritten rows with their tables, each with its unwritten columns."""
        with self._backlog_lock:
            self.take()
            return [(table, row) for table, each in self._backlogs.items() for row in each.batch(each.n_unwritten)]

    def touch_running(self) -> None:
        """Mark the rows of running calls unwritten, so that other hosts see that this process is alive."""
        with self._backlog_lock:
            self._backlogs[CALLS].touch_running()

    def rows(self, table: Table) -> Sequence[Row]:
        """Return the rows of a table with unwritten columns, complete."""
        with self._backlog_lock:
            self.take()
            return self._backlogs[table].rows()

    def before_fork(self) -> None:
        """Hold the locks."""
        self._backlog_lock.acquire()
        self._put_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Release the locks."""
        self._put_lock.release()
        self._backlog_lock.release()
