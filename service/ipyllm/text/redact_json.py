"""Masks keys in all texts of a JSON value, but not in images and encrypted reasoning, which that would damage."""

from __future__ import annotations

from typing import Any

from ipyllm.text.redact import redact

__all__ = ["redact_json"]


def redact_json(value: Any) -> Any:
    """Return a copy of ``value`` without keys.

    Examples
    --------
    >>> redact_json({"content": ["sk-proj-0123456789abcdef", 1]})
    {'content': ['[key hidden]', 1]}
    """
    if isinstance(value, str):
        # In base64, a pattern matches only by chance, and masking would damage the image.
        return value if value.startswith("data:image/") else redact(value)
    if isinstance(value, dict):
        # Encrypted reasoning is base64 as well, and its model would refuse a damaged one.
        return {name: item if name == "encrypted_content" else redact_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return value
