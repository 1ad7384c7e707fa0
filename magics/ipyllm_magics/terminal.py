"""An answer that grows in a terminal: plain text as it comes, without the control sequences it may hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ipyllm.rendering import TerminalFilter, footer_text

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["TerminalDrawing"]

_DIM, _NORMAL = "\x1b[2m", "\x1b[22m"
_PAUSE_S = 0.03


class TerminalDrawing:
    """Writes to standard output; colours only where it is a terminal."""

    def __init__(self) -> None:
        self._filter = TerminalFilter()
        self._pending: list[str] = []
        self._reasoned = False
        self._written = ""
        self._is_tty = sys.stdout.isatty()

    def waiting(self, elapsed_s: float) -> None:
        """Say nothing: a terminal keeps every line."""

    def text(self, piece: str) -> None:
        """Take in visible text."""
        if self._reasoned:
            self._reasoned = False
            self._pending.append("\n" + self._dim_end() + "\n")
        self._pending.append(self._filter.feed(piece))

    def reasoning(self, piece: str) -> None:
        """Take in reasoning, shown dim."""
        if not self._reasoned:
            self._reasoned = True
            self._pending.append(_DIM if self._is_tty else "")
        self._pending.append(self._filter.feed(piece))

    def _dim_end(self) -> str:
        return _NORMAL if self._is_tty else ""

    def draw(self) -> None:
        """Write what is new."""
        text = "".join(self._pending)
        self._pending.clear()
        if text:
            self._written = text[-1]
            sys.stdout.write(text)
            sys.stdout.flush()

    def pause(self) -> float:
        """Return a thirtieth of a second, which reads as continuous."""
        return _PAUSE_S

    def finish(self, response: ChatResponse) -> None:
        """Write the rest and the footer."""
        if self._reasoned:
            self._pending.append(self._dim_end())
        self.draw()
        if not self._written and response.status == "error":
            return  # the error itself says it all
        line = footer_text(response)
        lead = "\n" if self._written not in {"", "\n"} else ""
        sys.stdout.write(f"{lead}{_DIM}{line}{_NORMAL}\n" if self._is_tty else f"{lead}{line}\n")
        sys.stdout.flush()
