"""Text that can be written down: lone halves of surrogate pairs exist in Python only, and no UTF-8 holds them."""

from __future__ import annotations

from typing import Any

__all__ = ["replace_surrogates"]


def replace_surrogates(value: Any) -> Any:
    r"""Return ``value`` with its halves of characters joined where they belong together, else replaced by U+FFFD.

    They come from broken tokenisers, file names and pages. Texts are found in dictionaries and lists too.

    Examples
    --------
    >>> replace_surrogates({"text": "half a sign: \ud83d", "whole": "\ud83d\ude00", "n": [1]})
    {'text': 'half a sign: �', 'whole': '😀', 'n': [1]}
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates(item) for name, item in value.items()}
    return [replace_surrogates(item) for item in value] if isinstance(value, list) else value
