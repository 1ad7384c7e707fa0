"""Compressed JSON: what a column of the kind ``packed`` holds."""

from __future__ import annotations

import json
import re
import zlib
from hashlib import sha256
from typing import Any, Final

from ipyllm.text.redact_json import redact_json

__all__ = ["pack", "unpack", "without_files"]

_LEVEL: Final = 1  # of zlib: a request takes 20 µs, and at level 6 twice as long for 5 % less
_MIN_FILE: Final = 4_000  # characters
_FILE: Final = re.compile(r"(data:[^,]{0,100};base64,)?[A-Za-z0-9+/_-]{256}")


def pack(value: Any) -> bytes:
    """Return a JSON value, keys masked and compressed, for :func:`unpack`.

    Examples
    --------
    >>> unpack(pack({"messages": [{"role": "user", "content": "Hello"}]}))
    {'messages': [{'role': 'user', 'content': 'Hello'}]}
    """
    text = json.dumps(redact_json(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return zlib.compress(text.encode("utf-8", "surrogatepass"), _LEVEL)


def unpack(packed: bytes) -> Any:
    """Return the value that :func:`pack` was given; raise ValueError for damaged data."""
    try:
        return json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    except zlib.error as exc:
        raise ValueError(str(exc)) from None


def without_files(value: Any) -> Any:
    """Return a copy of a JSON value with the size and the SHA-256 of images and other files in place of their base64.

    Examples
    --------
    >>> without_files({"url": "data:image/png;base64," + 2000 * "iVBO"})["url"]
    'data:image/png;base64,[8,000 characters, SHA-256 480e94b69b64f8ad]'
    """
    if isinstance(value, str):
        head = _FILE.match(value) if len(value) > _MIN_FILE else None
        if head is None:
            return value
        kind = head[1] or ""
        data = value[len(kind) :]
        digest = sha256(data.encode("utf-8", "replace")).hexdigest()[:16]
        return f"{kind}[{len(data):,} characters, SHA-256 {digest}]"
    if isinstance(value, dict):
        return {name: without_files(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_files(item) for item in value]
    return value
