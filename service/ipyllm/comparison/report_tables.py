"""The tables of a report: one for everybody, and those of all figures, with words for headings."""

from __future__ import annotations

import math
import re
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from ipyllm.comparison.headline import amount, arm_values, difference_amount
from ipyllm.statistics.arms_conclusion import value_column
from ipyllm.statistics.observations import METRICS
from ipyllm.statistics.table import format_level
from ipyllm.text.format import UNKNOWN, count
from ipyllm.text.terminal import strip_control_sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from ipyllm.statistics.observations import Metric, Observations
    from ipyllm.statistics.table import StatisticsFrame

__all__ = ["arms_table", "capitalized", "difference_tables", "sentences", "summary_tables", "table"]

_MAX_METRICS = 3
_MAX_COLUMNS = 7

_HEADINGS = {
    "n": "Calls",
    "prompts": "Prompts",
    "errors": "Failed",
    "refused": "Refused",
    "cut": "Cut off",
    "left_out": "Left out of times",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "visible_tokens": "Visible tokens",
    "uncounted": "Calls without a count",
    "cost_usd": "Cost",
    "cost_per_call_usd": "Cost per call",
    "n_pairs": "Prompts",
    "n_different": "Prompts that differ",
    "value": "Value",
    "baseline_value": "Value of the baseline",
    "p": "p",
    "p_adjusted": "p, corrected",
    "effect": "Kind of effect",
    "detectable": "Detectable difference",
    "p_best": "Probability of being best",
}
_UNITS = ("%", " s", "/s")
_VALUE = {"time": "median", "speed": "median", "money": "mean", "errors": "share of calls"}


def arms_table(
    observed: Observations,
    primary: Sequence[Metric],
    summary: StatisticsFrame,
    pairs: StatisticsFrame | None,
    *,
    level: float = 0.95,
) -> str:
    """Return the table of the arms with what decides: primary metrics, difference from the baseline, cost and times."""
    shown = list(primary[:_MAX_METRICS])
    others = [METRICS["cost_usd"], observed.first_time, METRICS["total_s"]]
    columns = [_metric_column(observed, metric, summary) for metric in shown]
    baseline = str(pairs["baseline"].iloc[0]) if pairs is not None and len(pairs) else None
    if baseline is not None:
        columns.insert(1, _difference_column(observed, shown[0], pairs, baseline))
    columns += [
        _metric_column(observed, metric, summary)
        for metric in others
        if metric not in shown and summary.get(value_column(metric), summary["n"] * math.nan).notna().any()
    ]
    columns += [
        (heading, "of calls", partial(_count_cell, summary, name))
        for name, heading in (("errors", "Failed"), ("cut", "Cut off"))
        if summary[name].any()
    ]
    head = "".join(f'<th scope="col">{escape(name)}<small>{escape(sub)}</small></th>' for name, sub, _ in columns)
    rows = "".join(
        f'<tr><th scope="row">{_label(arm)}{"<small>baseline</small>" if arm == baseline else ""}</th>'
        f"{''.join(f'<td>{cell(str(arm))}</td>' for _, _, cell in columns)}</tr>"
        for arm in summary.index
    )
    below = f"Intervals are at {format_level(level)}; those of the differences hold together."
    if len(primary) > len(shown):
        below += f" {count(len(primary) - len(shown), 'more metric is', 'more metrics are')} below."
    return (
        f'<div class="tabled lead"><div class="ipyllm-scroller"><table><thead><tr><th scope="col">Arm</th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div></div><p class='method'>{below}</p>"
    )


def table(frame: pd.DataFrame) -> str:
    """Return a table of text, its intervals on lines of their own."""
    head = "".join(f'<th scope="col">{escape(_heading(str(name)))}</th>' for name in frame)
    rows = "".join(
        f'<tr><th scope="row">{_label(arm)}</th>{"".join(f"<td>{_cell(value)}</td>" for value in row)}</tr>'
        for arm, row in zip(frame.index, frame.itertuples(index=False), strict=True)
    )
    return (
        f'<div class="tabled"><div class="ipyllm-scroller"><table><thead><tr><th scope="col">Arm</th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div></div>"
    )


def summary_tables(summary: StatisticsFrame) -> Iterator[str]:
    """Yield the tables of a summary, each of few enough columns for a page: calls, scores, times, tokens and cost."""
    compact = summary.compact()
    groups: dict[str, list[str]] = {"Calls": [], "Scores": [], "Times": [], "Tokens and cost": []}
    for column in map(str, compact.columns):
        if column.startswith("score_"):
            groups["Scores"].append(column)
        elif _QUANTILE.fullmatch(column):
            groups["Times"].append(column)
        elif "tokens" in column or column == "uncounted" or "_usd" in column:
            groups["Tokens and cost"].append(column)
        else:
            groups["Calls"].append(column)
    for name, columns in groups.items():
        if columns:
            yield f"<h3>{name}</h3>"
        for start in range(0, len(columns), _MAX_COLUMNS):
            yield table(compact[columns[start : start + _MAX_COLUMNS]])


