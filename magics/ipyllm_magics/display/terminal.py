"""An answer that grows in a terminal: plain text as it comes, without the control sequences it may hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ipyllm.rendering import footer_text
from ipyllm.text.terminal import TerminalFilter
from ipyllm_magics.display.output_formats import NotThereError

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse
    from ipyllm_magics.display.output_formats import Form

__all__ = ["TerminalDrawing"]

_DIM, _NORMAL = "\x1b[2m", "\x1b[22m"
_PAUSE_S = 0.03


class TerminalDrawing:
    """Writes to standard output; colours only where it is a terminal.

    Parameters
    ----------
    form : Form
        Of ``-f``. What it takes out of an answer is written when the answer is whole.
    """

    def __init__(self, form: Form) -> None:
        self._whole = form.whole
        self._filter = TerminalFilter()
        self._pending: list[str] = []
        self._last = ""  # the character that stands last, drawn or not
        self._aside = False
        self._is_tty = sys.stdout.isatty()

    def waiting(self, elapsed_s: float) -> None:
        """Say nothing: a terminal keeps every line."""

    def text(self, piece: str) -> None:
        """Take in visible text."""
        if self._whole is None:
            self._end_aside()
            self._append(piece)

    def reasoning(self, piece: str) -> None:
        """Take in reasoning, shown dim."""
        self._begin_aside()
        self._append(piece)

    def tool(self, name: str) -> None:
        """Say that a function is called, on a line of its own, dim."""
        self._append("\n" if self._last not in {"", "\n"} else "")
        self._begin_aside()
        self._append(f"→ {name} ")

    def arguments(self, piece: str) -> None:
        """Take in its arguments, dim."""
        self._append(piece)

    def _append(self, text: str) -> None:
        clean = self._filter.feed(text)
        self._last = clean[-1:] or self._last
        self._pending.append(clean)

    def _begin_aside(self) -> None:
        if not self._aside:
            self._aside = True
            self._pending.append(_DIM if self._is_tty else "")

    def _end_aside(self) -> None:
        if self._aside:
            self._aside = False
            self._append("\n")
            self._pending.append(_NORMAL if self._is_tty else "")
            self._append("\n")

    def draw(self) -> None:
        """Write what is new."""
        text = "".join(self._pending)
        self._pending.clear()
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def pause(self) -> float:
        """Return a thirtieth of a second, which reads as continuous."""
        return _PAUSE_S

    def finish(self, response: ChatResponse) -> None:
        """Write the rest and the footer."""
        self._end_aside()
        if self._whole is not None and response.content:
            try:
                self._append(self._whole(response.content).text)
            except NotThereError:  # the magic says what is missing; the answer itself is worth seeing
                self._append(response.content)
        self.draw()
        if not self._last and response.status == "error":
            return  # the error itself says it all
        line = footer_text(response)
        lead = "\n" if self._last not in {"", "\n"} else ""
        sys.stdout.write(f"{lead}{_DIM}{line}{_NORMAL}\n" if self._is_tty else f"{lead}{line}\n")
        sys.stdout.flush()
