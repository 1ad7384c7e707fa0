"""Masks keys in all texts of a JSON value, but not in images and encrypted reasoning, which that would damage."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

from ipyllm.text.redact import redact

__all__ = ["redact_json"]

_MIN_KEY: Final = 8  # characters; shorter texts need not be searched
_MIN_FILE: Final = 4_000
_FILE: Final = re.compile(r"(data:[^,]{0,100};base64,)?[A-Za-z0-9+/_-]{256}")


def redact_json(value: Any, *, files: bool = True) -> Any:
    """Return a copy of ``value`` without keys; unless ``files``, also without images and other files.

    Their size and SHA-256 take the place of their base64.

    Examples
    --------
    >>> redact_json({"content": ["sk-proj-0123456789abcdef", 1]})
    {'content': ['[key hidden]', 1]}
    >>> redact_json({"url": "data:image/png;base64," + 2000 * "iVBO"}, files=False)["url"]
    'data:image/png;base64,[8,000 characters, SHA-256 08387f72b599f4f2]'
    """
    if isinstance(value, str):
        return value if len(value) < _MIN_KEY else _text(value, files=files)
    if isinstance(value, dict):
        # Encrypted reasoning is base64 as well, and its model would refuse a damaged one.
        return {
            name: item if name == "encrypted_content" and files else redact_json(item, files=files)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_json(item, files=files) for item in value]
    return value


def _text(text: str, *, files: bool) -> str:
    if not files and len(text) > _MIN_FILE and (head := _FILE.match(text)):
        kind = head[1] or ""
        data = text[len(kind) :]
        return f"{kind}[{len(data):,} characters, SHA-256 {sha256(data.encode('utf-8', 'replace')).hexdigest()[:16]}]"
    # In base64, a pattern matches only by chance, and masking would damage the image.
    return text if text.startswith("data:image/") else redact(text)
