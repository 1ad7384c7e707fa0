"""Replacement of lone surrogates, which Python strings can hold but UTF-8 cannot."""

from __future__ import annotations

from typing import Any

__all__ = ["replace_surrogates"]


def replace_surrogates(value: Any) -> Any:
    """Return ``value`` with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    They come from broken tokenisers, file names and web pages. Strings in dictionaries and lists are converted too.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates(item) for name, item in value.items()}
    return [replace_surrogates(item) for item in value] if isinstance(value, list) else value
