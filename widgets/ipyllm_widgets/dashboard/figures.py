"""What the dashboard says of some calls, before it is written as a page or as what a notebook keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm_widgets.dashboard.charts import Chart, bars, lines
from ipyllm_widgets.dashboard.series import over_time
from ipyllm_widgets.dashboard.values import UNKNOWN, count, duration, is_known, is_text, plain_number, price

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["CALL_HEADS", "MODEL_HEADS", "CallRow", "Figures", "ModelRow", "Tile", "figures_of"]

MODEL_HEADS = ("model", "calls", "errors", "TTFT p50", "p95", "total p50", "tokens/s", "tokens in", "out", "cost")
CALL_HEADS = ("when", "model", "status", "TTFT", "total", "tokens out", "cost", "prompt")

_PROMPT_SHOWN = 120  # characters of a prompt in the list
_IN_CHARTS = ("ttft_p50_s", "output_tps_p50", "output_tokens", "cost_usd", "errors")


@dataclass(frozen=True, slots=True)
class Tile:
    """One sum, with a note on what is not in it."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the calls of one model come to; ``cells`` stand under ``MODEL_HEADS`` after its name.

    ``place`` is its place in the order of models, which its colour and shape follow.
    """

    place: int
    model: str
    left_out: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallRow:
    """One of the latest calls; ``cells`` stand under ``CALL_HEADS`` after the first three."""

    call_id: str
    when: str
    model: str
    status: str
    failure: str
    cells: tuple[str, ...]
    prompt: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it, as plain text; two of the same calls are equal."""

    n: int
    tiles: tuple[Tile, ...]
    models: tuple[ModelRow, ...]
    charts: tuple[Chart, ...]
    calls: tuple[CallRow, ...]


def figures_of(calls: pd.DataFrame, newest: pd.DataFrame) -> Figures:
    """Return the figures of ``calls``, and the rows of the ``newest``: as :func:`~ipyllm.dataframes.usage.usage` returns them."""
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
    cost = price(float(calls["cost_usd"].sum())) if bool(priced.any()) else "unknown" if n else price(0.0)
    counted = calls[calls["usage_source"] != "estimated"]
    estimated = f"without {n - len(counted):,} estimated" if n > len(counted) else ""
    return (
        Tile("calls", f"{n:,}", f"{running:,} running" if running else ""),
        Tile("errors", f"{failed:,}", f"{failed / n:.1%}" if n else ""),
        Tile("tokens in", count(int(counted["input_tokens"].sum())), estimated),
        Tile("tokens out", count(int(counted["output_tokens"].sum())), estimated),
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
                duration(row["ttft_p50_s"]),
                duration(row["ttft_p95_s"]),
                duration(row["total_p50_s"]),
                plain_number(row["output_tps_p50"], "{:.1f}"),
                count(row["input_tokens"]),
                count(row["output_tokens"]),
                price(row["cost_usd"]),
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
        lines(series, "ttft_p50_s", "Time to first token, median", duration),
        lines(series, "output_tps_p50", "Output tokens per second, median", lambda value: f"{value:,.3g}"),
        bars(series, "output_tokens", "Output tokens", count),
        bars(series, "cost_usd", "Cost", price, "free" if priced else "not known"),
        bars(series, "errors", "Errors", lambda value: f"{value:,.0f}" if value.is_integer() else ""),
    )


def _call(row: Mapping[Any, Any]) -> CallRow:
    when = row["started_at"]
    prompt = row["prompt"] if is_text(row["prompt"]) else ""
    about = "≈" if row["usage_source"] == "estimated" else ""
    tokens = count(row["output_tokens"])
    return CallRow(
        call_id=row["call_id"],
        when=f"{when.to_pydatetime().astimezone():%m-%d %H:%M:%S}" if is_known(when) else UNKNOWN,
        model=str(row["model"]),
        status=str(row["status"]),
        failure=row["error_category"].replace("_", " ") if is_text(row["error_category"]) else "",
        cells=(
            duration(row["ttft_s"]),
            duration(row["total_s"]),
            about + tokens if tokens != UNKNOWN else tokens,
            price(row["cost_usd"]),
        ),
        prompt=prompt if len(prompt) <= _PROMPT_SHOWN else prompt[: _PROMPT_SHOWN - 1] + "…",
    )
