"""Lone surrogates, which Python strings can hold but UTF-8 cannot: replaced, or joined if they are two halves."""

from __future__ import annotations

from typing import Any

__all__ = ["SurrogateJoiner", "replace_surrogates"]


def replace_surrogates(value: Any) -> Any:
    """Return ``value`` with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    They come from broken tokenisers, file names and web pages. Strings in dictionaries and lists are converted too.
    """
    if isinstance(value, str):
        return _without_surrogates(value)
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates(item) for name, item in value.items()}
    return [replace_surrogates(item) for item in value] if isinstance(value, list) else value


def _without_surrogates(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class SurrogateJoiner:
    r"""Joins the two halves of a character that end one piece of text and begin the next.

    Some servers cut their tokens into UTF-16 units, so that an emoji comes as ``"\ud83d"`` and ``"\ude00"``.

    Examples
    --------
    >>> joiner = SurrogateJoiner()
    >>> joiner.feed("Hi \ud83d"), joiner.feed("\ude00!")
    ('Hi ', '😀!')
    """

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    @property
    def has_half(self) -> bool:
        """Whether a first half waits for the next piece."""
        return bool(self._half)

    def feed(self, piece: str) -> str:
        """Return the text that ``piece`` completes; a first half at its end is kept for the next piece."""
        if not self._half and piece.isascii():
            return piece
        text, self._half = self._half + piece, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        joined: str = replace_surrogates(text)
        return joined

    def close(self) -> str:
        """Return U+FFFD if a first half is left at the end."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""
