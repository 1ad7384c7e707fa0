"""Figures of the dashboard as plain text, before they become the page or the static snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.call_totals import cost_total, token_total
from ipyllm.text.format import UNKNOWN, compact_count, is_missing, money, number, seconds, shorten
from ipyllm_widgets.dashboard.charts import Chart, bars, lines
from ipyllm_widgets.dashboard.series import over_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["CALL_HEADS", "MODEL_HEADS", "CallRow", "Figures", "ModelRow", "Tile", "figures_of", "known_values"]

MODEL_HEADS = ("model", "calls", "errors", "TTFT p50", "p95", "total p50", "tokens/s", "tokens in", "out", "cost")
CALL_HEADS = ("when", "model", "status", "TTFT", "total", "tokens out", "cost", "prompt")

_PROMPT_CHARS = 120  # in the list
_IN_CHARTS = ("ttft_p50_s", "output_tps_p50", "output_tokens", "cost_usd", "errors")


@dataclass(frozen=True, slots=True)
class Tile:
    """One sum, with a note on what it does not include."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Figures of one model; ``cells`` are the columns ``MODEL_HEADS`` after the name, ``index`` selects its mark."""

    index: int
    model: str
    left_out: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallRow:
    """One of the latest calls; ``cells`` are the columns ``CALL_HEADS`` between status and prompt."""

    call_id: str
    when: str
    model: str
    status: str
    failure: str
    cells: tuple[str, ...]
    prompt: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of the dashboard; equal for equal calls."""

    n: int
    tiles: tuple[Tile, ...]
    models: tuple[ModelRow, ...]
    charts: tuple[Chart, ...]
    calls: tuple[CallRow, ...]


def figures_of(calls: pd.DataFrame, newest: pd.DataFrame) -> Figures:
    """Return the figures of ``calls`` and the rows of ``newest``, frames of :func:`~ipyllm.dataframes.usage.usage`."""
    models = sorted(set(calls["model"].dropna()))
    return Figures(
        n=len(calls),
        tiles=_tiles(calls),
        models=_models(calls, models) if models else (),
        charts=_charts(calls),
        calls=tuple(_call(row) for row in newest.iloc[::-1].to_dict("records")),
    )


def _tiles(calls: pd.DataFrame) -> tuple[Tile, ...]:
    n, failed = len(calls), int(calls["status"].isin(["error", "truncated"]).sum())
    running = int((calls["status"] == "running").sum())
    cost, tokens = cost_total(calls), token_total(calls)
    at_least = "≥ " if tokens.n_uncounted else ""
    return (
        Tile("calls", f"{n:,}", f"{running:,} running" if running else ""),
        Tile("errors", f"{failed:,}", f"{failed / n:.1%}" if n else ""),
        Tile("tokens in", at_least + compact_count(tokens.input_tokens), tokens.caveat),
        Tile("tokens out", at_least + compact_count(tokens.output_tokens), tokens.caveat),
        Tile("cost", "unknown" if cost.amount == UNKNOWN else cost.amount, cost.caveat),
    )


def _models(calls: pd.DataFrame, models: list[str]) -> tuple[ModelRow, ...]:
    from ipyllm.dataframes.summary_frame import format_costs
    from ipyllm.dataframes.usage import summarise

    summary = summarise(calls[calls["model"].notna()], by="model")
    return tuple(
        ModelRow(
            models.index(str(model)),
            str(model),
            int(row["left_out"]),
            (
                f"{int(row['n']):,}",
                f"{int(row['errors']):,}",
                *(seconds(row[name]) for name in ("ttft_p50_s", "ttft_p95_s", "total_p50_s")),
                number(row["output_tps_p50"]),
                *(_token_cell(row[name], row["uncounted"]) for name in ("input_tokens", "output_tokens")),
                cost,
            ),
        )
        for (model, row), cost in zip(summary.iterrows(), format_costs(summary), strict=True)
    )


def _token_cell(tokens: int | None, n_uncounted: int) -> str:
    return f"{'' if is_missing(tokens) or not n_uncounted else '≥ '}{compact_count(tokens)}"


def _charts(calls: pd.DataFrame) -> tuple[Chart, ...]:
    series = over_time(calls, _IN_CHARTS)
    if series is None:
        return ()
    cost, tokens = cost_total(calls), token_total(calls)
    return (
        lines(series, "ttft_p50_s", "Time to first token, median", seconds),
        lines(series, "output_tps_p50", "Output tokens per second, median", number),
        bars(series, "output_tokens", _label("Output tokens", tokens.caveat), compact_count),
        bars(series, "cost_usd", _label("Cost", cost.caveat), money, "not known" if cost.n_unknown else "free"),
        bars(series, "errors", "Errors", lambda value: f"{value:,.0f}" if value.is_integer() else ""),
    )


def _label(quantity: str, caveat: str) -> str:
    """Return the label of a chart; its sums are lower bounds if there is a caveat."""
    return f"{quantity}, at least: {caveat}" if caveat else quantity


def _call(row: Mapping[Any, Any]) -> CallRow:
    row = known_values(row)
    estimate = row.get("output_tokens_estimated")
    return CallRow(
        call_id=row["call_id"],
        when=f"{row['started_at'].to_pydatetime().astimezone():%m-%d %H:%M:%S}" if "started_at" in row else UNKNOWN,
        model=str(row.get("model")),
        status=str(row.get("status")),
        failure=row.get("error_category", "").replace("_", " "),
        cells=(
            seconds(row.get("ttft_s")),
            seconds(row.get("total_s")),
            compact_count(row.get("output_tokens")) if estimate is None else f"~{compact_count(estimate)}",
            money(row.get("cost_usd")),
        ),
        prompt=shorten(row.get("prompt", ""), _PROMPT_CHARS),
    )


def known_values(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a row of the ledger without its null values."""
    import pandas as pd

    return {name: value for name, value in row.items() if isinstance(value, dict | list) or pd.notna(value)}
