"""The text of an answer as it grows, which can be read from any position: what a slow or a returning client lacks."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Literal, NamedTuple

__all__ = ["Delta", "GrowingText"]

# With what a string needs besides, less than 512 bytes: Python then keeps no holes between them.
_PIECE_CHARS: Final = 400


class Delta(NamedTuple):
    """A piece of an answer; ``at`` is the position behind it."""

    kind: Literal["text", "reasoning"]
    text: str
    at: int


class GrowingText:
    """Text and reasoning in the order of their arrival. Positions count the characters of both.

    Examples
    --------
    >>> growing = GrowingText()
    >>> growing.add("reasoning", "Hm. "), growing.add("text", "Four"), growing.add("text", ".")
    (None, None, None)
    >>> growing.since(6)
    [Delta(kind='text', text='ur.', at=9)]
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[Literal["text", "reasoning"], str]] = []
        self._ends: list[int] = []

    @property
    def length(self) -> int:
        """The position behind all that has arrived."""
        return self._ends[-1] if self._ends else 0

    def add(self, kind: Literal["text", "reasoning"], text: str) -> None:
        """Add what has arrived."""
        if not text:
            return
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last[0] == kind and len(last[1]) < _PIECE_CHARS:  # thousands of tokens are few pieces
            self._pieces[-1] = (kind, last[1] + text)
            self._ends[-1] += len(text)
        else:
            self._ends.append(self.length + len(text))
            self._pieces.append((kind, text))

    def since(self, at: int) -> list[Delta]:
        """Return all that stands behind a position, neighbours of one kind joined."""
        first = bisect_right(self._ends, at)
        deltas: list[Delta] = []
        texts: list[str] = []
        for n in range(first, len(self._pieces)):
            kind, text = self._pieces[n]
            if n == first:
                text = text[len(text) - (self._ends[n] - at) :]
            texts.append(text)
            if n + 1 == len(self._pieces) or self._pieces[n + 1][0] != kind:
                deltas.append(Delta(kind, "".join(texts), self._ends[n]))
                texts = []
        return deltas
