"""Packs what a page gets as one binary value: deflated JSON, which ``static/unpack.js`` reads."""

from __future__ import annotations

import json
import zlib
from typing import Any

__all__ = ["packed"]


def packed(payload: Any) -> bytes:
    """Return a payload as deflated JSON (zlib's format, which browsers call ``deflate``).

    Examples
    --------
    >>> zlib.decompress(packed({"text": "Größe"})).decode()
    '{"text":"Größe"}'
    """
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8", "replace"), 1)
