"""Reads text files as editors and shells write them: UTF-8 with or without a byte order mark, and UTF-16.

Windows PowerShell 5 writes UTF-16 where it redirects output, and Notepad a byte order mark.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode_text", "file_state", "is_decoded", "read_dotenv", "read_settings", "unresolved"]

_MOST_BYTES: Final = 1_000_000
_REFERENCE: Final = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")

_MARKS: Final = (  # those of UTF-32 begin with those of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def file_state(path: str | Path) -> object:
    """Return what changes when a file is written or replaced; None where there is none. As cheap as can be."""
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def decode_text(data: bytes) -> str:
    r"""Return the text of a file; raise ValueError, with half a sentence, for one in another encoding.

    Examples
    --------
    >>> decode_text(b"\xef\xbb\xbfmodel"), decode_text("model".encode("utf-16"))
    ('model', 'model')
    >>> decode_text("x\nclé".encode("latin-1"))
    Traceback (most recent call last):
        ...
    ValueError: it is not UTF-8 text, because of the byte 0xE9 in line 2; save it as UTF-8
    """
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        if encoding != "utf-8":
            raise ValueError("it is not text; save it as UTF-8") from None
        line = data.count(b"\n", 0, exc.start) + 1
        raise ValueError(
            f"it is not UTF-8 text, because of the byte 0x{data[exc.start]:02X} in line {line}; save it as UTF-8"
        ) from None


def _encoding(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\x00" in data[:2]:  # UTF-16 without a mark: its first character is ASCII in settings
        return "utf-16-le" if data[:1] != b"\x00" else "utf-16-be"
    return "utf-8"


def read_settings(path: Path) -> bytes:
    """Return the content of a file of settings; raise ValueError, with half a sentence, for what cannot be one."""
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, and a device have no end
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES / 1e6:.0f} MB, which no settings need")
    return data


def read_dotenv(path: str | Path = ".env") -> Mapping[str, str | None]:
    """Return the variables in a ``.env`` file; none if there is no such file.

    ``${NAME}`` stands for an earlier variable of the file. One of the environment is not put in, because the file may
    come with a folder, and a key of the user's would go wherever it says: see :func:`unresolved`.

    Bytes that are not UTF-8 may stand in comments and in variables of other programs: see :func:`is_decoded`.

    Raises
    ------
    ValueError
        The file is too large, or its variables are. The message is half a sentence.
    """
    path = Path(path)
    try:
        data = read_settings(path) if path.is_file() else b""
    except OSError:  # none, or not ours to read
        return {}
    encoding = _encoding(data)
    text = data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    return _resolved(dotenv_values(stream=io.StringIO(text), interpolate=False))


def _resolved(variables: Mapping[str, str | None]) -> Mapping[str, str | None]:
    resolved: dict[str, str | None] = {}

    def put_in(match: re.Match[str]) -> str:
        name, default = match.groups()
        return (resolved[name] or "") if name in resolved else default if default is not None else match[0]

    size = 0
    for name, value in variables.items():
        resolved[name] = None if value is None else _REFERENCE.sub(put_in, value)
        size += len(resolved[name] or "")
        if size > _MOST_BYTES:
            raise ValueError(f"its variables are larger than {_MOST_BYTES / 1e6:.0f} MB, which no settings need")
    return resolved


def unresolved(value: str | None) -> str | None:
    """Return the first ``${NAME}`` in a variable of a ``.env`` file that names none of the file; None for none.

    Examples
    --------
    >>> unresolved("http://localhost/${OPENAI_API_KEY}"), unresolved("$HOME")
    ('${OPENAI_API_KEY}', None)
    """
    found = _REFERENCE.search(value or "")
    return found[0] if found else None


def is_decoded(value: str | None) -> bool:
    """Return whether a variable of a ``.env`` file holds text only, and no bytes that are not UTF-8."""
    return value is None or not any("\udc80" <= char <= "\udcff" for char in value)
