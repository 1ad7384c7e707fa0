"""Writes an exported text to the file that the user names."""

from __future__ import annotations

import os
from pathlib import Path

from ipyllm.errors import bad_request

__all__ = ["write_export"]


def write_export(text: str, path: str | os.PathLike[str]) -> None:
    """Write ``text`` as UTF-8; raise LLMError if the file cannot be written."""
    try:
        Path(path).expanduser().write_text(text, encoding="utf-8", errors="replace")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise bad_request(f"The file {os.fspath(path)!r} cannot be written: {reason}.") from None
