"""Static HTML of the dashboard, for readers of a notebook without a kernel.

JupyterLab removes style sheets and inline SVG from an untrusted notebook but leaves tables and images. So the snapshot
consists of tables and images. It has no controls and loads nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipyllm_widgets.dashboard.charts import swatch_image
from ipyllm_widgets.dashboard.dashboard_filters import SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
    from ipyllm_widgets.dashboard.figures import CallRow, Figures

__all__ = ["static_snapshot"]

_NEWEST = 20
_MATHJAX_IGNORES = "mathjax_ignore tex2jax_ignore"  # formulas could contain links


def static_snapshot(figures: Figures, filters: DashboardFilters, taken_at: datetime, part: str = "") -> tuple[str, str]:
    """Return the figures as HTML and plain text, with the active filters and the time of reading.

    ``part`` says which of the calls they are of, if not of all.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from ipyllm import usage
    >>> from ipyllm_widgets.dashboard.figures import figures_of
    >>> from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
    >>> read_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    >>> none = usage().head(0)
    >>> _, text = static_snapshot(figures_of(none, none), DashboardFilters(), read_at)
    >>> print(text)
    Usage · this kernel · last day · 2026-01-02 03:04:05 UTC
    calls 0 · errors 0 · cut off 0 (at max_tokens) · tokens in 0 · tokens out 0 · cost $0
    """
    taken = f"{taken_at:%Y-%m-%d %H:%M:%S %Z}".strip()
    title = " · ".join(filter(None, ("Usage", *_active_filters(filters), part, taken)))
    sums = [f"<b>{tile.value}</b>{_small(tile.note)}" for tile in figures.tiles]
    newest = figures.calls[:_NEWEST]
    words = figures.listing.words
    which = (
        f"{len(newest)} of {figures.number} calls, {escape(words)}"
        if words
        else f"The newest {len(newest)} of {figures.number} calls"
    )
    calls = f"<h4>{which}</h4>{_table(figures.call_heads, map(_call, newest))}"
    models = [
        [f"{swatch_image(row.index)} {_one_line(row.model)}{_small(row.note)}", *row.cells] for row in figures.models
    ]
    html = (
        f'<details class="ipyllm-still {_MATHJAX_IGNORES}" open><summary>{_one_line(title)}</summary>'
        f"{_table((tile.name for tile in figures.tiles), [sums])}"
        f"{_table(figures.model_heads, models) if models else ''}"
        f"<div>{' '.join(chart.image() for chart in figures.charts)}</div>{calls if newest else ''}</details>"
    )
    return html, "\n".join(_lines(title, figures))


def _active_filters(filters: DashboardFilters) -> Iterator[str]:
    yield SCOPES[filters.scope]
    yield "all time" if filters.since == "all" else f"last {filters.since}"
    yield from filter(None, (filters.model, filters.status, filters.tag))


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _call(row: CallRow) -> list[str]:
    status = f"{row.status} · {row.failure}" if row.failure else row.status
    return [_one_line(cell) for cell in (row.when, row.model, status, *row.cells, row.prompt)]


def _small(note: str) -> str:
    return f" <small>{note}</small>" if note else ""


def _one_line(text: str) -> str:
    """Escape a text on one line: in Markdown an empty line ends the HTML, and what follows would be interpreted."""
    return escape(" ".join(text.split()))


def _lines(title: str, figures: Figures) -> Iterator[str]:
    yield title
    yield " · ".join(f"{tile.name} {tile.value}{f' ({tile.note})' if tile.note else ''}" for tile in figures.tiles)
    if figures.models:
        yield " | ".join(figures.model_heads)
    for row in figures.models:
        yield " | ".join((f"{row.model} ({row.note})" if row.note else row.model, *row.cells))
