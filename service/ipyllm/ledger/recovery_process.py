"""Process that copies the rows of a large damaged file into the new ledger, with low priority.

It belongs to no kernel: it goes on when the one that started it ends. What it prints is the sentence about the result.
"""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from ipyllm.ledger.recovered_file import copy_rows, n_copied, what_came_of_it
from ipyllm.ledger.recovery_record import MAX_ATTEMPTS, claim, record_end, record_progress
from ipyllm.ledger.sqlite_file import SQLiteFile, error_text
from ipyllm.ledger.wait_limit import begin_writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.ledger.recovery import Recovery

__all__ = ["can_start", "recover", "start"]

_NICE: Final = 10
_BUSY_S: Final = 60.0
"""Seconds to wait for other processes to finish a transaction."""

_PROGRESS_S: Final = 1.0
"""Seconds between two records of the progress."""


def can_start() -> bool:
    """Return whether this process can start another interpreter."""
    return bool(sys.executable)


def start(ledger: Path, damaged: Path) -> subprocess.Popen[str]:
    """Start the process; the caller reads its stdout."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "ipyllm.ledger.recovery_process", str(ledger), str(damaged)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a script's user may wait until nobody has its stderr open
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=ledger.parent,  # that of the notebook may be deleted
        encoding="utf-8",
        start_new_session=True,  # no interrupt from the terminal
    )


def recover(ledger: Path, damaged: Path, say: Callable[[str], object]) -> None:
    """Copy the rows of the file ``damaged``, unless another process does, rename it, and ``say`` what came of it."""
    file = SQLiteFile(ledger)
    file.prepare()
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(ledger), poolclass=sa.StaticPool)
    with closing(engine.connect()) as connection:
        _begin(connection)
        attempt = claim(connection, damaged.name, damaged.stat().st_size)
        connection.commit()
        if attempt == 0:
            return
        said = _recovered(connection, file, damaged, attempt)
        _begin(connection)
        record_end(connection, damaged.name, said)
        connection.commit()
        file.mark_recovered(damaged)
    engine.dispose()
    say(f"The ledger at {ledger} {said}")


def _recovered(connection: sa.Connection, file: SQLiteFile, damaged: Path, attempt: int) -> str:
    """Copy the rows, and return what is to say about it; raise an error that another attempt may overcome."""
    kept = file.recovered_name(damaged)
    why = "reading it ended the process"
    if attempt <= MAX_ATTEMPTS:
        try:
            return what_came_of_it(_copy(connection, file, damaged), kept)
        except (OSError, MemoryError, sa_exc.SQLAlchemyError) as exc:
            connection.rollback()
            if file.is_replaced or attempt < MAX_ATTEMPTS:
                raise
            why = error_text(exc)
    return (
        f"was damaged, and its rows could not be read to the end ({why}). The old file was kept as {kept}. "
        f"To try again, rename it to {damaged.name}, and restart the kernel."
    )


def _copy(connection: sa.Connection, file: SQLiteFile, damaged: Path) -> Recovery:
    recorded_at = -math.inf
    for recovery in copy_rows(connection, _begin, damaged):
        if file.is_replaced:  # what was copied is lost; the opening of the new file begins anew
            raise FileNotFoundError(file.path)
        if time.monotonic() > recorded_at + _PROGRESS_S:
            _begin(connection)
            record_progress(connection, damaged.name, recovery.n_bytes, *n_copied(recovery))
            connection.commit()
            recorded_at = time.monotonic()
    return recovery


def _begin(connection: sa.Connection) -> None:
    begin_writing(connection, _BUSY_S)


def _connect(ledger: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{ledger.as_uri()}?mode=rw", uri=True)  # never a new file
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def main() -> None:
    """Run the process."""
    if hasattr(os, "nice"):
        os.nice(_NICE)

    def say(sentence: str) -> None:
        with suppress(BrokenPipeError):  # the one that started it has ended
            print(sentence, flush=True)  # noqa: T201
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's end does not fail either

    with suppress(FileNotFoundError):  # another process was faster, or the ledger was deleted
        recover(Path(sys.argv[1]), Path(sys.argv[2]), say)


if __name__ == "__main__":
    main()
