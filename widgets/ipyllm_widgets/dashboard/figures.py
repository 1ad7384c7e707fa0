"""Figures of the dashboard as plain text, before they become the page or the static snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipyllm.dataframes.call_totals import cost_total, token_total
from ipyllm.dataframes.latency_filter import left_out_late
from ipyllm.dataframes.never_sent import never_sent
from ipyllm.dataframes.reasoning import first_time, reasoned
from ipyllm.response import name_failure
from ipyllm.text.format import UNKNOWN, compact_count, is_missing, money, number, seconds, shorten
from ipyllm_widgets.dashboard.call_list import NEWEST_CALLS, CallList
from ipyllm_widgets.dashboard.charts import Chart, bars, lines
from ipyllm_widgets.dashboard.series import over_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["CallRow", "Figures", "ModelRow", "Tile", "figures_of", "first_metric", "known_values"]

_FIRST_TIMES = {"ttft_s": ("TTFT", "Time to first token"), "ttfo_s": ("first text", "Time to first visible text")}
"""First times in the head of a table and the label of a chart; the second where a model reasons."""
_PROMPT_CHARS = 120  # in the list
_N_FIGURES = 9  # of calls that were sent, in the table by model, besides their number


@dataclass(frozen=True, slots=True)
class Tile:
    """One sum, with a note on what it does not include."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Figures of one model; ``cells`` are the columns after the name, ``index`` is the number of its mark.

    ``note`` says which calls the times do not include.
    """

    index: int
    model: str
    note: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallRow:
    """One of the listed calls.

    ``arm`` is what tells it from others to its model, in a comparison or an experiment, and ``cells`` are the columns
    between status and prompt.
    """

    call_id: str
    when: str
    model: str
    arm: str
    status: str
    failure: str
    cells: tuple[str, ...]
    prompt: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of the dashboard; equal for equal calls."""

    n: int
    n_unsent: int
    """Those of them that failed before anything was sent: errors of no server, and in no other figure."""
    tiles: tuple[Tile, ...]
    model_heads: tuple[str, ...]
    models: tuple[ModelRow, ...]
    charts: tuple[Chart, ...]
    call_heads: tuple[str, ...]
    calls: tuple[CallRow, ...]
    listing: CallList = NEWEST_CALLS
    n_listed: int = 0
    """Calls of all pages."""

    @property
    def number(self) -> str:
        """The number of calls in words."""
        return f"{self.n:,}, {self.n_unsent:,} of them not sent" if self.n_unsent else f"{self.n:,}"


def figures_of(
    calls: pd.DataFrame,
    listed: pd.DataFrame,
    listing: CallList = NEWEST_CALLS,
    n_listed: int | None = None,
    *,
    marks: Mapping[str, int] | None = None,
    metric: str = "",
) -> Figures:
    """Return the figures of ``calls`` and the rows of ``listed``, frames of :func:`~ipyllm.dataframes.usage.usage`.

    ``listing`` says what is listed, one page of ``n_listed`` calls. ``marks`` has the number of each model's mark and
    ``metric`` is the column of first times; without them the calls decide.
    """
    n = len(calls)
    models = sorted(calls["model"].dropna().unique())
    is_unsent = never_sent(calls)
    unsent = calls[is_unsent]
    calls = calls[~is_unsent] if len(unsent) else calls
    marks = marks or {model: mark for mark, model in enumerate(models)}
    metric = metric or first_metric(calls)
    head, _ = _FIRST_TIMES[metric]
    return Figures(
        n=n,
        n_unsent=len(unsent),
        tiles=_tiles(calls, len(unsent)),
        model_heads=(
            *("model", "calls", *(("not sent",) if len(unsent) else ()), "errors", "cut off"),
            *(f"{head} p50", "p95", "total p50", "tokens/s", "tokens in", "out", "cost"),
        ),
        models=_models(calls, unsent, marks, metric) if models else (),
        charts=_charts(calls, marks, metric),
        call_heads=("when", "model", "status", head, "total", "tokens out", "cost", "prompt"),
        calls=tuple(_call(row, metric) for row in listed.to_dict("records")),
        listing=listing,
        n_listed=n if n_listed is None else n_listed,
    )


def first_metric(calls: pd.DataFrame) -> str:
    """Return the column of first times: the first visible text where a model reasons."""
    return first_time(reasoned(calls), calls["ttfo_s"])


def _tiles(calls: pd.DataFrame, n_unsent: int) -> tuple[Tile, ...]:
    n, failed = len(calls), int(calls["status"].isin(["error", "truncated"]).sum())
    running = int((calls["status"] == "running").sum())
    cut = int((calls["finish_reason"] == "length").sum())
    cost, tokens = cost_total(calls), token_total(calls)
    at_least = "≥ " if tokens.n_uncounted else ""
    broke_off = int((calls["status"] == "truncated").sum())
    notes = (f"{running:,} running" if running else "", f"and {n_unsent:,} not sent" if n_unsent else "")
    errors = (f"{failed / n:.1%}" if n else "", f"{broke_off:,} truncated" if broke_off else "")
    return (
        Tile("calls", f"{n:,}", ", ".join(filter(None, notes))),
        Tile("errors", f"{failed:,}", ", ".join(filter(None, errors))),
        Tile("cut off", f"{cut:,}", "at max_tokens"),
        Tile("tokens in", at_least + compact_count(tokens.input_tokens), tokens.caveat),
        Tile("tokens out", at_least + compact_count(tokens.output_tokens), tokens.caveat),
        Tile("cost", "unknown" if cost.amount == UNKNOWN else cost.amount, cost.caveat),
    )


