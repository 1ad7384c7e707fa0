"""Processes that run one of our scripts on an SQLite ledger, and send what they read through a pipe."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ipyllm.text.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["end_reader", "last_words", "log_slower_read", "start_reader"]


def start_reader(script: Path, path: Path, flags: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``script`` with the address of the file at ``path``.

    ``flags`` are the interpreter's, ``options`` those of Popen. Raises OSError if no process can be started.
    """
    return subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, *flags, str(script), path.as_uri()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # no interrupt from the terminal; we kill it
        **options,
    )


def last_words(reader: subprocess.Popen[bytes]) -> str:
    """Return the last line of its stderr, in which a script says why it ended; kill it if it has not."""
    assert reader.stderr is not None
    reader.kill()  # one that still writes would never close it
    return redact(reader.stderr.read().decode(errors="replace")).strip().rpartition("\n")[2]


def end_reader(reader: subprocess.Popen[bytes]) -> None:
    """Kill it, close its pipes, and wait for its end."""
    reader.kill()
    with reader:
        pass


def log_slower_read(path: Path, why: str) -> None:
    """Log that a large read failed, and that rows are read in this process instead."""
    logging.getLogger("ipyllm.ledger").warning("A large read of %s failed (%s); reading row by row instead.", path, why)
