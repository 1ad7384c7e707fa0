"""Patterns of full model names: ``*`` stands for any text, ``{5.1..5.4}`` for a version in a range.

A family is written once: ``openai/gpt-{5.6..}-*`` is every GPT from version 5.6 on.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["Pattern"]

_VERSION = r"(\d{1,2}(?:[.-]\d{1,2})?)(?!\d)"  # 5, 5.6 or 5-6, but not the beginning of a date
_RANGE = re.compile(r"\{(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)?\}")
_LAST = (10**9, 0)

_Version = tuple[int, int]


class Pattern:
    """A compiled pattern. Letters match in upper and lower case.

    Examples
    --------
    >>> Pattern("openai/gpt-{5.6..}-*").matches("openai/gpt-6.1-sol")
    True
    >>> Pattern("openai/gpt-{5..5.4}*").matches("openai/gpt-5.5")
    False
    >>> Pattern("anthropic/claude-opus-{4.7..}").matches("anthropic/claude-opus-5-5")
    True
    """

    def __init__(self, text: str) -> None:
        self._ranges: list[tuple[_Version, _Version]] = []
        expression, end = "", 0
        for found in _RANGE.finditer(text):
            expression += _literal(text[end : found.start()]) + _VERSION
            self._ranges.append((_version(found[1]), _version(found[2]) if found[2] else _LAST))
            end = found.end()
        rest = text[end:]
        if set("{}") & set(re.sub(_RANGE, "", text)):
            raise ValueError(f"a range of versions is written {{5.1..5.4}} or {{5.6..}}, not as in {text!r}")
        self._expression = re.compile(expression + _literal(rest), re.IGNORECASE)

    def matches(self, name: str) -> bool:
        """Return whether the pattern stands for ``name``."""
        found = self._expression.fullmatch(name)
        if found is None:
            return False
        versions = map(_version, found.groups())
        return all(low <= version <= high for version, (low, high) in zip(versions, self._ranges, strict=True))


def _literal(text: str) -> str:
    return ".*?".join(map(re.escape, text.split("*")))


@lru_cache(maxsize=256)
def _version(text: str) -> _Version:
    """Return a version as numbers.

    >>> _version("5.6"), _version("5-5"), _version("6")
    ((5, 6), (5, 5), (6, 0))
    """
    major, _, minor = text.replace("-", ".").partition(".")
    return int(major), int(minor or 0)
