"""Several answers that grow side by side in a notebook cell, or one after the other in a terminal.

A notebook gets one display, sent again at the pace of a budget of bytes: rendered blocks are kept, each column that
did not change is sent as it was made, and of a long answer only the newest part is sent before its end.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from ipyllm.events import Finished, ReasoningDelta, TextDelta
from ipyllm.rendering import (
    COLUMNS_STYLE,
    STYLE,
    BlockStream,
    Column,
    columns_html,
    columns_text,
    reasoning_html,
    to_html,
)
from ipyllm.rendering.pace import Pace
from ipyllm_magics.display.output import Output
from ipyllm_magics.display.output_formats import NotThereError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipyllm import Comparison
    from ipyllm.events import Event
    from ipyllm_magics.display.output_formats import Form

__all__ = ["Columns", "NoColumns", "NotebookColumns", "TerminalColumns"]

_BYTES_PER_S = 60_000.0
_BURST = 30_000.0
_WINDOW = 24_000  # characters of finished blocks that are sent while answers grow, all columns together
_WARM_UP = "```python\nx = 1\n```\n\n$x$"
_TICK_S = 0.5  # how often the clocks go on when nothing else changes


class Columns(Protocol):
    """Stages: ``take`` and ``draw`` any number of times → ``finish`` → ``again`` when a vote was cast."""

    def take(self, place: int, event: Event) -> None:
        """Take in an event of an arm; costs next to nothing."""

    def draw(self) -> None:
        """Show what was taken in."""

    def pause(self) -> float:
        """Seconds to wait before ``draw`` is worth calling again."""

    def finish(self) -> None:
        """Show the outcome."""

    def again(self) -> None:
        """Show it once more: a vote was cast."""


class NoColumns:
    """``--quiet``."""

    def take(self, place: int, event: Event) -> None:
        """Show nothing."""

    def draw(self) -> None:
        """Show nothing."""

    def pause(self) -> float:
        """Return a second: only the end matters."""
        return 1.0

    def finish(self) -> None:
        """Show nothing."""

    def again(self) -> None:
        """Show nothing."""


class NotebookColumns:
    """One display with a column for every arm.

    Parameters
    ----------
    shell : InteractiveShell
        Whose display publisher is used.
    comparison : Comparison
        What is shown.
    form : Form
        How the answers are shown.
    """

    def __init__(self, shell: InteractiveShell, comparison: Comparison, form: Form) -> None:
        to_html(_WARM_UP)  # load renderer and highlighter now: their imports must not run beside the calls' clocks
        self._comparison = comparison
        self._form = form
        self._pace = Pace(monotonic(), bytes_per_s=_BYTES_PER_S, burst=_BURST)
        window = _WINDOW // len(comparison.arms)
        self._growing = [_Growing(window, form) for _ in comparison.arms]
        self._drawn_at = -_TICK_S
        Output(shell).show(STYLE + COLUMNS_STYLE + '<span class="ipyllm-empty"></span>', "")
        self._output = Output(shell)

    def take(self, place: int, event: Event) -> None:
        """Take in an event of an arm."""
        self._growing[place].take(event)

    def draw(self) -> None:
        """Show what is new; and the clocks, now and then."""
        now = monotonic()
        if now - self._drawn_at < _TICK_S and not any(growing.changed for growing in self._growing):
            return
        self._drawn_at = now
        columns = []
        for place, growing in enumerate(self._growing):
            columns.append(self._ended(place) if growing.ended else self._live(place, growing))
            sleep(0)  # hand the interpreter to the service thread, whose clocks are running
        self._pace.spend(self._output.show(columns_html(columns), None), monotonic())

    def pause(self) -> float:
        """Seconds until the budget of bytes allows another drawing."""
        return self._pace.pause(monotonic())

    def finish(self) -> None:
        """Show all answers whole, and how to vote."""
        columns = [_column(self._comparison, place, self._form) for place in range(len(self._growing))]
        note = _note(self._comparison)
        self._output.show(columns_html(columns, note), columns_text(columns, note))

    def again(self) -> None:
        """Show it once more, with what was preferred."""
        self.finish()

    def _live(self, place: int, growing: _Growing) -> Column:
        comparison = self._comparison
        arm = comparison.arms[place]
        label = "" if comparison.names_hidden else arm.label
        return Column(arm.mark, label, growing.html(), growing.shown, growing.footer(), running=True)

    def _ended(self, place: int) -> Column:
        growing = self._growing[place]
        if growing.final is None:
            growing.final = _column(self._comparison, place, self._form)
        return growing.final


class _Growing:
    """One answer while it grows."""

    def __init__(self, window: int, form: Form) -> None:
        self._form = form
        self.ended = False
        self.changed = True
        self.final: Column | None = None
        self.shown = ""
        self._window = window
        self._since = monotonic()
        self._begun = False
        self._blocks = BlockStream()
        self._frozen: list[tuple[int, str]] = []  # sizes and HTML of finished blocks within the window
        self._left_out = False
        self._html = ""
        self._words = 0

    def take(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._begun = True
            self._blocks.feed(event.text)
        elif isinstance(event, ReasoningDelta):
            self._begun = True
            self._words += len(event.text.split())
        elif isinstance(event, Finished):
            self.ended = True
        self.changed = True

    def html(self) -> str:
        """Return the finished blocks of the window, and the tail."""
        if self.changed:
            self.changed = False
            for block in self._blocks.take_finished():
                self._frozen.append((len(block), self._form.block(block)))
            while sum(size for size, _ in self._frozen[1:]) > self._window:
                del self._frozen[0]
                self._left_out = True
            self.shown = self._blocks.live or ("…" if self._frozen else "")
            above = '<div class="ipyllm-footer">… the beginning comes back at the end</div>' if self._left_out else ""
            live = self._form.block(self._blocks.live, live=True)
            self._html = above + "".join(html for _, html in self._frozen) + live
        return self._html

    def footer(self) -> str:
        """Return the clock of an answer that is still to come or growing."""
        # Only the time that passes: the figures, from the service thread's clock, come with the end.
        clock = f"{monotonic() - self._since:.1f} s"
        if not self._begun:
            return f"waiting · {clock}"
        return f"{self._words} words of reasoning · {clock}" if self._words and not self.shown else clock


class TerminalColumns:
    """Writes each answer when it is whole, in the order in which they end: a terminal takes nothing back."""

    def __init__(self, comparison: Comparison, form: Form) -> None:
        self._comparison = comparison
        self._form = form
        self._written: set[int] = set()
        self._ended: list[int] = []

    def take(self, place: int, event: Event) -> None:
        """Take in the end of an arm."""
        if isinstance(event, Finished):
            self._ended.append(place)

    def draw(self) -> None:
        """Write what has ended."""
        for place in self._ended:
            self._write(place)

    def pause(self) -> float:
        """Return a tenth of a second."""
        return 0.1

    def finish(self) -> None:
        """Write the rest, and how to vote."""
        for place in range(len(self._comparison.arms)):
            self._write(place)
        print(_note(self._comparison))  # noqa: T201 - this is the terminal

    def again(self) -> None:
        """Write nothing: the vote's own sentence says it."""

    def _write(self, place: int) -> None:
        if place not in self._written:
            self._written.add(place)
            print(columns_text([_column(self._comparison, place, self._form)]) + "\n")  # noqa: T201 - this is the terminal
            sys.stdout.flush()


def _column(comparison: Comparison, place: int, form: Form) -> Column:
    """Return an arm as ``-f`` wants it shown; one without what that takes out of an answer says so, and is shown."""
    column, response = comparison.column(place), comparison.responses[place]
    if form.name == "markdown" or response is None or not response.content:
        return column
    above = reasoning_html(response.reasoning)
    if form.whole is None:
        return replace(column, html=above + form.block(response.content))
    try:
        whole = form.whole(response.content)
    except NotThereError as exc:
        return replace(column, error=column.error or f"{exc}.")
    return replace(column, html=above + whole.html, text=whole.text)


def _note(comparison: Comparison) -> str:
    if comparison.vote_cast is not None:
        return "Voted. Run %llm_vote again to change it."
    pairs = zip(comparison.arms, comparison.responses, strict=True)
    answered = [arm.mark for arm, response in pairs if response is not None and response.content]
    if len(answered) < 2:  # noqa: PLR2004 - one answer is no choice
        return ""
    marks = ", ".join(answered)
    return f"Which is better? Run %llm_vote with one of: {marks}, tie, both_bad"
