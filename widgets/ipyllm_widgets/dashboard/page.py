"""The parts of the dashboard as HTML, from the calls it shows. What strangers wrote is escaped or sanitised here."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.ledger.columns import COLUMNS, TEXT
from ipyllm.rendering.footer import dollars, seconds
from ipyllm_widgets.dashboard.charts import bars, lines, swatch
from ipyllm_widgets.dashboard.filters import SCOPES, SPANS, STATUSES
from ipyllm_widgets.dashboard.series import over_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from ipyllm_widgets.dashboard.filters import Filters

__all__ = ["Parts", "call_page", "parts_of"]

_LATEST = 50
_PROMPT_SHOWN = 120  # characters of a prompt in the list
_IN_CHARTS = ("ttft_p50_s", "output_tps_p50", "output_tokens", "cost_usd", "errors")


@dataclass(frozen=True, slots=True)
class Parts:
    """HTML of the dashboard, part by part: each is sent to the browser only when it has changed."""

    bar: str
    tiles: str
    models: str
    charts: str
    calls: str


def parts_of(calls: pd.DataFrame, filters: Filters, known_models: Iterable[str] = ()) -> Parts:
    """Draw the dashboard of ``calls``.

    Parameters
    ----------
    calls : DataFrame
        The calls that meet ``filters``, as :func:`~ipyllm.frames.usage` returns them.
    filters : Filters
        What the filter bar shows.
    known_models : iterable of str
        What may be chosen in it, beside the models of ``calls``.
    """
    models = sorted(set(calls["model"].dropna()))
    return Parts(
        bar=_bar(filters, sorted({*models, *known_models, *([filters.model] if filters.model else [])})),
        tiles=_tiles(calls),
        models=_models(calls, models),
        charts=_charts(calls),
        calls=_calls(calls),
    )


# ---- the parts -----------------------------------------------------------------------------------


def _bar(filters: Filters, models: list[str]) -> str:
    picks = (
        _select("scope", "Calls of", filters.scope, SCOPES),
        _select("since", "Last", filters.since, {name: name for name in SPANS}),
        _select("model", "Model", filters.model, {"": "every model", **{model: model for model in models}}),
        _select("status", "Status", filters.status, {"": "any", **{status: status for status in STATUSES}}),
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


def _tiles(calls: pd.DataFrame) -> str:
    n, failed = len(calls), int(calls["status"].isin(["error", "truncated"]).sum())
    priced = calls["cost_usd"].notna()
    unknown = int((~priced & ~calls["status"].isin(["running"]) & calls["output_tokens"].notna()).sum())
    cost = _dollars(float(calls["cost_usd"].sum())) if bool(priced.any()) else "unknown" if n else _dollars(0.0)
    shown = (
        ("calls", f"{n:,}", _running(calls)),
        ("errors", f"{failed:,}", f"{failed / n:.1%}" if n else ""),
        ("tokens in", _count(_counted(calls, "input_tokens")), _estimated(calls)),
        ("tokens out", _count(_counted(calls, "output_tokens")), _estimated(calls)),
        ("cost", cost, f"{unknown:,} of unknown price" if unknown else ""),
    )
    return "".join(
        f'<div class="tile"><b>{value}</b><span>{name}</span><small>{note}</small></div>' for name, value, note in shown
    )


def _running(calls: pd.DataFrame) -> str:
    running = int((calls["status"] == "running").sum())
    return f"{running:,} running" if running else ""


def _counted(calls: pd.DataFrame, column: str) -> int:
    return int(calls.loc[calls["usage_source"] != "estimated", column].sum())


def _estimated(calls: pd.DataFrame) -> str:
    estimated = int((calls["usage_source"] == "estimated").sum())
    return f"without {estimated:,} estimated" if estimated else ""


def _models(calls: pd.DataFrame, models: list[str]) -> str:
    if calls.empty:
        return (
            '<p class="nothing">No call meets these filters. Ask a model, or choose a longer time or all kernels.</p>'
        )
    from ipyllm.frames import summarise

    heads = ("model", "calls", "errors", "TTFT p50", "p95", "total p50", "tokens/s", "tokens in", "out", "cost")
    rows: list[str] = []
    for model, row in summarise(calls[calls["model"].notna()], by="model").iterrows():
        left = f"{int(row['left_out'])} left out of the latencies: cold, cached or measured late"
        cells = (
            f"{int(row['n']):,}",
            f"{int(row['errors']):,}",
            _seconds(row["ttft_p50_s"]),
            _seconds(row["ttft_p95_s"]),
            _seconds(row["total_p50_s"]),
            _plain(row["output_tps_p50"], "{:.1f}"),
            _count(row["input_tokens"]),
            _count(row["output_tokens"]),
            _dollars(row["cost_usd"]),
        )
        note = f' <small title="{left}">−{int(row["left_out"])}</small>' if row["left_out"] else ""
        rows.append(
            f'<tr><th scope="row">{swatch(models.index(str(model)))} {escape(str(model))}{note}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    return _table(heads, rows)


def _charts(calls: pd.DataFrame) -> str:
    series = over_time(calls, _IN_CHARTS)
    if series is None:
        return ""
    return "".join(
        (
            lines(series, "ttft_p50_s", "Time to first token, median", _seconds),
            lines(series, "output_tps_p50", "Output tokens per second, median", lambda value: f"{value:,.3g}"),
            bars(series, "output_tokens", "Output tokens", _count),
            bars(
                series, "cost_usd", "Cost", _dollars, "free" if bool(calls["cost_usd"].notna().any()) else "not known"
            ),
            bars(series, "errors", "Errors", lambda value: f"{value:,.0f}" if value.is_integer() else ""),
        )
    )


def _calls(calls: pd.DataFrame) -> str:
    if calls.empty:
        return ""
    heads = ("when", "model", "status", "TTFT", "total", "tokens out", "cost", "prompt")
    rows = [_call_row(row) for row in calls.tail(_LATEST).iloc[::-1].to_dict("records")]
    shown = f"the latest {_LATEST} of {len(calls):,}" if len(calls) > _LATEST else f"{len(calls):,}"
    return f"<h2>Calls <small>{shown}; choose one to read it</small></h2>{_table(heads, rows)}"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _call_row(row: Mapping[Any, Any]) -> str:
    when = row["started_at"].to_pydatetime().astimezone()
    failure = f" · {row['error_category'].replace('_', ' ')}" if _is_text(row["error_category"]) else ""
    prompt = row["prompt"] if _is_text(row["prompt"]) else ""
    text = prompt if len(prompt) <= _PROMPT_SHOWN else prompt[: _PROMPT_SHOWN - 1] + "…"
    about = "≈" if row["usage_source"] == "estimated" else ""
    tokens = _count(row["output_tokens"])
    call_id, spoken = escape(row["call_id"]), f"read the call of {when:%m-%d %H:%M:%S}"
    cells = (
        f'<button type="button" data-call="{call_id}" aria-label="{spoken}">{when:%m-%d %H:%M:%S}</button>',
        escape(str(row["model"])),
        f'<span class="status {escape(str(row["status"]))}">{escape(str(row["status"]) + failure)}</span>',
        _seconds(row["ttft_s"]),
        _seconds(row["total_s"]),
        about + tokens if tokens != _UNKNOWN else tokens,
        _dollars(row["cost_usd"]),
        escape(text) or f"<i>{'not stored' if not _is_text(row['prompt']) else 'empty'}</i>",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


# ---- one call ------------------------------------------------------------------------------------


def call_page(row: Mapping[Any, Any]) -> str:
    """Draw one call: what was asked, what came, and every figure of its row.

    Parameters
    ----------
    row : mapping
        A row of :func:`~ipyllm.frames.usage`, by column.
    """
    from ipyllm.rendering import to_html

    body = [f"<h2>{escape(str(row['model']))} <small>{escape(str(row['call_id']))}</small></h2>"]
    if _is_text(row["error_message"]):
        body.append(f'<p class="status error">{escape(row["error_message"])}</p>')
    not_stored = "<p><i>not stored</i></p>"
    prompt = f"<pre>{escape(row['prompt'])}</pre>" if _is_text(row["prompt"]) else not_stored
    body.append(f"<h3>Prompt</h3>{prompt}")
    if _is_text(row["reasoning"]):
        body.append(
            f'<details class="ipyllm-reasoning"><summary>Reasoning</summary>{to_html(row["reasoning"])}</details>'
        )
    answer = to_html(row["response"]) if _is_text(row["response"]) else not_stored
    body.append(f"<h3>Answer</h3>{answer}")
    figures = "".join(
        f"<div><dt>{name}</dt><dd>{escape(_figure(row[name]))}</dd></div>"
        for name in COLUMNS
        if name not in TEXT and name in row and _is_known(row[name])
    )
    body.append(f"<details><summary>Its row in the ledger</summary><dl>{figures}</dl></details>")
    return "".join(body)


def _figure(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---- values --------------------------------------------------------------------------------------

_UNKNOWN = "–"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_known(value: Any) -> bool:
    import pandas as pd

    return isinstance(value, dict | list) or bool(pd.notna(value))


def _plain(value: Any, form: str) -> str:
    return form.format(value) if _is_known(value) else _UNKNOWN


def _seconds(value: Any) -> str:
    return seconds(value) if _is_known(value) else _UNKNOWN


def _count(value: Any) -> str:
    """Write a number of tokens.

    Examples
    --------
    >>> [_count(value) for value in (None, 0, 4321, 43210, 4321000)]
    ['–', '0', '4,321', '43.2k', '4.32M']
    """
    if not _is_known(value):
        return _UNKNOWN
    for least, unit in ((1e6, "M"), (1e4, "k")):
        if value >= least:
            return f"{value / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:,.0f}"


def _dollars(value: Any) -> str:
    """Write a cost; null is unknown, and never 0.

    Examples
    --------
    >>> [_dollars(value) for value in (None, 0.0, 0.000012, 1.5)]
    ['–', '$0', '$0.000012', '$1.50']
    """
    if not _is_known(value):
        return _UNKNOWN
    return dollars(value) if value else "$0"
