"""An answer that grows in a notebook cell. Finished blocks are sent once; only the live tail is sent again.

The answer stands in a row of outputs of some paragraphs each, so that neither the browser renders nor the
kernel sends a long answer again and again. Each output carries sanitised HTML, and the markdown as plain text.
"""

from __future__ import annotations

from html import escape
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.rendering import STYLE, BlockStream, footer_html, footer_text, to_html
from ipyllm.rendering.pace import Pace
from ipyllm_magics.display.output import Output
from ipyllm_magics.display.output_formats import NotThereError
from ipyllm_magics.display.reasoning_panel import Aside

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm.response import ChatResponse
    from ipyllm_magics.display.output_formats import Form

__all__ = ["CellDrawing"]

_OUTPUT_SIZE = 700  # characters of finished markdown after which a new output begins
_TAIL_LINES = 12  # shown of an answer that is taken apart once it is whole
_TAIL_CHARS = 2_000


class CellDrawing:
    """Draws into the outputs of the running cell.

    The first output is a head: it carries the style sheet once, says whom we wait for, and keeps the folded
    reasoning and the tool calls. With nothing to show it takes no room.

    Parameters
    ----------
    shell : InteractiveShell
        Whose display publisher is used.
    model : str
        Full name, shown while nothing has come.
    form : Form
        Of ``-f``.
    """

    def __init__(self, shell: InteractiveShell, model: str, form: Form) -> None:
        self._shell = shell
        self._model = model
        self._form = form
        self._pace = Pace(monotonic())
        self._blocks = BlockStream()
        self._aside = Aside()
        self._called = False  # a tool, since the last piece of text
        self._head: Output | None = None
        self._head_is_final = False
        self._output: Output | None = None  # the one being drawn
        self._frozen_html: list[str] = []
        self._frozen: list[str] = []
        self._text: list[str] = []
        self._drawn: object = None
        to_html("")  # load the renderer now: its import must not run beside the call's clock

    def waiting(self, elapsed_s: float) -> None:
        """Say whom we wait for, and how long already."""
        shown = f"{escape(self._model)} · {escape(self._aside.state)} · {elapsed_s:.0f} s"
        self._send_head(f'<div class="ipyllm-footer ipyllm-waiting">{shown}</div>', "")

    def text(self, piece: str) -> None:
        """Take in visible text."""
        if self._called:
            self._called = False
            piece = "\n\n" + piece if self._text else piece  # what was said before the call is a block of its own
        self._text.append(piece)
        self._blocks.feed(piece)

    def reasoning(self, piece: str) -> None:
        """Take in reasoning."""
        self._aside.reasoning(piece)

    def tool(self, name: str) -> None:
        """Take in the beginning of a function call."""
        self._called = True
        self._aside.tool(name)

    def arguments(self, piece: str) -> None:
        """Take in its arguments."""
        self._aside.arguments(piece)

    def pause(self) -> float:
        """Seconds until the budget of bytes allows another drawing."""
        return self._pace.pause(monotonic())

    def draw(self) -> None:
        """Show what is new."""
        if self._form.whole is not None:
            self._draw_tail()
            return
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
        self._send("".join(self._frozen_html) + self._form.block(live, live=True), None)

    def _draw_tail(self) -> None:
        text = "".join(self._text)[-_TAIL_CHARS:]
        self._text = [text]
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        if tail.strip() and tail != self._drawn:
            self._drawn = tail
            self._send(self._form.block(tail, live=True), None)

    def finish(self, response: ChatResponse) -> None:
        """Show the rest and the footer, in the last output; and what the tools said, in the head."""
        if response.status == "error" and not response.content and self._head is None and not self._aside.called:
            return  # the error itself says it all
        self._aside.finish(response)
        html, text = self._whole(response)
        told = f"{text}\n\n{footer_text(response)}" if text else footer_text(response)
        self._send(html + footer_html(response), told)
        if self._aside.called:
            self._finish_head()

    def _whole(self, response: ChatResponse) -> tuple[str, str]:
        if self._form.whole is not None and response.content:
            try:
                return self._form.whole(response.content)
            except NotThereError:  # the magic says what is missing; the answer itself is worth seeing
                return to_html(response.content), response.content.strip()
        self._blocks.finish()
        self._freeze()
        return "".join(self._frozen_html), "".join(self._frozen).rstrip()

    def _freeze(self) -> None:
        for block in self._blocks.take_finished():
            self._frozen.append(block)
            self._frozen_html.append(self._form.block(block))

    def _send(self, html: str, text: str | None) -> None:
        if not self._head_is_final:
            self._head_is_final = True
            self._finish_head()
        self._output = self._output or Output(self._shell)
        self._pace.spend(self._output.show(html, text), monotonic())

    def _finish_head(self) -> None:
        """Fold reasoning and tool calls into the head, or leave it empty, before the answer begins below it."""
        self._send_head(self._aside.html, self._aside.text)

    def _send_head(self, html: str, text: str) -> None:
        self._head = self._head or Output(self._shell)
        mark = "" if html else '<span class="ipyllm-empty"></span>'
        self._pace.spend(self._head.show(STYLE + (html or mark), text), monotonic())
