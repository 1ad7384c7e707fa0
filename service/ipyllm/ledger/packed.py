"""JSON as bytes, compressed if it is long: what a column of the kind ``packed`` holds."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from ipyllm.text.redact_json import redact_json

__all__ = ["pack", "unpack"]

_LEVEL: Final = 1  # of zlib; level 6 takes twice as long for 5 % less
_LONG: Final = 500  # bytes; setting up zlib would take half of the time for a short request

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def pack(value: Any, *, files: bool = True) -> bytes:
    """Return a JSON value, keys masked, for :func:`unpack`; unless ``files``, without images and other files.

    Examples
    --------
    >>> unpack(pack({"messages": [{"role": "user", "content": "Hello"}]}))
    {'messages': [{'role': 'user', 'content': 'Hello'}]}
    """
    text = _encode(redact_json(value, files=files))
    data = text.encode("utf-8", "surrogatepass")
    return data if len(data) < _LONG else zlib.compress(data, _LEVEL)


def unpack(packed: bytes) -> Any:
    """Return the value that :func:`pack` was given; raise ValueError for damaged data."""
    try:
        data = packed if packed[:1] in b"{[" else zlib.decompress(packed)
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except zlib.error as exc:
        raise ValueError(str(exc)) from None
