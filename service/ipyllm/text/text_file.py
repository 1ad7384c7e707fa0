"""Reads text files as editors and shells write them: UTF-8 with or without a byte order mark, and UTF-16.

Windows PowerShell 5 writes UTF-16 where it redirects output, and Notepad a byte order mark.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode_text", "is_decoded", "read_dotenv"]

_MARKS: Final = (  # those of UTF-32 begin with those of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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


def read_dotenv(path: str | Path = ".env") -> Mapping[str, str | None]:
    """Return the variables in a ``.env`` file; none if there is no such file.

    Bytes that are not UTF-8 may stand in comments and in variables of other programs: see :func:`is_decoded`.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if path.is_file() else b""  # a link to a device would have no end
    except OSError:  # none, or not ours to read
        return {}
    encoding = _encoding(data)
    return dotenv_values(
        stream=io.StringIO(data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace"))
    )


def is_decoded(value: str | None) -> bool:
    """Return whether a variable of a ``.env`` file holds text only, and no bytes that are not UTF-8."""
    return value is None or not any("\udc80" <= char <= "\udcff" for char in value)
