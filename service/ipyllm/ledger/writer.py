"""Writes the rows of a ledger on a thread of its own.

``put`` adds a row to those in memory (:mod:`ipyllm.ledger.pending_rows`), returns, and never raises. The thread writes
them in batches, and retries when the database cannot be written.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm.fork_safety import close_at_child_exit, register, renewed_in_child
from ipyllm.ledger.pending_rows import PendingRows
from ipyllm.ledger.sqlite_file import error_text, is_busy
from ipyllm.ledger.store_handle import StoreHandle
from ipyllm.text.format import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.ledger.columns import Table

__all__ = ["Writer"]

HEARTBEAT_S = 60.0
"""Seconds between two updates of the rows of running calls, which show that this process is alive."""

_BATCH_WAIT_S = 0.02
"""Seconds to wait for more rows of a transaction."""

_BATCH = 500
"""Most rows in one transaction; other kernels wait while it is written."""

_RETRY_S = (0.5, 30.0)
"""Shortest and longest pause after a failure, in seconds."""

_LOCKED_TOO_LONG_S = 20.0
"""Seconds that other processes may hold the lock before the user is warned."""

_log = logging.getLogger("ipyllm.ledger")


class Writer:
    """The rows that a database does not have yet, and the thread that writes them.

    Parameters
    ----------
    url_or_path : str
        Path of an SQLite file, or an SQLAlchemy URL.
    store_text : bool
        Whether prompts, answers and reasoning are written.
    """

    def __init__(self, url_or_path: str, *, store_text: bool) -> None:
        self._target = url_or_path
        self._store_text = store_text
        self._closing_when_idle = False
        self._reset()
        register(self)

    def _reset(self) -> None:
        """Set the state of a new writer, or of one in a forked child."""
        # In the order in which their locks are acquired.
        self.store = StoreHandle(self._target)
        self.pending = PendingRows(store_text=self._store_text)
        # Held for microseconds; re-entrant, for signal handlers and finalizers.
        self._thread_lock = renewed_in_child(threading.RLock())
        self._wake = renewed_in_child(threading.Event())
        self._write_now = renewed_in_child(threading.Event())
        self._progress = renewed_in_child(threading.Condition())
        self._n_written = 0
        self._attempt = 0
        self._failed_attempt = 0
        self.failing = False
        """Whether rows could not be written, and the user was warned."""
        self._why_failed = ""
        self._locked_since: float | None = None  # by other processes, with no other error
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __repr__(self) -> str:
        return f"Ledger({str(self.store)!r})"

    # ---- on any thread ------------------------------------------------------------------------------

    def put(self, row: Mapping[str, object], table: Table) -> None:
        """Implement :meth:`ipyllm.ledger.ledger.Ledger.put`."""
        if not self.pending.put(row, table):
            return
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start_thread()

    def flush(self, timeout: float) -> bool:
        """Implement :meth:`ipyllm.ledger.ledger.Ledger.flush`."""
        wanted = self.pending.n_put
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

    def close(self, timeout: float) -> bool:
        """Implement :meth:`ipyllm.ledger.ledger.Ledger.close`."""
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
            written = not self.pending.has_unwritten
        self.store.close()
        return written

    def give_up(self) -> None:
        """Keep the rows that could not be written in a file, and say so on stderr, where a script's user sees it."""
        rows = self.pending.unwritten()
        if not rows:
            return
        files = self.store.keep(rows)
        start = 0
        for path, number in files:
            if isinstance(path, Path):
                for table, row in rows[start : start + number]:
                    self.pending.mark_written(table, [row])
            start += number
        why = f" ({self._why_failed})" if self._why_failed else ""
        print(  # noqa: T201
            f"ipyllm: {count(len(rows), 'row')} could not be written to the ledger at {self.store}{why} and "
            f"{_what_became(files)}.",
            file=sys.stderr,
        )

    def close_when_idle(self) -> None:
        """Implement :meth:`ipyllm.ledger.ledger.Ledger.close_when_idle`."""
        self._closing_when_idle = True
        if self._thread is None:
            self.store.close()
        self._wake.set()

    def recover(self, exc: Exception) -> bool:
        """Return whether ``exc`` says that the database was lost; if so, warn, and write all rows to a new one."""
        if not self.store.is_lost(exc):
            return False
        self.pending.mark_all_unwritten()
        self._wake.set()
        return True

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
                self.pending.touch_running()
            failures = 0 if self._write() else 1 if self._is_locked() else failures + 1
            if (self._stopping or self._closing_when_idle) and self._may_stop(failing=failures > 0):
                break
        self.store.close()
        with self._thread_lock:
            self._stopping = False
            self._thread = None
        if self.pending.has_incoming and not failures:  # rows put while the database was being closed
            self._start_thread()

    def _may_stop(self, *, failing: bool) -> bool:
        """Return whether a thread that was told to stop has written everything."""
        if self._is_locked() or (not failing and self.pending.has_incoming):
            return False
        return self._stopping or not (self.pending.has_unwritten or self.pending.has_running)

    def _write(self) -> bool:
        """Try to write all rows; return whether it succeeded."""
        with self.store.lock:
            with self._progress:
                self._attempt += 1
                attempt = self._attempt
            try:
                n_put = self.pending.take()
                self._write_pending()
            except Exception as exc:  # noqa: BLE001 - the rows are kept and the thread goes on
                self._why_failed = error_text(exc)
                if not self.failing and not self._is_locked_briefly(exc):
                    self.store.warn(
                        f"cannot be written ({error_text(exc)}): rows of this kernel are kept in memory "
                        "and written as soon as possible."
                    )
                    self.failing = True
                with self._progress:
                    self._failed_attempt = attempt
                    self._progress.notify_all()
                return False
            self.failing, self._locked_since = False, None
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
        return self._locked_since is not None and not self.failing

    def _write_pending(self) -> None:
        restarts = 0
        while (found := self.pending.batch(_BATCH)) is not None:
            table, batch = found
            try:
                refused = self.store.open().write(batch, table)
            except Exception as exc:
                restarts += 1
                if restarts > 3 or not self.recover(exc):  # noqa: PLR2004
                    raise
                continue
            for row, why in refused:
                _log.error(
                    "The ledger refused the row of %s %s (%s). The row is lost.", table.row_name, row[table.key], why
                )
            self.pending.mark_written(table, batch)

    # ---- called by `fork_safety` --------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the file and hold all locks."""
        self.store.before_fork()
        self.pending.before_fork()
        self._thread_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Release the locks."""
        self._thread_lock.release()
        self.pending.after_fork_in_parent()
        self.store.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Start empty: the parent writes the rows that were put before."""
        self.store.abandon()
        self._reset()


def _what_became(files: list[tuple[Path | OSError, int]]) -> str:
    """Return what became of rows, as the end of a sentence: kept in files, lost, or some of each."""
    paths = [path for path, _ in files if isinstance(path, Path)]
    n_kept = sum(number for path, number in files if isinstance(path, Path))
    n_lost = sum(number for _, number in files) - n_kept
    more = f" and {count(len(paths) - 1, 'file')} like it" if len(paths) > 1 else ""
    kept = [f"kept in {paths[0]}{more}, and will be added when the ledger can be opened again"] if paths else []
    errors = [error_text(error) for error, _ in files if isinstance(error, OSError)]
    lost = [f"lost, because no file can be written either ({errors[0]})"] if errors else []
    if kept and lost:
        return f"{n_kept} of them {_was(n_kept)} {kept[0]}; {n_lost} {_was(n_lost)} {lost[0]}"
    return f"{_was(n_kept + n_lost)} {(kept or lost)[0]}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
