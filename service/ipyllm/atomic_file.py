"""Files that are written in one step: whole under their name, or not at all; for their owner only."""

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
    """Give a file to write into, which takes the place of ``target`` when the block ends well.

    Raises
    ------
    OSError
        It cannot be written. What was there is untouched.
    ValueError
        ``target`` is there and no file.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "note.txt") as file:
    ...         _ = file.write(b"whole")
    ...     (Path(folder) / "note.txt").read_text()
    'whole'
    """
    if target.exists() and not target.is_file():
        raise ValueError("it is no file")  # a folder, or a device, which a rename would destroy
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
