"""Renders the parts of the dashboard as HTML; all text from outside is escaped or sanitised here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.columns import COLUMNS, TEXT
from ipyllm_widgets.dashboard.call_list import SORTS
from ipyllm_widgets.dashboard.charts import swatch
from ipyllm_widgets.dashboard.dashboard_filters import SCOPES, SPANS, STATUSES
from ipyllm_widgets.dashboard.figures import known_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipyllm_widgets.dashboard.call_list import CallList
    from ipyllm_widgets.dashboard.dashboard_filters import DashboardFilters
    from ipyllm_widgets.dashboard.figures import CallRow, Figures, Tile

__all__ = ["DashboardHtml", "call_html", "dashboard_html"]


@dataclass(frozen=True, slots=True)
class DashboardHtml:
    """HTML of the dashboard by part. The browser gets only the parts that changed."""

    bar: str
    tiles: str
    models: str
    charts: str
    calls: str


def dashboard_html(
    figures: Figures, filters: DashboardFilters, known_models: Iterable[str] = (), nothing: str = ""
) -> DashboardHtml:
    """Return the HTML of ``figures``.

    ``filters`` and, besides the models of the calls, ``known_models`` appear in the filter bar. ``nothing`` is shown
    if there are no calls.
    """
    models = {row.model for row in figures.models} | {*known_models} | ({filters.model} - {""})
    return DashboardHtml(
        bar=_bar(filters, sorted(models)),
        tiles=_tiles(figures.tiles),
        models=_models(figures) if figures.n else f'<p class="nothing">{escape(nothing)}</p>',
        charts=_legend(figures) + "".join(chart.figure() for chart in figures.charts),
        calls=_calls(figures),
    )


# ---- the parts -----------------------------------------------------------------------------------


def _bar(filters: DashboardFilters, models: list[str]) -> str:
    picks = (
        _select("scope", "Calls of", filters.scope, SCOPES),
        _select("since", "Last", filters.since, {name: name for name in SPANS}),
        _select("model", "Model", filters.model, {"": "every model", **{model: model for model in models}}),
        _select("status", "Status", filters.status, {"": "any", **STATUSES}),
        f'<label>Tag <input data-filter="tag" value="{escape(filters.tag)}" placeholder="key=value" size="12"></label>',
    )
    exports = "".join(
        f'<button type="button" data-export="{kind}">{title}</button>'
        for kind, title in (("csv", "CSV"), ("parquet", "Parquet"))
    )
    return f'{"".join(picks)}<span class="exports">Export {exports}</span>'


def _select(name: str, label: str, chosen: str, choices: Mapping[str, str]) -> str:
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(shown)}</option>'
        for value, shown in choices.items()
    )
    return f'<label>{label} <select data-filter="{name}">{options}</select></label>'


def _tiles(tiles: Iterable[Tile]) -> str:
    return "".join(
        f'<div class="tile"><b>{tile.value}</b><span>{tile.name}</span><small>{tile.note}</small></div>'
        for tile in tiles
    )


def _models(figures: Figures) -> str:
    rows = []
    for row in figures.models:
        note = f"<small>{row.note}</small>" if row.note else ""
        cells = "".join(f"<td>{cell}</td>" for cell in row.cells)
        rows.append(f'<tr><th scope="row">{swatch(row.index)} {escape(row.model)}{note}</th>{cells}</tr>')
    return _table("By model", figures.model_heads, rows)


def _legend(figures: Figures) -> str:
    """Return a legend for the charts: in a narrow window the table is far from them."""
    if not figures.charts or len(figures.models) == 1:
        return ""
    marks = "".join(f"<span>{swatch(row.index)} {escape(row.model)}</span>" for row in figures.models)
    return f'<p class="legend" aria-hidden="true">{marks}</p>'


def _calls(figures: Figures) -> str:
    if not figures.n:
        return ""
    listing = figures.listing
    number = f"{figures.n_listed:,} of {figures.n:,}" if listing.search else figures.number
    title = f"<h2>Calls <small>{number}; choose one to read it</small></h2>"
    if not figures.n_listed:
        return f'{title}<p class="nothing">No prompt or answer of these calls contains “{escape(listing.search)}”.</p>'
    heads = [_call_head(name, head, listing) for name, head in zip((*SORTS, ""), figures.call_heads, strict=True)]
    return f"{title}{_table('Calls', heads, map(_call_row, figures.calls))}{_pager(figures)}"


def _call_head(sort: str, head: str, listing: CallList) -> str:
    """Return the head of a column, with a button that sorts by it."""
    if not sort:
        return f'<th scope="col">{head}</th>'
    if sort != listing.sort:
        return f'<th scope="col"><button type="button" data-sort="{sort}">{head}</button></th>'
    order, arrow = ("descending", "▼") if listing.descending else ("ascending", "▲")
    button = f'<button type="button" data-sort="{sort}">{head} <span aria-hidden="true">{arrow}</span></button>'
    return f'<th scope="col" aria-sort="{order}">{button}</th>'


def _pager(figures: Figures) -> str:
    page, pages = figures.listing.page, figures.listing.n_pages(figures.n_listed)
    if pages == 1:
        return ""
    buttons = []
    for to, name in ((1, "First"), (page - 1, "Previous"), (page + 1, "Next"), (pages, "Last")):
        disabled = "" if 1 <= to <= pages and to != page else " disabled"
        buttons.append(f'<button type="button" data-page="{to}"{disabled}>{name}</button>')
    where = f"<span>Page {page:,} of {pages:,}</span>"
    return (
        f'<nav class="pager" aria-label="Pages of calls">{buttons[0]}{buttons[1]}{where}{buttons[2]}{buttons[3]}</nav>'
    )


def _table(name: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(head if head.startswith("<th") else f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _call_row(row: CallRow) -> str:
    failure = f" · {row.failure}" if row.failure else ""
    button = f'<button type="button" data-call="{escape(row.call_id)}" aria-label="read the call of {row.when}">'
    cells = (
        f"{button}{row.when}</button>",
        escape(row.model) + (f" <small>{escape(row.arm)}</small>" if row.arm else ""),
        f'<span class="status {escape(row.status.replace(" ", "-"))}">{escape(row.status + failure)}</span>',
        *row.cells,
        escape(row.prompt) or "<i>no text</i>",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


# ---- one call ------------------------------------------------------------------------------------


def call_html(row: Mapping[Any, Any]) -> str:
    """Return a row of :func:`~ipyllm.dataframes.usage.usage` as HTML: prompt, response and all other columns."""
    from ipyllm.rendering import to_html

    row = known_values(row)
    body = [f"<h2>{escape(str(row.get('model')))} <small>{escape(str(row['call_id']))}</small></h2>"]
    if error := row.get("error_message"):
        body.append(f'<p class="status error">{escape(error)}</p>')
    prompt = f"<pre>{escape(row['prompt'])}</pre>" if row.get("prompt") else "<p><i>not stored</i></p>"
    body.append(f"<h3>Prompt</h3>{prompt}")
    if reasoning := row.get("reasoning"):
        body.append(f'<details class="ipyllm-reasoning"><summary>Reasoning</summary>{to_html(reasoning)}</details>')
    answer = to_html(row["response"]) if row.get("response") else f"<p><i>{_no_answer(row)}</i></p>"
    body.append(f"<h3>Answer</h3>{answer}")
    figures = "".join(
        f"<div><dt>{name}</dt><dd>{escape(_format_value(row[name]))}</dd></div>"
        for name in COLUMNS
        if name not in TEXT and name in row
    )
    body.append(f"<details><summary>Row in the ledger</summary><dl>{figures}</dl></details>")
    return "".join(body)


def _no_answer(row: Mapping[Any, Any]) -> str:
    """Return why a row has no text of an answer: prompt and answer are stored, or deleted, together."""
    if row["status"] == "running":
        return "no text so far"
    came = "ttft_s" in row or row.get("output_tokens") or row.get("cache_hit")
    return "not stored" if came and not row.get("prompt") else "none"


def _format_value(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} {value:%Z}".strip()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
