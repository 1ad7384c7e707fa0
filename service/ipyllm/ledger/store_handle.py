"""Store of a ledger: opened at its first use, and again after its database was lost; with the warnings about it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm.fork_safety import renewed_in_child
from ipyllm.ledger.wait_limit import hold
from ipyllm.ledger.warnings_queue import WarningsQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.ledger.columns import Row, Table
    from ipyllm.ledger.store import Store

__all__ = ["StoreHandle"]

_log = logging.getLogger("ipyllm.ledger")

_FORK_WAIT_S = 2.0
_FORK_READS_S = 10.0  # a child that inherits the mutexes of a read may wait for ever
"""Seconds that a fork waits for the current transaction, and for the open reads."""


class StoreHandle:
    """The store at an SQLAlchemy URL or a path, which is imported and opened when it is needed."""

    def __init__(self, url_or_path: str) -> None:
        self._target = url_or_path
        self._store: Store | None = None
        self._locked_for_fork = False
        self.lock = renewed_in_child(threading.RLock())
        """Held for a transaction."""
        self.warnings = WarningsQueue()

    def __str__(self) -> str:
        if self._store is not None:
            return str(self._store)
        return self._target.partition("://")[0] if "://" in self._target else self._target

    def open(self) -> Store:
        """Return the store."""
        if (store := self._store) is not None:
            return store
        with hold(self.lock):
            if self._store is None:
                from ipyllm.ledger.store import Store

                self._store = Store(self._target, self.lock, self.warn)
            return self._store

    @property
    def is_recovering(self) -> bool:
        """Whether rows of a damaged file are still being recovered, as of the last read."""
        return self._store is not None and self._store.is_recovering

    @property
    def path(self) -> Path | None:
        """Path of the SQLite file; None for a database in memory or of another kind. Does not open the store."""
        scheme, _, path = self._target.rpartition("://")
        if scheme:
            path = path.removeprefix("/").partition("?")[0] if scheme == "sqlite" else ""
        return Path(path).expanduser().absolute() if path not in {"", ":memory:"} else None

    def keep(self, rows: Sequence[tuple[Table, Row]]) -> list[tuple[Path | OSError, int]]:
        """Keep rows that cannot be written in files: paths or errors, each with the number of rows."""
        try:
            return (self._store or self.open()).unwritten.keep_in_files(rows)
        except OSError as exc:
            return [(exc, len(rows))]

    def close(self) -> None:
        """Close all connections. The next use opens new ones."""
        if self._store is not None:
            self._store.close()

    def is_lost(self, exc: Exception) -> bool:
        """Return whether ``exc`` says that the database was lost; the next use creates a new one, and says so."""
        from ipyllm.ledger.database import LedgerDamagedError, LedgerReplacedError

        if isinstance(exc, LedgerDamagedError):
            _log.warning("The ledger at %s is damaged (%s).", self, exc)
        elif isinstance(exc, LedgerReplacedError):
            self.warn("was removed or replaced while in use. A new one was created.")
        else:
            return False
        return True

    def warn(self, what: str) -> None:
        """Log and queue a sentence that says ``what`` about the ledger, once."""
        self.warnings.add(f"The ledger at {self} {what}")

    def before_fork(self) -> None:
        """Close the file, and hold the lock."""
        self._locked_for_fork = self.lock.acquire(timeout=_FORK_WAIT_S)
        if self._locked_for_fork and self._store is not None:
            self._store.before_fork(_FORK_READS_S)

    def after_fork_in_parent(self) -> None:
        """Release the lock."""
        if self._locked_for_fork:
            self._locked_for_fork = False
            if self._store is not None:
                self._store.after_fork_in_parent()
            self.lock.release()

    def abandon(self) -> None:
        """Drop the parent's connections in a forked child, without closing them."""
        if self._store is not None:
            self._store.abandon()
