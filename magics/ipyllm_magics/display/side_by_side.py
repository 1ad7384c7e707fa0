"""Renderers of several growing answers: side by side in a notebook cell, one after the other in a terminal.

A notebook gets one display, updated within a budget of bytes. Blocks and unchanged columns are rendered once, and
while a long answer grows only its newest part is sent.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ipyllm.events import Finished
from ipyllm.rendering import (
    LIVE_STYLE,
    Column,
    GrowingAnswer,
    columns_html,
    columns_markdown,
    columns_text,
    copy_script,
    reasoning_html,
    styles_for,
    to_html,
)
from ipyllm.rendering.draw_budget import DrawBudget
from ipyllm_magics.display.output import Output
from ipyllm_magics.display.output_formats import NotFoundInAnswerError
from ipyllm_magics.display.reasoning_panel import DETAILS_AFTER_S
from ipyllm_magics.display.standard_output import print_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm import Comparison
    from ipyllm.events import Event
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm_magics.display.output_formats import OutputFormat

__all__ = ["ColumnsRenderer", "NotebookColumns", "TerminalColumns"]

_BYTES_PER_S = 60_000.0
_BURST = 30_000.0
_WINDOW = 24_000  # characters of finished blocks that are sent while answers grow, all columns together
_EMPTY = '<span class="ipyllm-empty"></span>'
_WARM_UP = "```python\nx = 1\n```\n\n$x$"
_TICK_S = 0.5  # how often the clocks are updated when nothing else changes


class ColumnsRenderer:
    """Interface of a renderer of several answers; it shows nothing itself, for ``--quiet``.

    Stages: ``feed`` and ``draw`` any number of times → ``finish`` → ``show_vote``.
    """

    def feed(self, index: int, event: Event) -> None:
        """Take in an event of an arm without drawing it."""

    def draw(self) -> None:
        """Show what was taken in."""

    def pause(self) -> float:
        """Return the seconds to wait before the next ``draw``."""
        return 1.0

    def finish(self) -> None:
        """Show the outcome."""

    def show_vote(self) -> None:
        """Show the outcome again, with the vote."""


class NotebookColumns(ColumnsRenderer):
    """One display with a column for each arm."""

    def __init__(self, shell: InteractiveShell, comparison: Comparison, output_format: OutputFormat) -> None:
        to_html(_WARM_UP)  # load renderer and highlighter now: their imports must not run while calls are timed
        self._comparison = comparison
        self._format = output_format
        self._draw_budget = DrawBudget(monotonic(), bytes_per_s=_BYTES_PER_S, burst=_BURST)
        window = _WINDOW // len(comparison.arms)
        self._columns = [_GrowingColumn(window, output_format) for _ in comparison.arms]
        self._drawn_at = -_TICK_S
        self._head = Output(shell)
        self._head.show(LIVE_STYLE + _EMPTY, "", "")
        self._output = Output(shell)

    def feed(self, index: int, event: Event) -> None:
        """Take in an event of an arm."""
        self._columns[index].feed(event)

    def draw(self) -> None:
        """Show what is new, and from time to time the clocks."""
        now = monotonic()
        if now - self._drawn_at < _TICK_S and not any(growing.changed for growing in self._columns):
            return
        self._drawn_at = now
        columns = []
        for index, growing in enumerate(self._columns):
            columns.append(self._ended(index) if growing.ended else self._live(index, growing))
            sleep(0)  # let the service thread run, which takes the timestamps
        self._draw_budget.spend(self._output.show(columns_html(columns), None), monotonic())

    def pause(self) -> float:
        """Return the seconds until the budget of bytes allows another drawing."""
        return self._draw_budget.wait_s(monotonic())

    def finish(self) -> None:
        """Show all answers in full, and how to vote."""
        columns = [_column(self._comparison, index, self._format) for index in range(len(self._columns))]
        note = _note(self._comparison)
        html = columns_html(columns, note)
        self._head.show(styles_for(_EMPTY, html) + _EMPTY, "", "")
        self._output.show(html + copy_script(html), columns_text(columns, note), columns_markdown(columns, note))

    def show_vote(self) -> None:
        """Show the outcome again, with the preferred answer marked."""
        self.finish()

    def _live(self, index: int, growing: _GrowingColumn) -> Column:
        arm = self._comparison.arms[index]
        label = "" if self._comparison.names_hidden else arm.label
        footer = growing.footer(self._comparison.waiting(index))
        return Column(arm.mark, label, growing.html(), growing.text, footer, running=True)

    def _ended(self, index: int) -> Column:
        growing = self._columns[index]
        if growing.final is None:
            growing.final = _column(self._comparison, index, self._format)
        return growing.final


class _GrowingColumn:
    """One answer while it grows."""

    def __init__(self, window: int, output_format: OutputFormat) -> None:
        self.ended = False
        self.changed = True
        self.final: Column | None = None
        self.text = ""
        self._answer = GrowingAnswer(output_format.render_block)
        self._window = window
        self._start = monotonic()
        self._first_block = 0  # of those within the window
        self._html = ""

    def feed(self, event: Event) -> None:
        """Take in an event; the final text comes from the response."""
        if isinstance(event, Finished):
            self.ended = True
        else:
            self._answer.feed(event)
        self.changed = True

    def html(self) -> str:
        """Return the finished blocks within the window, and the tail."""
        if self.changed:
            self.changed = False
            text = self._answer.text
            text.update()
            while sum(len(block.source) for block in text.blocks[self._first_block + 1 :]) > self._window:
                self._first_block += 1
            self.text = text.live or ("…" if text.blocks else "")
            omitted = (
                '<div class="ipyllm-footer">… the start is shown again at the end</div>' if self._first_block else ""
            )
            blocks = "".join(block.html for block in text.blocks[self._first_block :])
            self._html = omitted + blocks + text.live_html
        return self._html

    def footer(self, waiting: Waiting | None) -> str:
        """Return the clock of an answer that has not ended, or what it waits for."""
        # Only the elapsed time: the measured figures come from the service thread, at the end.
        elapsed_s = monotonic() - self._start
        clock = f"{elapsed_s:.1f} s"
        if not self._answer.started:
            return waiting.line() if waiting is not None and elapsed_s >= DETAILS_AFTER_S else f"waiting · {clock}"
        words = self._answer.reasoning_words
        return f"{words} words of reasoning · {clock}" if words and not self.text else clock


class TerminalColumns(ColumnsRenderer):
    """Writes each answer when it is complete, because a terminal cannot redraw earlier text."""

    def __init__(self, comparison: Comparison, output_format: OutputFormat) -> None:
        self._comparison = comparison
        self._format = output_format
        self._written: set[int] = set()
        self._ended: list[int] = []

    def feed(self, index: int, event: Event) -> None:
        """Take in the end of an arm."""
        if isinstance(event, Finished):
            self._ended.append(index)

    def draw(self) -> None:
        """Write the answers that have ended, in that order."""
        for index in self._ended:
            self._write(index)

    def pause(self) -> float:
        """Return a tenth of a second."""
        return 0.1

    def finish(self) -> None:
        """Write the rest, and how to vote."""
        for index in range(len(self._comparison.arms)):
            self._write(index)
        print_text(_note(self._comparison))

    def _write(self, index: int) -> None:
        if index not in self._written:
            self._written.add(index)
            print_text(columns_text([_column(self._comparison, index, self._format)]) + "\n")


def _column(comparison: Comparison, index: int, output_format: OutputFormat) -> Column:
    """Return an arm's column in the output format; if nothing can be extracted, the answer is shown with the reason."""
    column, response = comparison.column(index), comparison.responses[index]
    if output_format.name == "markdown" or response is None or not response.content:
        return column
    above = reasoning_html(response.reasoning)
    if output_format.extract is None:
        return replace(column, html=above + output_format.render_block(response.content))
    try:
        extract = output_format.extract(response)
    except NotFoundInAnswerError as exc:
        return replace(column, error=column.error or f"{exc}.")
    return replace(column, html=above + extract.html, text=extract.text)


def _note(comparison: Comparison) -> str:
    return " ".join(filter(None, (comparison.note, _vote_note(comparison))))


def _vote_note(comparison: Comparison) -> str:
    if comparison.vote_cast is not None:
        return "Voted. Run %llm_vote again to change it."
    marks = [comparison.arms[index].mark for index in comparison.complete]
    if len(marks) < 2:  # noqa: PLR2004 - a vote needs two answers
        return ""
    return f"Which is better? Run %llm_vote with one of: {', '.join([*marks, 'tie', 'both_bad'])}"