def _models(calls: pd.DataFrame, unsent: pd.DataFrame, marks: Mapping[str, int], metric: str) -> tuple[ModelRow, ...]:
    from ipyllm.dataframes.summary_frame import format_costs
    from ipyllm.dataframes.usage import summarise

    first = metric.removesuffix("_s")
    known = calls["model"].notna()
    summary = summarise(calls if known.all() else calls[known], by="model")
    not_sent = unsent["model"].value_counts()
    rows = [
        ModelRow(
            marks[str(model)],
            str(model),
            _left_out_note(int(row["left_out"]), unknown=is_missing(row[f"{first}_p50_s"])),
            (
                f"{int(row['n']):,}",
                *([f"{int(not_sent.get(model, 0)):,}"] if len(unsent) else ()),
                f"{int(row['errors']):,}",
                f"{int(row['cut']):,}",
                *(seconds(row[name]) for name in (f"{first}_p50_s", f"{first}_p95_s", "total_p50_s")),
                number(row["output_tps_p50"]),
                *(_token_cell(row[name], row["uncounted"]) for name in ("input_tokens", "output_tokens")),
                cost,
            ),
        )
        for (model, row), cost in zip(summary.iterrows(), format_costs(summary), strict=True)
    ]
    never = sorted({str(model) for model, n in not_sent.items() if n} - {row.model for row in rows})
    rows += [
        ModelRow(marks[model], model, "", ("0", f"{int(not_sent[model]):,}", *[UNKNOWN] * _N_FIGURES))
        for model in never
    ]
    return tuple(sorted(rows, key=lambda row: row.model))


def _left_out_note(left_out: int, *, unknown: bool) -> str:
    if not left_out:
        return ""
    note = f"first times without {left_out:,}: cold, cached or measured late"
    return f"{note}; no figure, because they are all or most of them" if unknown else note


def _token_cell(tokens: int | None, n_uncounted: int) -> str:
    return f"{'' if is_missing(tokens) or not n_uncounted else '≥ '}{compact_count(tokens)}"


def _charts(calls: pd.DataFrame, marks: Mapping[str, int], metric: str) -> tuple[Chart, ...]:
    column = f"{metric.removesuffix('_s')}_p50_s"
    series = over_time(calls, (column, "output_tps_p50", "output_tokens", "cost_usd", "errors"), marks)
    if series is None:
        return ()
    cost, tokens = cost_total(calls), token_total(calls)
    _, label = _FIRST_TIMES[metric]
    rate = f"Output tokens per second, median{_without_late(calls, 'output_tps')}"
    return (
        lines(series, column, f"{label}, median{_without_late(calls, metric)}", seconds),
        lines(series, "output_tps_p50", rate, number),
        bars(series, "output_tokens", _label("Output tokens", tokens.caveat), compact_count),
        bars(series, "cost_usd", _label("Cost", cost.caveat), money, "not known" if cost.n_unknown else "free"),
        bars(series, "errors", "Errors", lambda value: f"{value:,.0f}" if value.is_integer() else ""),
    )


def _without_late(calls: pd.DataFrame, metric: str) -> str:
    n = int(left_out_late(calls, metric).sum())
    return f" (without {n:,} measured late)" if n else ""


def _label(quantity: str, caveat: str) -> str:
    """Return the label of a chart; its sums are lower bounds if there is a caveat."""
    return f"{quantity}, at least: {caveat}" if caveat else quantity


def _call(row: Mapping[Any, Any], metric: str) -> CallRow:
    row = known_values(row)
    is_unsent = row.get("status") == "error" and row.get("attempts") == 0
    estimate = row.get("output_tokens_estimated")
    category = row.get("error_category", "")
    if category == row.get("status"):  # a cancelled call says so once
        category = ""
    why = (
        "broke off" if row.get("status") == "truncated" else "",
        _failure(category, row),
        "cut off" if row.get("finish_reason") == "length" else "",
    )
    return CallRow(
        call_id=row["call_id"],
        when=f"{row['started_at'].to_pydatetime().astimezone():%m-%d %H:%M:%S}" if "started_at" in row else UNKNOWN,
        model=str(row.get("model")),
        arm=_arm(row),
        status="not sent" if is_unsent else str(row.get("status")),
        failure=", ".join(filter(None, why)),
        cells=(
            seconds(row.get(metric)),
            seconds(row.get("total_s")),
            compact_count(row.get("output_tokens")) if estimate is None else f"~{compact_count(estimate)}",
            money(row.get("cost_usd")),
        ),
        prompt=shorten(row.get("prompt", ""), _PROMPT_CHARS),
    )


def _arm(row: Mapping[Any, Any]) -> str:
    """Return the label of a call's arm without its model, such as ``temperature=0``; empty for no arm."""
    from ipyllm.comparison.comparison import LABEL_TAG

    label = str(row.get("arm") or row.get("tags", {}).get(LABEL_TAG, ""))
    model = str(row.get("model"))
    for name in (model, model.partition("/")[2]):
        if name and label.startswith(name):
            return label.removeprefix(name).strip(" ·")
    return label


def _failure(category: str, row: Mapping[Any, Any]) -> str:
    attempts = int(row.get("attempts", 1)) if category else 1
    return name_failure(category, row.get("cause"), message=row.get("error_message"), attempts=attempts)


def known_values(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a row of the ledger without its null values."""
    import pandas as pd

    return {name: value for name, value in row.items() if isinstance(value, dict | list) or pd.notna(value)}
