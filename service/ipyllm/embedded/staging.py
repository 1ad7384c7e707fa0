"""Folders for unfinished downloads: on the models' own file system, and cleared away when their owner is dead.

The folder's name tells its owner (host, process, the process's start), so that there is no lock to go stale:
a folder of a live pull is never touched, one of a dead pull is removed by the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["staging_folder"]

_PREFIX = ".pull"
_FOREIGN_MAX_AGE_S = 24 * 3600.0


@contextlib.contextmanager
def staging_folder(models: Path) -> Iterator[Path]:
    """Make a folder inside ``models`` that is gone at the end, and remove those that dead pulls have left."""
    models.mkdir(parents=True, exist_ok=True)
    _remove_stale(models)
    pid = os.getpid()
    prefix = f"{_PREFIX}@{_host()}@{pid}@{_started(pid) or 0:.2f}@"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=models))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(models: Path) -> None:
    for folder in models.glob(f"{_PREFIX}@*"):
        if not _may_be_alive(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _may_be_alive(folder: Path) -> bool:
    try:
        _, host, pid, started, _ = folder.name.split("@")
        if host == _host():
            start = _started(int(pid))
            return start is not None and abs(start - float(started)) < 1  # or the number was given anew
        # A home folder on the network: another machine's processes cannot be seen from here.
        return time.time() - folder.stat().st_mtime < _FOREIGN_MAX_AGE_S
    except (ValueError, OSError):
        return False


def _started(pid: int) -> float | None:
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0.0


def _host() -> str:
    return socket.gethostname().replace("@", "_").replace("/", "_") or "localhost"
