"""The dashboard as a notebook keeps it: what a reader without a kernel sees, drawn once and never again.

JupyterLab takes style sheets and inline SVG out of a notebook that it does not trust, and leaves tables and images: so
this is made of those. Nothing in it acts, and nothing is loaded.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm_widgets.dashboard.charts import swatch_image
from ipyllm_widgets.dashboard.figures import CALL_HEADS, MODEL_HEADS
from ipyllm_widgets.dashboard.filters import SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from ipyllm_widgets.dashboard.figures import CallRow, Figures
    from ipyllm_widgets.dashboard.filters import Filters

__all__ = ["still_of"]

_NEWEST = 20
_IGNORED = "mathjax_ignore tex2jax_ignore"  # by the page's MathJax, whose formulas could hold links


def still_of(figures: Figures, filters: Filters, taken_at: datetime) -> tuple[str, str]:
    """Return the figures as HTML and as plain text, with the filters in force and when they were taken.

    Parameters
    ----------
    figures : Figures
    filters : Filters
    taken_at : datetime
        With its zone.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from ipyllm import usage
    >>> from ipyllm_widgets.dashboard.figures import figures_of
    >>> from ipyllm_widgets.dashboard.filters import Filters
    >>> _, text = still_of(figures_of(usage(), usage()), Filters(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    >>> print(text)
    Usage · this kernel · last day · 2026-01-02 03:04:05 UTC
    calls 0 · errors 0 · tokens in 0 · tokens out 0 · cost $0
    """
    title = " · ".join(("Usage", *_in_force(filters), f"{taken_at:%Y-%m-%d %H:%M:%S %Z}".strip()))
    sums = [f"<b>{tile.value}</b>{f' <small>{tile.note}</small>' if tile.note else ''}" for tile in figures.tiles]
    newest = figures.calls[:_NEWEST]
    calls = f"<h4>The newest {len(newest)} of {figures.n:,} calls</h4>{_table(CALL_HEADS, map(_call, newest))}"
    models = [[f"{swatch_image(row.place)} {_flat(row.model)}", *row.cells] for row in figures.models]
    html = (
        f'<details class="ipyllm-still {_IGNORED}" open><summary>{_flat(title)}</summary>'
        f"{_table((tile.name for tile in figures.tiles), [sums])}"
        f"{_table(MODEL_HEADS, models) if models else ''}"
        f"<div>{' '.join(chart.image() for chart in figures.charts)}</div>{calls if newest else ''}</details>"
    )
    return html, "\n".join(_lines(title, figures))


def _in_force(filters: Filters) -> Iterator[str]:
    yield SCOPES[filters.scope]
    yield "all time" if filters.since == "all" else f"last {filters.since}"
    yield from filter(None, (filters.model, filters.status, filters.tag))


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _call(row: CallRow) -> list[str]:
    status = f"{row.status} · {row.failure}" if row.failure else row.status
    return [_flat(cell) for cell in (row.when, row.model, status, *row.cells, row.prompt)]


def _flat(text: str) -> str:
    """Escape a text and leave no line end: in Markdown an empty line ends the HTML, and what follows would be read."""
    return escape(" ".join(text.split()))


def _lines(title: str, figures: Figures) -> Iterator[str]:
    yield title
    yield " · ".join(f"{tile.name} {tile.value}{f' ({tile.note})' if tile.note else ''}" for tile in figures.tiles)
    if figures.models:
        yield " | ".join(MODEL_HEADS)
    for row in figures.models:
        yield " | ".join((row.model, *row.cells))
