"""SQLite file that kernels share (ledger or cache): creation, replacement, damage, locks.

The file is readable by its owner only. This module detects that it was deleted or replaced under an open connection,
and moves it aside when it is damaged.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["SQLiteFile", "error_text", "is_busy", "is_damaged", "retry_while_busy"]

_T = TypeVar("_T")

# Primary result codes, written out because importing sqlite3 would slow down `%load_ext`.
_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
_DAMAGED = {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB


class SQLiteFile:
    """The file at an absolute path, as it was when it was last opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Create the file (mode 0600) and its folder (0700) where they are missing. Call it before each opening."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            # Only if it is new: closing a second descriptor of an open file would drop SQLite's locks.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._inode = self._current_inode()

    @property
    def is_replaced(self) -> bool:
        """Whether the path now has another file, or none. SQLite would continue to write into a deleted file."""
        return self._current_inode() != self._inode

    def move_aside(self) -> Path:
        """Rename a damaged file and its log, once all connections to it are closed, and return the new path.

        A file that was replaced is not renamed: another kernel has moved the old one, and this is its new file.
        """
        aside = self.path.with_name(f"{self.path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        if not self.is_replaced:
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside

    def _current_inode(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _code(exc: BaseException) -> int:
    """Return the primary SQLite error code of ``exc``, even if SQLAlchemy has wrapped it; 0 for another error."""
    return getattr(getattr(exc, "orig", None) or exc, "sqlite_errorcode", 0) & 0xFF


def error_text(exc: BaseException) -> str:
    """Return the database's message, without SQL and values, keys masked."""
    original = getattr(exc, "orig", None) or exc
    text = original.strerror if isinstance(original, OSError) and original.strerror else str(original)
    return redact(text or type(original).__name__).strip().partition("\n")[0]


def is_busy(exc: BaseException) -> bool:
    """Return whether ``exc`` only says that another connection is writing."""
    return _code(exc) in _BUSY


def is_damaged(exc: BaseException) -> bool:
    """Return whether ``exc`` says that the file is not a database any more."""
    return _code(exc) in _DAMAGED


def retry_while_busy(action: Callable[[], _T], *, for_s: float, pause_s: tuple[float, float]) -> _T:
    """Return the result of ``action``, called again for ``for_s`` seconds while others write.

    Pauses between calls are random, between the two of ``pause_s`` (seconds). SQLite's own busy timeout is not
    enough: processes that set WAL mode on a new file at once fail in spite of it, and its sleeps get longer, so
    that later processes overtake.
    """
    give_up = time.monotonic() + for_s
    while True:
        try:
            return action()
        except Exception as exc:
            if not is_busy(exc) or time.monotonic() > give_up:
                raise
        time.sleep(random.uniform(*pause_s))  # noqa: S311 - no secret
