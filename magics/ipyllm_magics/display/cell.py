"""Renderer of a growing answer in a notebook cell.

The answer is a row of outputs of a few paragraphs each, so that neither the browser renders nor the kernel sends a
long answer again and again. Each output carries sanitised HTML with the styles it needs, the markdown, and plain text.
"""

from __future__ import annotations

from html import escape
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.rendering import (
    LIVE_STYLE,
    GrowingAnswer,
    copy_script,
    footer_html,
    footer_markdown,
    footer_text,
    styles_for,
    to_html,
    to_markdown,
)
from ipyllm.rendering.blocks import split_source
from ipyllm.rendering.draw_budget import DrawBudget
from ipyllm.rendering.folding import FOLDED_AFTER, folded, is_worth_folding
from ipyllm_magics.display.output import Output
from ipyllm_magics.display.output_formats import Extract, NotFoundInAnswerError
from ipyllm_magics.display.reasoning_panel import activity, panel_html, panel_markdown, panel_text, set_results
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
_MAX_FOLDED = 100_000  # characters of markdown: Jupyter's server drops messages of some megabytes
_EMPTY = '<span class="ipyllm-empty"></span>'


class CellRenderer(Renderer):
    """Draws into the outputs of the running cell.

    The first output is the head: it has the styles, and shows the model until something arrives, then the folded
    reasoning and tool calls. Without those it takes no space. At the end it keeps the styles of what is shown, and the
    outputs of a long answer after its first screens are folded into one.
    """

    def __init__(self, shell: InteractiveShell, model: str, output_format: OutputFormat) -> None:
        self._shell = shell
        self._model = model
        self._format = output_format
        self._draw_budget = DrawBudget(monotonic())
        self._answer = GrowingAnswer(output_format.render_block)
        self._head: Output | None = None
        self._head_is_final = False
        self._kept: list[str] = []  # the HTML of outputs that no longer change
        self._output: Output | None = None  # the one being drawn
        self._first_block = 0  # of that output
        self._shown_chars = 0  # in the outputs before it
        # The output that passes the first screens, its first block, and the characters before it.
        self._long_from: tuple[Output | None, int, int] | None = None
        self._after: list[Output] = []  # the outputs after that one
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
            self._send_final(Extract(html, source.rstrip(), self._format.as_markdown(source.rstrip())))
            if self._long_from is None and self._shown_chars + len(source) > FOLDED_AFTER:
                self._long_from = self._output, self._first_block, self._shown_chars
            self._output, self._first_block, html = None, len(text.blocks), ""
            self._shown_chars += len(source)
        self._send(html + text.live_html)

    def _draw_tail(self) -> None:
        tail = "\n".join(self._answer.text.source[-_TAIL_CHARS:].splitlines()[-_TAIL_LINES:])
        if tail.strip() and tail != self._drawn_tail:
            self._drawn_tail = tail
            self._send(self._format.render_block(tail, live=True))

    def finish(self, response: ChatResponse) -> None:
        """Show the rest and the footer in the last output, and the results of functions in the head."""
        if response.status == "error" and not (response.content or self._answer.reasoning_words or self._answer.calls):
            if self._head is not None:
                self._finish_head()
            return  # the error message says everything
        set_results(self._answer, response)
        shown = self._complete(response)
        line_html, line = footer_html(response, error_shown=True), footer_text(response, error_shown=True)
        self._send_final(
            Extract(
                shown.html + line_html + copy_script(*self._kept, shown.html, panel_html(self._answer)),
                _paragraphs(shown.text, line),
                _paragraphs(shown.markdown, footer_markdown(response, error_shown=True)),
            )
        )
        self._finish_head(styles_for(panel_html(self._answer) or _EMPTY, *self._kept))

    def _complete(self, response: ChatResponse) -> Extract:
        if self._format.extract is not None and response.content:
            try:
                return self._format.extract(response)
            except NotFoundInAnswerError:  # the magic says what is missing; the answer is shown as it is
                source = response.content.strip()
                return Extract(to_html(source), source, to_markdown(source))
        self._answer.text.finish()
        self._answer.text.update()
        html, source = self._folded() or self._finished_blocks()
        return Extract(html, source.rstrip(), self._format.as_markdown(source.rstrip()) if source.strip() else "")

    def _folded(self) -> tuple[str, str] | None:
        """Return HTML and markdown of a long answer from the output on that passes its first screens, or None.

        That output becomes the current one again, and those after it no longer take space.
        """
        output, first_block, chars_before = self._long_from or (self._output, self._first_block, self._shown_chars)
        source = self._source_from(first_block)
        first, rest = split_source(source, max(0, FOLDED_AFTER - chars_before))
        if not is_worth_folding(rest) or len(source) > _MAX_FOLDED:
            return None
        self._output, self._first_block = output, first_block
        for emptied in self._after:
            self._kept.append(_EMPTY)
            self._draw_budget.spend(emptied.show(_EMPTY, "", ""), monotonic())
        render = self._format.render_block
        return (render(first) if first else "") + folded(render(rest), rest), source

    def _source_from(self, first_block: int) -> str:
        return "".join(block.source for block in self._answer.text.blocks[first_block:])

    def _finished_blocks(self) -> tuple[str, str]:
        """Return HTML and markdown of the finished blocks of the current output."""
        blocks = self._answer.text.blocks[self._first_block :]
        return "".join(block.html for block in blocks), self._source_from(self._first_block)

    def _send(self, html: str) -> None:
        """Draw into the current output, which may still grow."""
        output = self._current_output()
        self._draw_budget.spend(output.show(html, None), monotonic())

    def _send_final(self, shown: Extract) -> None:
        """Draw into the current output what it keeps."""
        output = self._current_output()
        self._kept.append(shown.html)
        self._draw_budget.spend(output.show(shown.html, shown.text, shown.markdown), monotonic())

    def _current_output(self) -> Output:
        if not self._head_is_final:
            self._head_is_final = True
            self._finish_head()
        if self._output is None:
            self._output = Output(self._shell)
            if self._long_from is not None:
                self._after.append(self._output)
        return self._output

    def _finish_head(self, style: str = LIVE_STYLE) -> None:
        """Fold reasoning and tool calls into the head, or leave it empty, before the answer starts below it."""
        self._send_head(panel_html(self._answer), panel_text(self._answer), panel_markdown(self._answer), style)

    def _send_head(self, html: str, text: str, markdown: str | None = None, style: str = LIVE_STYLE) -> None:
        self._head = self._head or Output(self._shell)
        self._draw_budget.spend(self._head.show(style + (html or _EMPTY), text, markdown), monotonic())


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))
