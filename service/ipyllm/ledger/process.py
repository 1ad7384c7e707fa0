"""Which process writes a row, and whether it lives: how a running call is told from one that was killed."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["HEARTBEAT_S", "SILENCE_S", "Writer", "is_dead", "this_process"]

HEARTBEAT_S = 60.0
"""A living writer touches its running rows this often, however long the server is silent."""

SILENCE_S = 600.0
"""A writer on another host that touched nothing for so long is taken for dead."""

# The start of a process is counted from the boot, and the moment of the boot moves when the clock is set.
_SAME_START_S = 5.0


@dataclass(frozen=True, slots=True)
class Writer:
    """A process, so named that another with the same number is not taken for it."""

    host: str
    pid: int
    start: float


@cache
def _host() -> str:
    """Return the host name and, on Linux, the space its process numbers belong to: containers have theirs."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


@cache
def _writer(pid: int) -> Writer:
    import psutil

    return Writer(_host(), pid, psutil.Process(pid).create_time())


def this_process() -> Writer:
    """Return the process that runs this.

    Examples
    --------
    >>> this_process().pid == os.getpid()
    True
    """
    return _writer(os.getpid())


def is_dead(writer: Writer, updated_at: datetime | None, now: datetime) -> bool:
    """Whether ``writer`` can no longer finish its rows.

    Parameters
    ----------
    writer : Writer
        As the row names it.
    updated_at : datetime or None
        When the row was last touched.
    now : datetime
        For the silence of writers on other hosts, which cannot be looked up.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> is_dead(this_process(), None, datetime.now(UTC))
    False
    """
    if writer.host != _host():
        return updated_at is None or (now - updated_at).total_seconds() > SILENCE_S
    import psutil

    try:
        process = psutil.Process(writer.pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # killed, and not yet waited for by its parent
            return True
        return abs(process.create_time() - writer.start) > _SAME_START_S
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
