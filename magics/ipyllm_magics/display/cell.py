"""Renderer of a growing answer in a notebook cell.

The answer is a row of outputs of a few paragraphs each, so that neither the browser renders nor the kernel sends a
long answer again and again. Each output carries sanitised HTML, and the markdown as plain text.
"""

from __future__ import annotations

from html import escape
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.rendering import STYLE, GrowingAnswer, footer_html, footer_text, to_html
from ipyllm.rendering.draw_budget import DrawBudget
from ipyllm_magics.display.output import Output
from ipyllm_magics.display.output_formats import NotFoundInAnswerError
from ipyllm_magics.display.reasoning_panel import activity, panel_html, panel_text, set_results
from ipyllm_magics.display.renderer import Renderer

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm.events import Event
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.response import ChatResponse
    from ipyllm_magics.display.output_formats import OutputFormat

__all__ = ["CellRenderer"]

_OUTPUT_CHARS = 700  # characters of finished markdown after which a new output starts
_TAIL_LINES = 12  # shown of an answer whose code, JSON or HTML is extracted at the end
_TAIL_CHARS = 2_000


class CellRenderer(Renderer):
    """Draws into the outputs of the running cell.

    The first output is the head: it carries the style sheet, and shows the model until something arrives, then the
    folded reasoning and tool calls. Without those it takes no space.
    """

    def __init__(self, shell: InteractiveShell, model: str, output_format: OutputFormat) -> None:
        self._shell = shell
        self._model = model
        self._format = output_format
        self._draw_budget = DrawBudget(monotonic())
        self._answer = GrowingAnswer(output_format.render_block)
        self._head: Output | None = None
        self._head_is_final = False
        self._output: Output | None = None  # the one being drawn
        self._first_block = 0  # of that output
        self._drawn_tail = ""
        to_html("")  # load the renderer now: its import must not run while the call is timed

    def waiting(self, elapsed_s: float, waiting: Waiting | None) -> None:
        """Show the model, and what it does or what the call waits for."""
        status = escape(f"{self._model} · {activity(self._answer, elapsed_s, waiting)}")
        self._send_head(f'<div class="ipyllm-footer ipyllm-waiting">{status}</div>', "")

    def feed(self, event: Event) -> None:
        """Take in an event."""
        self._answer.feed(event)

    def pause(self) -> float:
        """Return the seconds until the budget of bytes allows another drawing."""
        return self._draw_budget.wait_s(monotonic())

    def draw(self) -> None:
        """Show what is new."""
        if self._format.extract is not None:
            self._draw_tail()
            return
        text = self._answer.text
        if not text.update():
            return
        html, source = self._finished_blocks()
        if len(source) >= _OUTPUT_CHARS and text.live:
            self._send(html, source.rstrip())
            self._output, self._first_block, html = None, len(text.blocks), ""
        self._send(html + text.live_html, None)

    def _draw_tail(self) -> None:
        tail = "\n".join(self._answer.text.source[-_TAIL_CHARS:].splitlines()[-_TAIL_LINES:])
        if tail.strip() and tail != self._drawn_tail:
            self._drawn_tail = tail
            self._send(self._format.render_block(tail, live=True), None)

    def finish(self, response: ChatResponse) -> None:
        """Show the rest and the footer in the last output, and the results of functions in the head."""
        if response.status == "error" and not (response.content or self._answer.reasoning_words or self._answer.calls):
            if self._head is not None:
                self._finish_head()
            return  # the error message says everything
        set_results(self._answer, response)
        html, source = self._complete(response)
        text = f"{source}\n\n{footer_text(response)}" if source else footer_text(response)
        self._send(html + footer_html(response), text)
        if self._answer.calls:
            self._finish_head()

    def _complete(self, response: ChatResponse) -> tuple[str, str]:
        if self._format.extract is not None and response.content:
            try:
                return self._format.extract(response.content)
            except NotFoundInAnswerError:  # the magic says what is missing; the answer is shown as it is
                return to_html(response.content), response.content.strip()
        self._answer.text.finish()
        self._answer.text.update()
        html, source = self._finished_blocks()
        return html, source.rstrip()

    def _finished_blocks(self) -> tuple[str, str]:
        """Return HTML and markdown of the finished blocks of the current output."""
        blocks = self._answer.text.blocks[self._first_block :]
        return "".join(block.html for block in blocks), "".join(block.source for block in blocks)

    def _send(self, html: str, text: str | None) -> None:
        if not self._head_is_final:
            self._head_is_final = True
            self._finish_head()
        self._output = self._output or Output(self._shell)
        self._draw_budget.spend(self._output.show(html, text), monotonic())

    def _finish_head(self) -> None:
        """Fold reasoning and tool calls into the head, or leave it empty, before the answer starts below it."""
        self._send_head(panel_html(self._answer), panel_text(self._answer))

    def _send_head(self, html: str, text: str) -> None:
        self._head = self._head or Output(self._shell)
        placeholder = "" if html else '<span class="ipyllm-empty"></span>'
        self._draw_budget.spend(self._head.show(STYLE + (html or placeholder), text), monotonic())
