"""Figures of the dashboard as plain text, before they become the page or the static snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.text.format import UNKNOWN, compact_count, money, number, seconds, shorten
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
    priced = calls["cost_usd"].notna()
    unknown = int((~priced & ~calls["status"].isin(["running"]) & calls["output_tokens"].notna()).sum())
    cost = money(float(calls["cost_usd"].sum())) if bool(priced.any()) else "unknown" if n else money(0.0)
    counted = calls[calls["usage_source"] != "estimated"]
    estimated = f"without {n - len(counted):,} estimated" if n > len(counted) else ""
    return (
        Tile("calls", f"{n:,}", f"{running:,} running" if running else ""),
        Tile("errors", f"{failed:,}", f"{failed / n:.1%}" if n else ""),
        Tile("tokens in", compact_count(int(counted["input_tokens"].sum())), estimated),
        Tile("tokens out", compact_count(int(counted["output_tokens"].sum())), estimated),
        Tile("cost", cost, f"{unknown:,} of unknown price" if unknown else ""),
    )


def _models(calls: pd.DataFrame, models: list[str]) -> tuple[ModelRow, ...]:
    from ipyllm.dataframes.usage import summarise

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
                compact_count(row["input_tokens"]),
                compact_count(row["output_tokens"]),
                money(row["cost_usd"]),
            ),
        )
        for model, row in summarise(calls[calls["model"].notna()], by="model").iterrows()
    )


def _charts(calls: pd.DataFrame) -> tuple[Chart, ...]:
    series = over_time(calls, _IN_CHARTS)
    if series is None:
        return ()
    priced = bool(calls["cost_usd"].notna().any())
    return (
        lines(series, "ttft_p50_s", "Time to first token, median", seconds),
        lines(series, "output_tps_p50", "Output tokens per second, median", number),
        bars(series, "output_tokens", "Output tokens", compact_count),
        bars(series, "cost_usd", "Cost", money, "free" if priced else "not known"),
        bars(series, "errors", "Errors", lambda value: f"{value:,.0f}" if value.is_integer() else ""),
    )


def _call(row: Mapping[Any, Any]) -> CallRow:
    row = known_values(row)
    approx = "≈" if row.get("usage_source") == "estimated" and "output_tokens" in row else ""
    return CallRow(
        call_id=row["call_id"],
        when=f"{row['started_at'].to_pydatetime().astimezone():%m-%d %H:%M:%S}" if "started_at" in row else UNKNOWN,
        model=str(row.get("model")),
        status=str(row.get("status")),
        failure=row.get("error_category", "").replace("_", " "),
        cells=(
            seconds(row.get("ttft_s")),
            seconds(row.get("total_s")),
            approx + compact_count(row.get("output_tokens")),
            money(row.get("cost_usd")),
        ),
        prompt=shorten(row.get("prompt", ""), _PROMPT_CHARS),
    )


def known_values(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a row of the ledger without its null values."""
    import pandas as pd

    return {name: value for name, value in row.items() if isinstance(value, dict | list) or pd.notna(value)}
