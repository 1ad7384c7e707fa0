"""Interface of the ledger: callers put rows, and one thread writes them.

``put`` adds the row to those in memory (:mod:`ipyllm.ledger.pending_rows`), returns, and never raises. The thread
writes them in batches, and retries when the database cannot be written.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ipyllm.fork_safety import close_at_child_exit, register
from ipyllm.ledger.columns import CALLS, TABLES
from ipyllm.ledger.pending_rows import PendingRows
from ipyllm.ledger.query import Query, merge
from ipyllm.ledger.sqlite_file import error_text, is_busy
from ipyllm.ledger.warnings_queue import WarningsQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from ipyllm.ledger.arrow_read import ArrowColumns
    from ipyllm.ledger.budget_state import BudgetState
    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.query import Conditions
    from ipyllm.ledger.store import Store

__all__ = ["Ledger", "LedgerUnavailableError"]

HEARTBEAT_S = 60.0
"""Seconds between two updates of the rows of running calls, which show that this process is alive."""

_STORE = "ipyllm.ledger.store"

_BATCH_WAIT_S = 0.02
"""Seconds to wait for more rows of a transaction."""

_BATCH = 500
"""Most rows in one transaction; other kernels wait while it is written."""

_RETRY_S = (0.5, 30.0)
"""Shortest and longest pause after a failure, in seconds."""

_LOCKED_TOO_LONG_S = 20.0
"""Seconds that other processes may hold the lock before the user is warned."""

_FORK_WAIT_S = 2.0
"""Seconds that a fork waits for the current transaction."""

_log = logging.getLogger("ipyllm.ledger")

_T = TypeVar("_T")


class LedgerUnavailableError(Exception):
    """The database cannot be written now; the message says why."""


class Ledger:
    """All exchanges with models, in a database that kernels share.

    Parameters
    ----------
    url_or_path : str or path
        Path of an SQLite file, created with its folder if it does not exist; or the SQLAlchemy URL of an SQLite or
        PostgreSQL database.
    store_text : bool
        Whether prompts, answers and reasoning are written.

    Examples
    --------
    >>> with Ledger("sqlite://") as ledger:
    ...     ledger.put({"call_id": "01", "model": "local/smollm2-135m", "status": "running"})
    ...     ledger.put({"call_id": "01", "status": "ok", "output_tokens": 7})
    ...     ledger.flush(timeout=5)
    ...     [row[0] for row in ledger.read()]
    True
    ['01']
    """

    def __init__(self, url_or_path: str | os.PathLike[str], *, store_text: bool = True) -> None:
        self._target = os.fspath(url_or_path)
        self._store_text = store_text
        self._closing_when_idle = False
        self._reset()
        register(self)

    def _reset(self) -> None:
        """Set the state of a new ledger, or of one in a forked child."""
        # In the order in which they are acquired.
        self._store_lock = threading.RLock()  # held for a transaction
        self._pending = PendingRows(store_text=self._store_text)
        self._thread_lock = threading.RLock()  # held for microseconds; re-entrant, for signal handlers and finalizers
        self._store: Store | None = None
        self._wake = threading.Event()
        self._write_now = threading.Event()
        self._progress = threading.Condition()
        self._n_written = 0
        self._attempt = 0
        self._failed_attempt = 0
        self._failing = False
        self._locked_since: float | None = None  # by other processes, with no other error
        self._read_error: str | None = None
        self._warnings = WarningsQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._store_locked_for_fork = False

    def __repr__(self) -> str:
        return f"Ledger({self._location()!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, row: Mapping[str, object], table: Table = CALLS) -> None:
        """Queue ``row`` to be written. Returns in microseconds and never raises.

        Parameters
        ----------
        row : mapping
            The table's key (``call_id``) and any other columns; they replace values that were put before.
        table : Table
            Table of the row.
        """
        if not self._pending.put(row, table):
            return
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start_thread()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait up to ``timeout`` seconds until all rows put so far are written; return whether they are.

        Returns False at once when the ledger cannot be written.
        """
        wanted = self._pending.n_put
        with self._progress:
            if self._n_written >= wanted:
                return True
            before = self._attempt
        self._start_thread()
        if self._thread is None:  # it could not be started
            self._write()
        self._write_now.set()
        self._wake.set()
        with self._progress:
            self._progress.wait_for(lambda: self._n_written >= wanted or self._failed_attempt > before, timeout)
            return self._n_written >= wanted

    def close(self, timeout: float = 5.0) -> bool:
        """Write all rows, stop the thread and close the database; return whether that was done in ``timeout`` seconds.

        After a timeout the thread continues in the background. A later ``put`` opens the ledger again.
        """
        deadline = time.monotonic() + timeout
        written = self.flush(timeout)
        thread = self._thread
        if thread is not None:
            self._stopping = True
            self._write_now.set()
            self._wake.set()
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
            written = not self._pending.has_unwritten
        if self._store is not None:
            self._store.close()
        return written

    def close_when_idle(self) -> None:
        """Close as soon as no call that writes to this ledger is running. Returns at once.

        Rows put later are still written, and the thread then stops again.
        """
        self._closing_when_idle = True
        if self._thread is None and self._store is not None:
            self._store.close()
        self._wake.set()

    def take_warning(self) -> str | None:
        """Return the new warnings for the user, each once; None when there are none."""
        return self._warnings.take()

    @property
    def read_error(self) -> str | None:
        """Sentence about the failure of the last read; None if it succeeded."""
        return self._read_error

    def read(self, query: Conditions | None = None, *, timeout: float = 2.0) -> Sequence[tuple[Any, ...]]:
        """Return the rows of ``query`` (default: all calls), unwritten rows included; values in the order of columns.

        Waits ``timeout`` seconds at most for the writer.
        """
        query = query or Query()
        in_memory, store_query = self._unwritten_rows(query, timeout)
        return merge(self._query_store(lambda store: store.read(store_query), []), in_memory, query)

    def read_large(self, query: Conditions, *, timeout: float = 2.0) -> ArrowColumns | None:
        """Return the rows of :meth:`read` as Arrow columns, in the database's types, where that is faster.

        Returns None for few rows, for a database that is not an SQLite file, and without ``ipyllm[tables]``.
        """
        in_memory, store_query = self._unwritten_rows(query, timeout)
        table = self._query_store(lambda store: store.read_large(store_query), None)
        if table is None:
            return None
        from ipyllm.ledger.arrow_read import merge_columns

        return merge_columns(table, in_memory, query)

    def reserve(
        self,
        experiment: str,
        limit_usd: float,
        wanted: Mapping[str, tuple[float, bool]],
        released: Collection[str] = (),
    ) -> BudgetState:
        """Release and grant reservations of an experiment's budget, which all processes share.

        Parameters
        ----------
        experiment : str
            Its name.
        limit_usd : float
            Its limit in US dollars.
        wanted : mapping
            Amount in US dollars by the reservation's id; and whether it must stay if this process dies, because only
            this process can write the rows of its calls.
        released : collection of str
            Ids of reservations whose calls have ended; their rows are written first.

        Raises
        ------
        LedgerUnavailableError
            The database cannot be read or written now, so nothing was reserved.
        """
        reason = "it cannot be written"
        if not released or self.flush():
            try:
                return self._open_store().reserve(experiment, limit_usd, wanted, released)
            except Exception as exc:  # noqa: BLE001 - whatever it is, nothing may be spent
                self._recover_from_replacement(exc)
                reason = error_text(exc)
        raise LedgerUnavailableError(
            f"The budget of {experiment!r} cannot be checked in the ledger at {self._location()} ({reason})."
        )

    def prune(self, before: datetime | None, text_before: datetime | None) -> dict[Table, tuple[int, int]]:
        """Delete rows that began before ``before``, and text of those before ``text_before``, but not running calls.

        Returns the number of deleted rows, and of rows whose text was deleted, by table. LedgerUnavailableError says
        why the database cannot be written now.
        """
        self.flush()
        try:
            store = self._open_store()
            pruned = {table: store.prune(table, before, text_before) for table in TABLES}
        except Exception as exc:
            self._recover_from_replacement(exc)
            raise LedgerUnavailableError(
                f"The ledger at {self._location()} cannot be pruned ({error_text(exc)})."
            ) from exc
        try:
            store.compact()
        except Exception as exc:  # noqa: BLE001 - the rows are gone; the file can be shrunk later
            _log.info("The ledger at %s was not compacted (%s).", self._location(), error_text(exc))
        return pruned

    def _unwritten_rows(self, query: Conditions, timeout: float) -> tuple[Sequence[Row], Conditions]:
        """Return the unwritten rows, and the query for the rows in the database."""
        self.flush(timeout)
        in_memory = self._pending.rows(query.table)  # before the database is read, so that no row is missed
        # A row that matches in the database may not match in memory any more, so read more rows than the limit.
        return in_memory, query if query.limit is None else query.with_limit(query.limit + len(in_memory))

    def _query_store(self, ask: Callable[[Store], _T], default: _T) -> _T:
        """Return the result of ``ask``; on failure, warn and return ``default``."""
        for _ in range(3):
            try:
                answer = ask(self._open_store())
            except Exception as exc:  # noqa: BLE001 - rows in memory can be shown in any case
                if self._recover_from_replacement(exc):
                    continue
                why = f"cannot be read ({error_text(exc)})"
                self._read_error = f"The ledger at {self._location()} {why}"
                if not self._failing:
                    self._warn(f"{why}: only rows still in memory are shown.")
                break
            self._read_error = None
            return answer
        return default

    # ---- on the writer thread ----------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        next_heartbeat = time.monotonic() + HEARTBEAT_S
        while True:
            if failures:
                self._write_now.wait(min(_RETRY_S[0] * 2 ** (failures - 1), _RETRY_S[1]))
            else:
                self._wake.wait(HEARTBEAT_S)
                self._write_now.wait(_BATCH_WAIT_S)
            self._wake.clear()
            self._write_now.clear()
            if time.monotonic() >= next_heartbeat:
                next_heartbeat = time.monotonic() + HEARTBEAT_S
                self._pending.touch_running()
            failures = 0 if self._write() else 1 if self._is_locked() else failures + 1
            if (self._stopping or self._closing_when_idle) and self._may_stop(failing=failures > 0):
                break
        if self._store is not None:
            self._store.close()
        with self._thread_lock:
            self._stopping = False
            self._thread = None
        if self._pending.has_incoming and not failures:  # rows put while the database was being closed
            self._start_thread()

    def _may_stop(self, *, failing: bool) -> bool:
        """Return whether a thread that was told to stop has written everything."""
        if self._is_locked() or (not failing and self._pending.has_incoming):
            return False
        return self._stopping or not (self._pending.has_unwritten or self._pending.has_running)

    def _write(self) -> bool:
        """Try to write all rows; return whether it succeeded."""
        with self._store_lock:
            with self._progress:
                self._attempt += 1
                attempt = self._attempt
            try:
                n_put = self._pending.take()
                self._write_pending()
            except Exception as exc:  # noqa: BLE001 - the rows are kept and the thread goes on
                if not self._failing and not self._is_locked_briefly(exc):
                    self._warn(
                        f"cannot be written ({error_text(exc)}): rows of this kernel are kept in memory "
                        "and written as soon as possible."
                    )
                    self._failing = True
                with self._progress:
                    self._failed_attempt = attempt
                    self._progress.notify_all()
                return False
            self._failing, self._locked_since = False, None
            with self._progress:
                self._n_written = n_put
                self._progress.notify_all()
            return True

    def _is_locked_briefly(self, exc: Exception) -> bool:
        """Return whether ``exc`` only says that other processes are writing, and they began a short time ago."""
        if not is_busy(exc):
            self._locked_since = None
            return False
        now = time.monotonic()
        if self._locked_since is None:
            self._locked_since = now
        return now - self._locked_since < _LOCKED_TOO_LONG_S

    def _is_locked(self) -> bool:
        return self._locked_since is not None and not self._failing

    def _write_pending(self) -> None:
        restarts = 0
        while (found := self._pending.batch(_BATCH)) is not None:
            table, batch = found
            try:
                refused = self._open_store().write(batch, table)
            except Exception as exc:
                restarts += 1
                if restarts > 3 or not self._recover_from_replacement(exc):  # noqa: PLR2004
                    raise
                continue
            for row, why in refused:
                _log.error(
                    "The ledger refused the row of %s %s (%s). The row is lost.", table.row_name, row[table.key], why
                )
            self._pending.mark_written(table, batch)

    # ---- on any thread ------------------------------------------------------------------------------

    def _start_thread(self) -> None:
        with self._thread_lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="ipyllm-ledger", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down, or is out of threads
                self._thread = None
                return
        close_at_child_exit(self)

    def _open_store(self) -> Store:
        with self._store_lock:
            if self._store is None:
                from ipyllm.ledger.store import Store

                self._store = Store(self._target, self._store_lock)
            return self._store

    def _recover_from_replacement(self, exc: Exception) -> bool:
        """Return whether ``exc`` says that the database was lost; if so, mark all rows for a new database, and warn."""
        from ipyllm.ledger.store import LedgerDamagedError, LedgerReplacedError

        if isinstance(exc, LedgerDamagedError):
            self._warn(f"was damaged ({exc}). It was renamed to {exc.moved_to.name}, and a new one created.")
        elif isinstance(exc, LedgerReplacedError):
            self._warn("was removed or replaced while in use. A new one was created.")
        else:
            return False
        self._pending.mark_all_unwritten()
        self._wake.set()
        return True

    def _warn(self, what: str) -> None:
        self._warnings.add(f"The ledger at {self._location()} {what}")

    def _location(self) -> str:
        if self._store is not None:
            return str(self._store)
        return self._target.partition("://")[0] if "://" in self._target else self._target

    # ---- called by `fork_safety` --------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the file and hold all locks."""
        if _STORE in sys.modules:  # a thread may be importing it, and the child would have half a module
            importlib.import_module(_STORE)
        self._store_locked_for_fork = self._store_lock.acquire(timeout=_FORK_WAIT_S)
        if self._store_locked_for_fork and self._store is not None:
            self._store.close_before_fork()
        self._pending.before_fork()
        self._thread_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Release the locks."""
        self._thread_lock.release()
        self._pending.after_fork_in_parent()
        if self._store_locked_for_fork:
            self._store_locked_for_fork = False
            self._store_lock.release()

    def after_fork_in_child(self) -> None:
        """Start empty: the parent writes the rows that were put before."""
        if self._store is not None:
            self._store.abandon()
        self._reset()
