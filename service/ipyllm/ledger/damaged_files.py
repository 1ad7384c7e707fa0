"""The damaged files beside a ledger, until what can be read of them is in it.

A damaged file is called ``….recovering-…`` until its rows are in the new one, and ``….corrupt-…`` then, so that nothing
is forgotten if a process is killed meanwhile. A small file is read when the ledger is opened. That of a large one takes
minutes, which nobody should wait for, so a process of its own does it (:mod:`ipyllm.ledger.recovery_process`).
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Final

from ipyllm.ledger.recovered_file import copy_rows, what_came_of_it
from ipyllm.ledger.recovery_process import can_start, start
from ipyllm.ledger.recovery_record import is_at_work, mark_told, newly_ended

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa

    from ipyllm.ledger.sqlite_file import SQLiteFile

__all__ = ["DamagedFiles"]

SMALL_BYTES: Final = 8 << 20
"""Largest file that is read at once, in about a second."""

_log = logging.getLogger("ipyllm.ledger")


class DamagedFiles:
    """The damaged files beside one SQLite file.

    ``begin`` begins a transaction that writes, ``say`` takes what the user should know, as the end of a sentence.
    """

    def __init__(self, file: SQLiteFile, begin: Callable[[sa.Connection], None], say: Callable[[str], object]) -> None:
        self._file = file
        self._begin = begin
        self._say = say
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self.remaining = False
        """Whether rows of a damaged file are still being recovered, as of the last look."""

    def take_in(self, engine: sa.Engine) -> None:
        """Recover the small files, and see to it that a process recovers each of the large ones."""
        for path in self._file.damaged_files():
            if not self._is_large(path):
                self._read_now(engine, path)
        with engine.connect() as connection:
            self.look(connection)

    def look(self, connection: sa.Connection) -> None:
        """Say what has ended, and see to it that what has not goes on."""
        waiting = {path.name: path for path in self._file.damaged_files() if self._is_large(path)}
        self.remaining = bool(waiting)
        if ended := newly_ended(connection, waiting):
            connection.rollback()
            self._begin(connection)
            mark_told(connection, ended)
            connection.commit()
            for name, summary in ended.items():
                self._say(summary or f"has the rows of {name} now.")
        for name, path in waiting.items():
            process = self._processes.get(name)
            if (process is None or process.poll() is not None) and not is_at_work(connection, name):
                self._start(path)
        connection.rollback()

    def _is_large(self, path: Path) -> bool:
        log = path.with_name(f"{path.name}-wal")
        try:
            n_bytes = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
        except FileNotFoundError:  # another process was faster
            return False
        return n_bytes > SMALL_BYTES and can_start()

    def _read_now(self, engine: sa.Engine, path: Path) -> None:
        try:
            with engine.connect() as connection:
                for recovery in copy_rows(connection, self._begin, path):
                    known = recovery
            kept = self._file.mark_recovered(path)
        except FileNotFoundError:  # another process was faster
            return
        self._say(what_came_of_it(known, kept.name))

    def _start(self, path: Path) -> None:
        try:
            process = self._processes[path.name] = start(self._file.path, path)
        except OSError as exc:
            _log.warning("The recovery of %s could not be started (%s).", path, exc.strerror)
            return
        _tell(
            f"The ledger at {self._file.path} was damaged. A new file was created, and a process in the background "
            f"recovers the rows of the old one, {path.name} ({path.stat().st_size / 1e6:,.0f} MB)."
        )
        # It ends when the process does. Not joined, so that nothing waits for the recovery.
        threading.Thread(target=_tell_the_end, args=(process,), name="ipyllm-recovery", daemon=True).start()


def _tell_the_end(process: subprocess.Popen[str]) -> None:
    """Print what the process has to say when it ends."""
    with process:
        said, _ = process.communicate()
        if said:
            _tell(said.strip())


def _tell(sentence: str) -> None:
    print(f"ipyllm: {sentence}", file=sys.stderr)  # noqa: T201
