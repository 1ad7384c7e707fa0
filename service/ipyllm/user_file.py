"""Files that users name: their paths, and writing and reading them, whatever is there.

A folder, a device or a pipe is not a file: writing to a pipe would wait without end, and a device may have no end.
"""

from __future__ import annotations

import os
from pathlib import Path

from ipyllm.atomic_file import atomic_write
from ipyllm.errors import bad_request
from ipyllm.text.format import shorten

__all__ = ["file_path", "read_file", "write_file"]

_MAX_SHOWN = 120  # characters of a path in an error


def file_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file, with ``~`` as the home folder; raise ``bad_request`` for what is no path.

    Examples
    --------
    >>> file_path(7)
    Traceback (most recent call last):
        ...
    ipyllm.errors.LLMError: The name of a file must be text or a Path, not a value of type int.
    """
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(given, str):
        raise bad_request(f"The name of a file must be text or a Path, not a value of type {type(given).__name__}.")
    if not given.strip() or "\x00" in given:
        raise bad_request(f"{shorten(repr(given), _MAX_SHOWN)} is not the name of a file.")
    try:
        return Path(given).expanduser().absolute()
    except (OSError, RuntimeError) as exc:  # the working folder was deleted; there is no such home
        raise bad_request(f"{shorten(given, _MAX_SHOWN)} is not the name of a file: {_reason(exc)}.") from None


def write_file(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text to a file in one step, readable by its owner only, and return its absolute path.

    Raises
    ------
    LLMError
        ``bad_request``: it is not the path of a file, or cannot be written. An existing file is then unchanged.
    """
    target = file_path(path)
    try:
        with atomic_write(target) as file:
            file.write(text.encode("utf-8", "replace"))
    except (OSError, ValueError) as exc:
        raise bad_request(f"{shorten(str(target), _MAX_SHOWN)} cannot be written: {_reason(exc)}.") from None
    return target


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file; raise OSError, or ValueError if it is no file, or larger than ``most_bytes``."""
    if not path.is_file() and path.exists():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes // 1_000_000:,} MB")
    return content


def _reason(exc: Exception) -> str:
    return ((exc.strerror if isinstance(exc, OSError) else None) or str(exc)).rstrip(".")
