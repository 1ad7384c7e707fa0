"""Renderer of a growing answer in a terminal: plain text as it arrives, without control sequences of the model."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.rendering import footer_text
from ipyllm.text.terminal import TerminalFilter, strip_control_sequences
from ipyllm_magics.display.output_formats import NotFoundInAnswerError
from ipyllm_magics.display.reasoning_panel import DETAILS_AFTER_S
from ipyllm_magics.display.renderer import Renderer
from ipyllm_magics.display.standard_output import write_text

if TYPE_CHECKING:
    from ipyllm.events import Event
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.response import ChatResponse
    from ipyllm_magics.display.output_formats import OutputFormat

__all__ = ["TerminalRenderer"]

_DIM, _NORMAL = "\x1b[2m", "\x1b[22m"
_ERASE_LINE = "\r\x1b[2K"
_PAUSE_S = 0.03  # reads as continuous


class TerminalRenderer(Renderer):
    """Writes to standard output, dim text only where that is a terminal."""

    def __init__(self, model: str, output_format: OutputFormat) -> None:
        self._model = model
        self._extract = output_format.extract
        self._filter = TerminalFilter()
        self._pending: list[str] = []
        self._last_char = ""  # written or pending
        self._is_dim = False
        self._is_tty = sys.stdout.isatty()
        self._can_erase = self._is_tty and os.environ.get("TERM") != "dumb"
        self._has_waiting_line = False

    def waiting(self, elapsed_s: float, waiting: Waiting | None) -> None:
        """Write what the call waits for into one line, which the next one replaces; only where that can be erased."""
        if not self._can_erase or elapsed_s < DETAILS_AFTER_S:
            return
        doing = waiting.line() if waiting is not None else f"waiting · {elapsed_s:.0f} s"
        line = strip_control_sequences(f"{self._model} · {doing}")[: shutil.get_terminal_size().columns - 1]
        write_text(f"{_ERASE_LINE}{_DIM}{line}{_NORMAL}")
        self._has_waiting_line = True

    def _erase_waiting_line(self) -> None:
        if self._has_waiting_line:
            self._has_waiting_line = False
            write_text(_ERASE_LINE)

    def feed(self, event: Event) -> None:
        """Take in an event; reasoning and tool calls are shown dim."""
        if isinstance(event, TextDelta) and self._extract is None:
            self._end_dim()
            self._append(event.text)
        elif isinstance(event, ReasoningDelta):
            self._begin_dim()
            self._append(event.text)
        elif isinstance(event, ToolCallDelta):
            if event.name is not None:
                self._append("\n" if self._last_char not in {"", "\n"} else "")
                self._begin_dim()
                self._append(f"→ {event.name} ")
            self._append(event.arguments)

    def _append(self, text: str) -> None:
        clean = self._filter.feed(text)
        self._last_char = clean[-1:] or self._last_char
        self._pending.append(clean)

    def _begin_dim(self) -> None:
        if not self._is_dim:
            self._is_dim = True
            self._pending.append(_DIM if self._is_tty else "")

    def _end_dim(self) -> None:
        if self._is_dim:
            self._is_dim = False
            self._append("\n")
            self._pending.append(_NORMAL if self._is_tty else "")
            self._append("\n")

    def draw(self) -> None:
        """Write what is new."""
        self._erase_waiting_line()
        text = "".join(self._pending)
        self._pending.clear()
        if text:
            write_text(text)

    def pause(self) -> float:
        """Return a thirtieth of a second."""
        return _PAUSE_S

    def finish(self, response: ChatResponse) -> None:
        """Write the rest and the footer."""
        self._end_dim()
        if self._extract is not None and response.content:
            try:
                self._append(self._extract(response).text)
            except NotFoundInAnswerError:  # the magic says what is missing; the answer is shown as it is
                self._append(response.content)
        self.draw()
        if not self._last_char and response.status == "error":
            return  # the error message is shown anyway
        footer = footer_text(response, error_shown=True)  # below it
        line_end = "\n" if self._last_char not in {"", "\n"} else ""
        write_text(f"{line_end}{_DIM}{footer}{_NORMAL}\n" if self._is_tty else f"{line_end}{footer}\n")
