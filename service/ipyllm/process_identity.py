"""Identity of a process, and whether it still runs: tells work in progress from what a killed process left behind."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ProcessIdentity", "host_name", "is_dead", "this_process"]

# Start times are counted from the boot, whose time moves when the clock is set.
_SAME_START_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Host, process id and start time (Unix seconds), since the system reuses process ids."""

    host: str
    pid: int
    start: float


@cache
def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


@cache
def _host() -> str:
    """Return the host name and, on Linux, the namespace of its process ids: containers have their own."""
    try:
        return f"{host_name()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return host_name()


@cache
def _identity(pid: int) -> ProcessIdentity:
    import psutil

    return ProcessIdentity(_host(), pid, psutil.Process(pid).create_time())


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return _identity(os.getpid())


def is_dead(process: ProcessIdentity, silent_s: float, limit_s: float) -> bool:
    """Return whether ``process``, last heard of ``silent_s`` seconds ago, has probably ended.

    A process on another host cannot be looked up; it counts as dead after ``limit_s`` seconds of silence.
    """
    if process.host != _host():
        return silent_s > limit_s
    import psutil

    try:
        found = psutil.Process(process.pid)
        if found.status() == psutil.STATUS_ZOMBIE:  # killed, and not yet waited for by its parent
            return True
        return abs(found.create_time() - process.start) > _SAME_START_S
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
