"""Separates reasoning that a model writes into its text between tags, as ``<think>…</think>``."""

from __future__ import annotations

from typing import Final

__all__ = ["ReasoningTag"]

_MAX_HELD: Final = 1_000  # characters of white space, after which no tag is expected


class ReasoningTag:
    r"""Separates the reasoning at the beginning of an answer from its text, piece by piece.

    Only a tag before all other text counts: the same letters later are part of the answer. Reasoning that never ends
    was cut off, and there is no answer. ``is_opened`` says that the opening tag may be missing: the templates of some
    models write it into the prompt.

    Examples
    --------
    >>> tag = ReasoningTag("think")
    >>> [tag.feed(piece) for piece in ("<thi", "nk>So", " 4.</think>", "\n\nFour.")]
    [('', ''), ('So', ''), (' 4.', ''), ('', 'Four.')]
    >>> ReasoningTag("think", is_opened=True).feed("So 4.</think>Four.")
    ('So 4.', 'Four.')
    """

    __slots__ = ("_at_start", "_close", "_held", "_inside", "_open", "_skips_space", "is_done", "is_opened")

    def __init__(self, name: str, *, is_opened: bool = False) -> None:
        self._open, self._close = f"<{name}>", f"</{name}>"
        self.is_opened = is_opened
        self._held = ""  # may be the beginning of a tag
        self._at_start = True
        self._inside = False
        self._skips_space = False  # that around the reasoning
        self.is_done = False
        """Whether all that follows is text, which need not pass :meth:`feed`."""

    def feed(self, piece: str) -> tuple[str, str]:
        """Return the reasoning and the text that ``piece`` completes."""
        if self.is_done:
            return "", piece
        piece, self._held = self._held + piece, ""
        if self._at_start:
            start = piece.lstrip()
            if start.startswith(self._open):
                piece = start[len(self._open) :]
            elif self._open.startswith(start) and len(piece) <= _MAX_HELD:
                self._held = piece
                return "", ""
            elif not self.is_opened:
                self.is_done = True
                return "", piece
            self._at_start, self._inside, self._skips_space = False, True, True
        reasoning = ""
        if self._inside:
            reasoning, found, piece = piece.partition(self._close)
            if not found:
                kept = _begun(reasoning, self._close)
                self._held = reasoning[len(reasoning) - kept :]
                reasoning, piece = reasoning[: len(reasoning) - kept], ""
            if self._skips_space:
                reasoning = reasoning.lstrip()
                self._skips_space = not reasoning
            self._inside, self._skips_space = not found, bool(found) or self._skips_space
        if not self._inside:
            piece = piece.lstrip()
            self.is_done = bool(piece)
        return reasoning, piece

    @property
    def is_inside(self) -> bool:
        """Whether the reasoning has begun and not ended."""
        return self._inside

    def close(self) -> tuple[str, str]:
        """Return what was held back at the end, which began no tag: reasoning and text."""
        held, self._held = self._held, ""
        return (held, "") if self._inside else ("", held)


def _begun(text: str, tag: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``tag``."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)