def difference_tables(observed: Observations, pairs: StatisticsFrame) -> Iterator[str]:
    """Yield a table of the differences from the baseline for each metric."""
    compact = pairs.compact()
    families = pairs["family"].nunique()
    for name in dict.fromkeys(pairs.index.get_level_values("metric")):
        metric = observed.metric(str(name))
        unit = {"money": ", in $", "time": ", in s"}.get(metric.kind, "")
        of_metric = compact.loc[[name]].droplevel("metric").drop(columns="family", errors="ignore")
        family = f" ({pairs.loc[[name], 'family'].iloc[0]})" if families > 1 else ""
        yield f"<h3>{escape(capitalized(metric.label))}{unit}{family}</h3>"
        yield table(of_metric)


def sentences(shown: StatisticsFrame, beside: StatisticsFrame | None = None) -> str:
    """Return the conclusion of a table, folded, and its notes but those of the table ``beside`` it."""
    notes = [note for note in shown.notes if beside is None or note not in beside.notes]
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    listed = f'<ul class="method">{items}</ul>' if items else ""
    return (
        f'<details class="sentences"><summary>In sentences</summary><p>{escape(shown.conclusion)}</p></details>{listed}'
    )


_QUANTILE = re.compile(r"(\w+)_p([\d.]+)(_s)?")


def _heading(column: str) -> str:
    """Return a column of the statistics in words."""
    if found := _QUANTILE.fullmatch(column):
        metric = METRICS[found[1] + (found[3] or "")]
        unit = " (s)" if found[3] else ""
        rank = "median" if found[2] == "50" else f"{found[2]}th percentile"
        return f"{capitalized(metric.label)}, {rank}{unit}"
    if column.startswith("score_"):
        return capitalized(re.sub(r" n$", ": scored", column.removeprefix("score_").replace("_", " ")))
    return _HEADINGS.get(column, capitalized(column.replace("_", " ")))


def _metric_column(
    observed: Observations, metric: Metric, summary: pd.DataFrame
) -> tuple[str, str, Callable[[str], str]]:
    values, column = arm_values(observed, metric, summary), value_column(metric)

    def cell(arm: str) -> str:
        if math.isnan(values[arm]):
            return UNKNOWN
        shown = f"<b>{amount(observed, metric, values[arm])}</b>"
        if f"{column}_low" not in summary.columns:
            return shown
        limits = [float(summary[f"{column}_{end}"][arm]) for end in ("low", "high")]
        return shown + _interval(limits, lambda value: amount(observed, metric, value))

    what = _VALUE.get(metric.kind, "share" if observed.is_binary(metric) else "mean")
    if metric.kind == "score" and metric.higher_is_better is False:
        what += ", lower is better"
    return capitalized(metric.label.replace("_", " ")), what, cell


def _difference_column(
    observed: Observations, metric: Metric, pairs: Any, baseline: str
) -> tuple[str, str, Callable[[str], str]]:
    def cell(arm: str) -> str:
        if arm == baseline:
            return ""
        row = pairs.loc[(metric.name, arm)]
        if not row["n_pairs"]:
            return UNKNOWN
        text = difference_amount(observed, metric, float(row["difference"]))
        sign = "+" if row["difference"] > 0 else ""
        limits = [float(row["low"]), float(row["high"])]
        interval = _interval(limits, lambda value: difference_amount(observed, metric, value, with_unit=False))
        return f'<b>{sign}{text}</b>{interval}<small class="{row["verdict"]}">{row["verdict"]}</small>'

    return "Difference", f"from the baseline on {strip_control_sequences(metric.label)}", cell


def _interval(limits: list[float], show: Callable[[float], str]) -> str:
    if all(map(math.isnan, limits)):
        return ""
    low, high = ("…" if math.isnan(limit) else escape(show(limit)) for limit in limits)
    unit = next((unit for unit in _UNITS if low.endswith(unit) and high.endswith(unit)), "")
    return f"<small>{low.removesuffix(unit)} to {high}</small>"


def _count_cell(summary: pd.DataFrame, name: str, arm: str) -> str:
    return f"{summary[name][arm]:,} of {summary['n'][arm]:,}"


def _cell(text: object) -> str:
    value, bracket, interval = strip_control_sequences(str(text)).partition(" [")
    return escape(value) + (f"<small>[{escape(interval)}</small>" if bracket else "")


def capitalized(words: str) -> str:
    """Return words as a heading, with a capital at the beginning."""
    words = strip_control_sequences(words)
    return words[:1].upper() + words[1:]


def _label(arm: object) -> str:
    return escape(strip_control_sequences(str(arm)))
