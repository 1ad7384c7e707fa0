"""Folders for unfinished downloads, on the file system of the models, removed when their process has died.

The folder's name identifies the process, so no lock can become stale: the folder of a live pull is never touched, and
that of a dead one is removed by the next pull.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ipyllm.process_identity import ProcessIdentity, is_dead, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["staging_folder"]

_PREFIX = ".pull"
_FOREIGN_MAX_AGE_S = 24 * 3600.0


@contextlib.contextmanager
def staging_folder(models: Path) -> Iterator[Path]:
    """Create a temporary folder in ``models``, after removing those of dead pulls."""
    models.mkdir(parents=True, exist_ok=True)
    _remove_stale(models)
    owner = this_process()
    prefix = f"{_PREFIX}@{_as_file_name(owner.host)}@{owner.pid}@{owner.start:.2f}@"
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
        _, host, pid, start, _ = folder.name.split("@")
        this_host = this_process().host
        # A home folder may be on the network: another machine's processes cannot be looked up.
        owner = ProcessIdentity(this_host if host == _as_file_name(this_host) else host, int(pid), float(start))
        return not is_dead(owner, time.time() - folder.stat().st_mtime, _FOREIGN_MAX_AGE_S)
    except (ValueError, OSError):
        return False


def _as_file_name(host: str) -> str:
    return re.sub(r"[^\w.-]", "_", host)
