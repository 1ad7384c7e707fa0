"""Answers side by side: in columns, or below each other in a narrow window. No script.

The columns are cells of a table, so that they stay side by side where a front end removes the style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ipyllm.rendering.markdown_source import escape_markdown, to_markdown
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Column", "columns_html", "columns_markdown", "columns_text", "reasoning_html"]

_CELL = 'class="ipyllm-column" valign="top" style="vertical-align:top;text-align:left"'


@dataclass(frozen=True, slots=True)
class Column:
    """One answer as it is shown.

    ``mark`` is its name in a vote (``A``), ``label`` the name of the arm, empty while it is hidden; ``html`` is the
    answer, sanitised by :func:`~ipyllm.rendering.markdown.to_html`, and ``text`` its markdown.
    """

    mark: str
    label: str
    html: str
    text: str
    footer: str
    error: str = ""
    preferred: bool = False
    running: bool = False


def reasoning_html(text: str) -> str:
    """Return a model's reasoning as a folded panel; an empty string for no reasoning."""
    from ipyllm.rendering.markdown import to_html

    thought = text.strip()
    return (
        f'<details class="ipyllm-reasoning"><summary>Reasoning</summary>{to_html(thought)}</details>' if thought else ""
    )


def columns_html(columns: Iterable[Column], note: str = "") -> str:
    """Return the columns as HTML, with ``note`` below them."""
    cells = "".join(map(_column_html, columns))
    below = f'<div class="ipyllm-footer">{escape(strip_control_sequences(note))}</div>' if note else ""
    return (
        f'<table class="ipyllm-columns mathjax_ignore tex2jax_ignore" role="presentation" width="100%">'
        f"<tbody><tr>{cells}</tr></tbody></table>{below}"
    )


def _column_html(column: Column) -> str:
    label = escape(strip_control_sequences(column.label))
    chosen = ' <span class="ipyllm-preferred">✓ preferred</span>' if column.preferred else ""
    error = (
        f'<div class="ipyllm-column-error">{escape(strip_control_sequences(column.error))}</div>'
        if column.error
        else ""
    )
    waiting = " ipyllm-waiting" if column.running and not column.text else ""
    ended = not column.text and not column.error and not column.running
    body = '<div class="ipyllm-column-empty">an empty answer</div>' if ended else column.html
    return (
        f'<td {_CELL}><div class="ipyllm-column-head"><b>{escape(column.mark)}</b> {label}{chosen}</div>'
        f'{body}{error}<div class="ipyllm-footer{waiting}">{escape(strip_control_sequences(column.footer))}</div></td>'
    )


def columns_markdown(columns: Iterable[Column], note: str = "") -> str:
    """Return the columns as markdown, below each other, each with a heading."""
    blocks = []
    for column in columns:
        heading = " · ".join(escape_markdown(part) for part in (column.mark, column.label) if part)
        empty = "" if column.error or column.running else "*an empty answer*"
        blocks += [
            f"**{heading}**" + (" ✓ preferred" if column.preferred else ""),
            to_markdown(column.text).strip() or empty,
            escape_markdown(column.error),
            f"*{escape_markdown(column.footer)}*" if column.footer else "",
        ]
    return "\n\n".join(filter(None, [*blocks, escape_markdown(note)]))


def columns_text(columns: Iterable[Column], note: str = "") -> str:
    """Return the columns as plain text, below each other."""
    blocks = [
        "\n".join(
            part
            for part in (
                f"── {' · '.join(filter(None, (column.mark, column.label)))} ──",
                column.text.strip() or ("" if column.error or column.running else "(an empty answer)"),
                column.error,
                column.footer,
            )
            if part
        )
        for column in columns
    ]
    return strip_control_sequences("\n\n".join([*blocks, *([note] if note else [])]))
