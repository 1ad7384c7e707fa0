"""SQLite file that kernels share (ledger or cache): creation, replacement, damage, locks.

The file is readable by its owner only. This module detects that it was deleted or replaced under an open connection,
and moves it aside when it is damaged. A file of others is refused before it is opened.
"""

from __future__ import annotations

import glob
import os
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ipyllm.ledger.file_origin import LEDGER, Origin
from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["SQLiteFile", "cannot_be_decoded", "error_text", "is_busy", "is_damaged", "retry_while_busy"]

_T = TypeVar("_T")

# Primary result codes, written out because importing sqlite3 would slow down `%load_ext`.
_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
_DAMAGED = {11, 26}  # SQLITE_CORRUPT, SQLITE_NOTADB
_ERROR, _READONLY = 1, 8

_LOGS = ("-wal", "-shm")
_RECOVERING, _CORRUPT = ".recovering-", ".corrupt-"


class SQLiteFile:
    """The file at an absolute path, as it was when it was last opened; ``origin`` tells it from those of others."""

    def __init__(self, path: Path, origin: Origin = LEDGER) -> None:
        self.path = path
        self.log = path.with_name(f"{path.name}-wal")
        self._origin = origin
        self._inode: tuple[int, int] | None = None

    def prepare(self, wait_s: float = 5.0) -> None:
        """Create the file (mode 0600) and its folder (0700) where they are missing. Call it before each opening.

        Waits ``wait_s`` seconds at most for a process that holds it. Raises ForeignFileError for a file that is not
        ours.
        """
        self._origin.check(self.path, wait_s)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            # Only if it is new: closing a second descriptor of an open file would drop SQLite's locks.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._inode = self._current_inode()

    def is_malformed(self, exc: BaseException) -> bool:
        """Return whether our own SQL fails with ``exc`` because the header or the schema of the file is damaged."""
        may_write = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        code = _code(exc)
        return isinstance(exc, UnicodeDecodeError) or code == _ERROR or (code == _READONLY and may_write)

    @property
    def is_replaced(self) -> bool:
        """Whether the path now has another file, or none. SQLite would continue to write into a deleted file."""
        return self._current_inode() != self._inode

    def move_aside(self) -> Path | None:
        """Rename a damaged file and its log, once all connections to it are closed, and return the new path.

        It is one of the :meth:`damaged_files` then. A file that was replaced is not renamed: another kernel has moved
        the old one, and this is its new file. Raises ForeignFileError for a file that is not ours.
        """
        self._origin.check(self.path)
        if self.is_replaced:
            return None
        return self._rename(self.path, f"{self.path.name}{_RECOVERING}{datetime.now(UTC):%Y%m%dT%H%M%S%f}")

    def damaged_files(self) -> list[Path]:
        """Return the files that were moved aside, and of which nobody knows yet what can be read."""
        found = self.path.parent.glob(f"{glob.escape(self.path.name)}{_RECOVERING}*")
        return sorted(path for path in found if not path.name.endswith(_LOGS))

    def recovered_name(self, path: Path) -> str:
        """Return the name that :meth:`mark_recovered` gives to one of the :meth:`damaged_files`."""
        name, _, when = path.name.rpartition(_RECOVERING)
        return f"{name}{_CORRUPT}{when}"

    def mark_recovered(self, path: Path) -> Path:
        """Rename one of the :meth:`damaged_files`, so that it is none any more, and return its new path."""
        return self._rename(path, self.recovered_name(path))

    def _rename(self, path: Path, name: str) -> Path:
        renamed = path.rename(path.with_name(name))
        for suffix in _LOGS:
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(renamed.with_name(name + suffix))
        return renamed

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


def cannot_be_decoded(exc: BaseException) -> bool:
    """Return whether ``exc`` may only say that a value in a row is damaged, for which SQLite has no code."""
    return isinstance(exc, ValueError | TypeError) or _code(exc) in {0, _ERROR}


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
