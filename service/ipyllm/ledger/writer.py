"""The ledger as the rest of ipyllm sees it: put a row and go on; one thread writes what was put.

``put`` merges the row into a dict and returns. The thread cleans what has gathered, keeps it in the backlog
until the database has it, and tries again when the database cannot take it. Nothing here raises at the
caller.
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
from ipyllm.ledger.backlog import Backlog
from ipyllm.ledger.columns import CALLS, TABLES
from ipyllm.ledger.query import Query, merged
from ipyllm.ledger.sanitize import clean
from ipyllm.ledger.warnings_queue import Notices
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ipyllm.ledger.arrow_read import Columns
    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.query import Conditions
    from ipyllm.ledger.store import Store

__all__ = ["Ledger", "LedgerUnavailableError"]

HEARTBEAT_S = 60.0
"""A live process touches the rows of its running calls this often, however long the server is silent."""

_STORE = "ipyllm.ledger.store"

_GATHER_S = 0.02
"""Rows that come within this time are written in one transaction."""

_BATCH = 500
"""Rows of one transaction: other kernels wait for no more than these."""

_RETRY_S = (0.5, 30.0)
"""The first pause after a failure, and the longest."""

_PATIENCE_S = 20.0
"""How long others may be writing without a pause before it is said that we cannot."""

_FORK_S = 2.0
"""How long a fork waits for the transaction under way."""

_log = logging.getLogger("ipyllm.ledger")

_T = TypeVar("_T")


class LedgerUnavailableError(Exception):
    """The database does not do now what was asked: one sentence that says why."""


class Ledger:
    """All calls to models, in a database that kernels share.

    Parameters
    ----------
    url_or_path : str or path
        Path of an SQLite file, made with its folder when it is not there; or the SQLAlchemy URL of an SQLite
        or PostgreSQL database.
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
        self._unknown: set[str] = set()
        self._left = False
        self._start_over()
        register(self)

    def _start_over(self) -> None:
        """Hold nothing, be in no thread's hands: as new, or just forked."""
        # In the order in which they are taken.
        self._store_lock = threading.RLock()  # for as long as a transaction lasts
        self._backlog_lock = threading.RLock()  # milliseconds
        self._put_lock = threading.RLock()  # microseconds; re-entrant, for signal handlers and finalizers
        self._store: Store | None = None
        self._backlogs = {table: Backlog(table.key) for table in TABLES}
        self._incoming: dict[Table, dict[str, Row]] = {table: {} for table in TABLES}
        self._n_put = 0
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._n_written = 0
        self._attempt = 0
        self._failed_attempt = 0
        self._failing = False
        self._waiting_since: float | None = None  # for its turn, with nothing else wrong
        self._unread: str | None = None
        self._notices = Notices()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._forking = False

    def __repr__(self) -> str:
        return f"Ledger({self._where()!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, row: Mapping[str, object], table: Table = CALLS) -> None:
        """Have ``row`` written soon. Returns in microseconds and never raises.

        Parameters
        ----------
        row : mapping
            The table's key (``call_id``) and any other columns: what is known of the call beyond what was put
            before.
        table : Table
            Where it belongs.
        """
        key = row.get(table.key)
        if not isinstance(key, str):
            _log.error("A row without %s cannot be kept: %s.", table.key, ", ".join(map(str, row)))
            return
        with self._put_lock:
            incoming = self._incoming[table]
            waiting = incoming.get(key)
            if waiting is None:
                incoming[key] = dict(row)
            else:
                waiting.update(row)
            self._n_put += 1
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start_thread()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything put so far is written.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most.

        Returns
        -------
        bool
            False when time ran out, or as soon as the ledger turned out not to be writable.
        """
        with self._put_lock:
            wanted = self._n_put
        with self._progress:
            if self._n_written >= wanted:
                return True
            before = self._attempt
        self._start_thread()
        if self._thread is None:  # it could not be started
            self._write()
        self._hurry.set()
        self._wake.set()
        with self._progress:
            self._progress.wait_for(lambda: self._n_written >= wanted or self._failed_attempt > before, timeout)
            return self._n_written >= wanted

    def close(self, timeout: float = 5.0) -> bool:
        """Write what was put, then stop the thread and close the database. A later ``put`` begins anew.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most; the thread goes on without us when there is more to write.

        Returns
        -------
        bool
            Whether everything was written and closed in that time.
        """
        deadline = time.monotonic() + timeout
        written = self.flush(timeout)
        thread = self._thread
        if thread is not None:
            self._stopping = True
            self._hurry.set()
            self._wake.set()
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
            written = not any(backlog.waiting for backlog in self._backlogs.values())
        if self._store is not None:
            self._store.close()
        return written

    def leave(self) -> None:
        """Have it close itself as soon as no call that writes to it runs any more. Returns at once.

        What is put later is written all the same, and its thread ends again.
        """
        self._left = True
        if self._thread is None and self._store is not None:
            self._store.close()
        self._wake.set()

    def take_warning(self) -> str | None:
        """Return what the user should be told about the ledger, once; None when there is nothing."""
        return self._notices.take()

    @property
    def trouble(self) -> str | None:
        """That the database could not be read when it was last asked, and why; None if it could."""
        return self._unread

    def read(self, query: Conditions | None = None, *, timeout: float = 2.0) -> Sequence[tuple[Any, ...]]:
        """Return rows, those not yet written included, each in the order of its table's columns.

        Parameters
        ----------
        query : Conditions or None
            Which rows; None for all calls.
        timeout : float
            Seconds to wait for the writer first.
        """
        query = query or Query()
        in_memory, asked = self._in_memory(query, timeout)
        return merged(self._asked(lambda store: store.read(asked), []), in_memory, query)

    def read_large(self, query: Conditions, *, timeout: float = 2.0) -> Columns | None:
        """Return what :meth:`read` does as columns, in the database's own types, if that is the quicker way.

        None where it is not: there are few rows, or the database is no SQLite file, or ``ipyllm[tables]`` is
        not installed.
        """
        in_memory, asked = self._in_memory(query, timeout)
        table = self._asked(lambda store: store.read_large(asked), None)
        if table is None:
            return None
        from ipyllm.ledger.arrow_read import merged_columns

        return merged_columns(table, in_memory, query)

    def prune(self, before: datetime | None, text_before: datetime | None) -> dict[Table, tuple[int, int]]:
        """Delete what began before ``before``, and the text of what began before ``text_before``.

        Calls that run are left alone.

        Returns
        -------
        dict
            How many rows were deleted, and of how many the text, by table.

        Raises
        ------
        LedgerUnavailableError
            The database cannot be written now.
        """
        self.flush()
        try:
            store = self._opened_store()
            pruned = {table: store.prune(table, before, text_before) for table in TABLES}
        except Exception as exc:
            self._begun_anew(exc)
            raise LedgerUnavailableError(f"The ledger at {self._where()} cannot be pruned ({_reason(exc)}).") from exc
        try:
            store.compact()
        except Exception as exc:  # noqa: BLE001 - the rows are gone; the file can become smaller another time
            _log.info("The ledger at %s was not made smaller (%s).", self._where(), _reason(exc))
        return pruned

    def _in_memory(self, query: Conditions, timeout: float) -> tuple[Sequence[Row], Conditions]:
        """Return the rows not yet written, and what to ask the database for beyond them."""
        self.flush(timeout)
        with self._backlog_lock:  # before the database is read: a row may be found twice, but not missed
            self._absorb()
            in_memory = self._backlogs[query.table].rows()
        # One in memory may no longer meet the conditions that it meets in the database: another takes its place.
        return in_memory, query if query.limit is None else query.at_most(query.limit + len(in_memory))

    def _asked(self, ask: Callable[[Store], _T], nothing: _T) -> _T:
        """Return what the database answers, or ``nothing`` and say why."""
        for _ in range(3):
            try:
                answer = ask(self._opened_store())
            except Exception as exc:  # noqa: BLE001 - whatever it is, what is in memory can be shown
                if self._begun_anew(exc):
                    continue
                why = f"cannot be read ({_reason(exc)})"
                self._unread = f"The ledger at {self._where()} {why}"
                if not self._failing:
                    self._say(f"{why}: only rows still in memory are shown.")
                break
            self._unread = None
            return answer
        return nothing

    # What follows runs on the writer thread.

    def _run(self) -> None:
        failures = 0
        next_beat = time.monotonic() + HEARTBEAT_S
        while True:
            if failures:
                self._hurry.wait(min(_RETRY_S[0] * 2 ** (failures - 1), _RETRY_S[1]))
            else:
                self._wake.wait(HEARTBEAT_S)
                self._hurry.wait(_GATHER_S)
            self._wake.clear()
            self._hurry.clear()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + HEARTBEAT_S
                with self._backlog_lock:
                    self._backlogs[CALLS].beat()
            failures = 0 if self._write() else 1 if self._waits_its_turn() else failures + 1
            if self._stopping or self._left:
                with self._backlog_lock, self._put_lock:
                    if self._may_end(failing=failures > 0):
                        break
        if self._store is not None:
            self._store.close()
        with self._put_lock:
            self._stopping = False
            self._thread = None
            left = any(self._incoming.values()) and not failures
        if left:  # put while the database was being closed
            self._start_thread()

    def _may_end(self, *, failing: bool) -> bool:
        """Whether the thread that was told to end, or was left, has no more to do."""
        if self._waits_its_turn() or (not failing and any(self._incoming.values())):
            return False
        if self._stopping:
            return True
        return not any(backlog.waiting or backlog.running for backlog in self._backlogs.values())

    def _write(self) -> bool:
        """Try to write all there is. False when the database does not take it."""
        with self._store_lock:
            with self._progress:
                self._attempt += 1
                attempt = self._attempt
            try:
                with self._backlog_lock:
                    n_put = self._absorb()
                self._write_backlog()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the rows are kept and the thread lives
                if not self._failing and not self._still_patient(exc):
                    self._say(
                        f"cannot be written ({_reason(exc)}): rows of this kernel are kept in memory, "
                        "and will be written when it can be."
                    )
                    self._failing = True
                with self._progress:
                    self._failed_attempt = attempt
                    self._progress.notify_all()
                return False
            self._failing, self._waiting_since = False, None
            with self._progress:
                self._n_written = n_put
                self._progress.notify_all()
            return True

    def _still_patient(self, exc: Exception) -> bool:
        """Whether ``exc`` only says that others are writing, and they have not been for long."""
        from ipyllm.ledger.sqlite_file import is_busy

        if not is_busy(exc):
            self._waiting_since = None
            return False
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since < _PATIENCE_S

    def _waits_its_turn(self) -> bool:
        return self._waiting_since is not None and not self._failing

    def _write_backlog(self) -> None:
        restarts = 0
        while True:
            with self._backlog_lock:
                table = next((table for table, backlog in self._backlogs.items() if backlog.waiting), None)
                if table is None:
                    return
                batch = self._backlogs[table].batch(_BATCH)
            try:
                refused = self._opened_store().write(batch, table)
            except Exception as exc:
                restarts += 1
                if restarts > 3 or not self._begun_anew(exc):  # noqa: PLR2004
                    raise
                continue
            for row, why in refused:
                _log.error("The ledger refused the row of %s %s (%s): it is lost.", table.row, row[table.key], why)
            with self._backlog_lock:
                self._backlogs[table].written(batch)

    def _absorb(self) -> int:
        """Take what was put into the backlog, and return the number of puts that have come there."""
        with self._put_lock:
            incoming, self._incoming = self._incoming, {table: {} for table in TABLES}
            n_put = self._n_put
        for table, rows in incoming.items():
            backlog = self._backlogs[table]
            for row in rows.values():
                unknown = row.keys() - table.columns.keys() - self._unknown
                if unknown:
                    self._unknown |= unknown
                    _log.error("The ledger has no column %s.", ", ".join(sorted(unknown)))
                backlog.merge(clean(row, columns=table.columns, store_text=self._store_text))
            lost = backlog.lost
            backlog.trim()
            if backlog.lost > lost:
                _log.error(
                    "%d finished %ss no longer fit in memory: their rows are lost.", backlog.lost - lost, table.row
                )
        return n_put

    # What follows runs on either side.

    def _start_thread(self) -> None:
        with self._put_lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="ipyllm-ledger", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down, or is out of threads
                self._thread = None
                return
        close_at_child_exit(self)

    def _opened_store(self) -> Store:
        with self._store_lock:
            if self._store is None:
                from ipyllm.ledger.store import Store

                self._store = Store(self._target, self._store_lock)
            return self._store

    def _begun_anew(self, exc: Exception) -> bool:
        """Whether ``exc`` says that a new database takes the place of the old; then all is written again."""
        from ipyllm.ledger.store import LedgerDamagedError, LedgerReplacedError

        if isinstance(exc, LedgerDamagedError):
            self._say(f"was damaged ({exc}): it was moved to {exc.moved_to.name}, and a new one begun.")
        elif isinstance(exc, LedgerReplacedError):
            self._say("was removed or replaced while in use: a new one was begun.")
        else:
            return False
        with self._backlog_lock:
            for backlog in self._backlogs.values():
                backlog.write_all_again()
        self._wake.set()
        return True

    def _say(self, what: str) -> None:
        self._notices.say(f"The ledger at {self._where()} {what}")

    def _where(self) -> str:
        if self._store is not None:
            return str(self._store)
        return self._target.partition("://")[0] if "://" in self._target else self._target

    # What follows is called by `fork_safety`.

    def before_fork(self) -> None:
        """Close the file and hold all locks."""
        if _STORE in sys.modules:  # a thread may be importing it: the child would have half a module for ever
            importlib.import_module(_STORE)
        self._forking = self._store_lock.acquire(timeout=_FORK_S)
        if self._forking and self._store is not None:
            self._store.rest()
        self._backlog_lock.acquire()
        self._put_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._put_lock.release()
        self._backlog_lock.release()
        if self._forking:
            self._forking = False
            self._store_lock.release()

    def after_fork_in_child(self) -> None:
        """Begin as new: the parent writes what was put before."""
        if self._store is not None:
            self._store.forget()
        self._start_over()


def _reason(exc: Exception) -> str:
    if "sqlalchemy" not in sys.modules:
        return redact(str(exc))  # not even imported: the database has said nothing
    from ipyllm.ledger.store import reason

    return reason(exc)
