"""An answer that grows in a notebook cell. Finished blocks are sent once; only the live tail is sent again.

The answer stands in a row of outputs of some paragraphs each, so that neither the browser renders nor the
kernel sends a long answer again and again. Each output carries sanitised HTML, and the markdown as plain text.
"""

from __future__ import annotations

from html import escape
from time import monotonic
from typing import TYPE_CHECKING, Any

from ulid import ULID

from ipyllm.rendering import STYLE, BlockStream, footer_html, footer_text, plain, to_html
from ipyllm.rendering.pace import Pace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm.response import ChatResponse

__all__ = ["CellDrawing"]

_OUTPUT_SIZE = 700  # characters of finished markdown after which a new output begins
_ENVELOPE = 600  # bytes of a display message without its data


class CellDrawing:
    """Draws into the outputs of the running cell.

    The first output is a head: it carries the style sheet once, says whom we wait for, and keeps the folded
    reasoning. With nothing to show it takes no room.

    Parameters
    ----------
    shell : InteractiveShell
        Whose display publisher is used.
    model : str
        Full name, shown while nothing has come.
    """

    def __init__(self, shell: InteractiveShell, model: str) -> None:
        self._shell = shell
        self._model = model
        self._pace = Pace(monotonic())
        self._blocks = BlockStream()
        self._reasoning: list[str] = []
        self._head: _Output | None = None
        self._head_is_final = False
        self._output: _Output | None = None  # the one being drawn
        self._frozen_html: list[str] = []
        self._frozen: list[str] = []
        self._drawn: object = None
        to_html("")  # load the renderer now: its import must not run beside the call's clock

    def waiting(self, elapsed_s: float) -> None:
        """Say whom we wait for, and how long already."""
        what = (
            f"{sum(len(piece.split()) for piece in self._reasoning)} words of reasoning"
            if self._reasoning
            else "waiting"
        )
        shown = f"{escape(self._model)} · {what} · {elapsed_s:.0f} s"
        self._send_head(f'<div class="ipyllm-footer ipyllm-waiting">{shown}</div>', "")

    def text(self, piece: str) -> None:
        """Take in visible text."""
        self._blocks.feed(piece)

    def reasoning(self, piece: str) -> None:
        """Take in reasoning."""
        self._reasoning.append(piece)

    def pause(self) -> float:
        """Seconds until the budget of bytes allows another drawing."""
        return self._pace.pause(monotonic())

    def draw(self) -> None:
        """Show what is new."""
        self._freeze()
        live = self._blocks.live
        state = (len(self._frozen), live)
        if state in {self._drawn, (0, "")}:
            return
        if sum(map(len, self._frozen)) >= _OUTPUT_SIZE and live:
            self._send("".join(self._frozen_html), "".join(self._frozen).rstrip())
            self._output, self._frozen, self._frozen_html = None, [], []
            state = (0, live)
        self._drawn = state
        self._send("".join(self._frozen_html) + to_html(live, live=True), None)

    def finish(self, response: ChatResponse) -> None:
        """Show the rest and the footer, in the last output."""
        if response.status == "error" and not response.content and self._head is None:
            return  # the error itself says it all
        self._blocks.finish()
        self._freeze()
        text = "".join(self._frozen).rstrip()
        told = f"{text}\n\n{footer_text(response)}" if text else footer_text(response)
        self._send("".join(self._frozen_html) + footer_html(response), told)

    def _freeze(self) -> None:
        for block in self._blocks.take_finished():
            self._frozen.append(block)
            self._frozen_html.append(to_html(block))

    def _send(self, html: str, text: str | None) -> None:
        if not self._head_is_final:
            self._head_is_final = True
            self._finish_head()
        self._output = self._output or _Output(self._shell)
        self._pace.spend(self._output.show(html, text), monotonic())

    def _finish_head(self) -> None:
        """Fold the reasoning into the head, or leave it empty, before the answer begins below it."""
        text = "".join(self._reasoning).strip()
        if not text:
            self._send_head("", "")
            return
        quoted = "> " + text.replace("\n", "\n> ")
        self._send_head(
            f'<details class="ipyllm-reasoning"><summary>Reasoning</summary>{to_html(text)}</details>', quoted
        )

    def _send_head(self, html: str, text: str) -> None:
        self._head = self._head or _Output(self._shell)
        mark = "" if html else '<span class="ipyllm-empty"></span>'
        self._pace.spend(self._head.show(STYLE + (html or mark), text), monotonic())


class _Output:
    """One output of the cell, shown and shown again."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._publish = shell.display_pub.publish
        self._transient = {"display_id": f"ipyllm-{ULID()}"}
        self._there = False

    def show(self, html: str, text: str | None) -> int:
        """Show ``html``, with ``text`` for front ends that show none; return the bytes it took."""
        data: dict[str, Any] = {"text/html": html}
        if text is not None:
            data["text/plain"] = plain(text)
        there, self._there = self._there, True
        self._publish(data, metadata={}, transient=self._transient, update=there)
        return _ENVELOPE + sum(len(value.encode()) for value in data.values())
