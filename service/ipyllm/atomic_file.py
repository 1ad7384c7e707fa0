"""Atomic writing of files that only their owner may read."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``target`` when the block ends without an exception.

    Raises OSError if the file cannot be written, and ValueError if ``target`` exists and is not a file. ``target`` is
    then unchanged.
    """
    if target.exists() and not target.is_file():
        raise ValueError("it is not a file")  # a folder, or a device, which a rename would destroy
    handle, name = tempfile.mkstemp(prefix=".ipyllm-", dir=target.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
