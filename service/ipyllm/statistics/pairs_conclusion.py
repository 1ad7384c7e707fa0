"""Sentences about paired differences. What they say follows the interval of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ipyllm.statistics.caveats import MAX_NAMES
from ipyllm.statistics.table import format_level, format_p
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.statistics.observations import Metric, Observations

__all__ = ["LEAST_FOR_BOOTSTRAP", "conclusion_of", "method_notes"]

LEAST_FOR_BOOTSTRAP = 100
"""Prompts for each comparison below which the bootstrap finds differences that are none too often."""

_MAX_SENTENCES = 12
_UNDECIDED = "cannot be told"


def conclusion_of(
    observed: Observations, metrics: Sequence[Metric], table: pd.DataFrame, baseline: str, level: float
) -> str:
    """Say of each arm whether it is better or worse than the baseline, by how much, and what cannot be told."""
    if table.empty or not table["n_pairs"].any():
        return f"No other arm has results on the same prompts as {baseline}, so nothing can be compared."
    comparisons = _comparisons(table)
    sentences: list[str] = []
    for metric in metrics:
        rows = table[table.index.get_level_values("metric") == metric.name].droplevel("metric")
        compared = rows[rows["n_pairs"] > 0]
        uncompared = [str(arm) for arm in rows.index[rows["n_pairs"] == 0]]
        if len(table) > _MAX_SENTENCES:
            sentences.append(_summary(metric, compared, baseline))
            sentences += _not_compared(observed, metric, uncompared, baseline)
            continue
        found = compared["verdict"] != _UNDECIDED
        sentences += [
            _difference(metric, arm, row, baseline, level, comparisons) for arm, row in compared[found].iterrows()
        ]
        sentences += [
            _no_difference(metric, arm, row, baseline, level, comparisons) for arm, row in compared[~found].iterrows()
        ]
        sentences += _not_compared(observed, metric, uncompared, baseline)
    if len(table) > _MAX_SENTENCES:
        sentences.append(_together(table, level, comparisons))
    return " ".join(sentence for sentence in sentences if sentence)


def method_notes(
    metrics: Sequence[Metric],
    table: pd.DataFrame,
    level: float,
    ranges: dict[str, tuple[float, float]],
    interval: str,
) -> list[str]:
    """Explain the correction and the ``ranges`` of intervals, and name tests in place of bootstraps, and directions."""
    notes = []
    comparisons = _comparisons(table)
    if comparisons > 1:
        each = format_level(1 - (1 - level) / comparisons)
        notes.append(
            f"There are {comparisons} comparisons. Each interval is one of {each}, so that all of them hold together "
            f"at {format_level(level)}, and p_adjusted is {comparisons} p (Bonferroni). Name the metrics that you "
            "planned to compare: fewer comparisons are corrected less."
        )
    needed = LEAST_FOR_BOOTSTRAP * comparisons
    if interval == "bootstrap" and table["n_pairs"].between(1, needed - 1).any():
        of = f" with {comparisons} comparisons" if comparisons > 1 else ""
        notes.append(
            f"Below {needed:,} prompts{of}, bootstrap intervals are too narrow: such rows have the test of their "
            "metric instead (column test)."
        )
    unknown = [metric.label for metric in metrics if metric.higher_is_better is None]
    if unknown:
        notes.append(
            f"Nothing says whether a higher {join_names(unknown, limit=MAX_NAMES)} is better: give the scorer an "
            f"attribute higher_is_better, or pass directions={{{unknown[0]!r}: True}}, or False."
        )
    bounded = table[(table["test"] == "bounded mean") & table["low"].notna()].index.get_level_values("metric")
    for metric in metrics:
        lowest, highest = ranges[metric.name]
        if metric.name in bounded and (lowest, highest) != (0, 1):
            notes.append(
                f"Where all prompts differ by the same amount, the interval of {metric.label} takes {metric.plural} to "
                f"be from {metric.format(lowest)} to {metric.format(highest)}, as in these calls."
            )
    return notes


def _comparisons(table: pd.DataFrame) -> int:
    return int((table["n_pairs"] > 0).sum())


def _difference(metric: Metric, arm: Any, row: pd.Series[Any], baseline: str, level: float, comparisons: int) -> str:
    higher = row["low"] > 0
    word = "higher" if higher else "lower"
    verdict = f"{row['verdict']} than {baseline}" + (f": {word}" if row["verdict"] in {"better", "worse"} else "")
    low, high = (row["low"], row["high"]) if higher else (-row["high"], -row["low"])
    limits = f"from {metric.format(low)} upwards" if pd.isna(high) else f"{metric.format(low)} to {metric.format(high)}"
    return (
        f"On {metric.label}, {arm} is {verdict} by {metric.format(abs(row['difference']))} over "
        f"{count(int(row['n_pairs']), 'prompt')} ({_interval_name(level, comparisons)} {limits}, "
        f"{_p(row, comparisons)})."
    )


def _no_difference(metric: Metric, arm: Any, row: pd.Series[Any], baseline: str, level: float, comparisons: int) -> str:
    prompts = count(int(row["n_pairs"]), "prompt")
    low, high = row["low"], row["high"]
    if pd.notna(low) and pd.notna(high):
        limits = f"between {metric.format(low)} and {metric.format(high)}"
    else:
        limits = f"above {metric.format(low)}" if pd.notna(low) else f"below {metric.format(high)}"
    known = pd.notna(low) or pd.notna(high)
    method = f"({_interval_name(level, comparisons)}, {_p(row, comparisons)})"
    if row["n_different"] == 0:
        sentence = f"On {metric.label}, {arm} equals {baseline} on every prompt"
        if known:
            return f"{sentence}; their true difference may still lie {limits} {method}."
        return f"{sentence}; how large their true difference may be is not known from these calls."
    word = "higher" if metric.higher_is_better is None else "better"
    sentence = f"On {metric.label}, it cannot be told whether {arm} or {baseline} is {word}"
    if known:
        sentence += f": {arm} minus {baseline} lies {limits} {method}"
    if pd.notna(row["detectable"]):
        detectable = metric.format(row["detectable"])
        return f"{sentence}; {prompts} would probably have shown a difference of {detectable} or more."
    return f"{sentence}; {prompts} {'is' if row['n_pairs'] == 1 else 'are'} too few to show any difference."


def _not_compared(observed: Observations, metric: Metric, arms: list[str], baseline: str) -> list[str]:
    """Say why arms have no prompt in common with the baseline."""
    subject = f"{metric.plural[0].upper()}{metric.plural[1:]} cannot be compared"
    values = observed.values(metric)
    without = {arm for arm in (*arms, baseline) if values[observed.frame["arm"] == arm].isna().all()}

    def reason(arm: str) -> str:
        if arm in observed.mostly_late(metric):
            return f"most of {arm}'s were measured late"
        unreliable = metric.kind in {"time", "speed"} and observed.left_out[observed.frame["arm"] == arm].all()
        return f"all of {arm}'s were unreliable" if unreliable else f"{arm} has none"

    if arms and baseline in without:
        return [f"{subject}: {reason(baseline)}."]
    sentences = [f"{subject} between {arm} and {baseline}: {reason(arm)}." for arm in arms if arm in without]
    apart = [arm for arm in arms if arm not in without]
    if apart:
        sentences.append(
            f"{subject} between {join_names(apart, limit=MAX_NAMES)} and {baseline}: they share no prompt."
        )
    return sentences


def _summary(metric: Metric, rows: pd.DataFrame, baseline: str) -> str:
    """Return one sentence for many arms."""
    verdicts = {
        "better": f"better than {baseline}",
        "worse": f"worse than {baseline}",
        "higher": f"higher than {baseline}",
        "lower": f"lower than {baseline}",
        _UNDECIDED: f"not shown to differ from {baseline}",
    }
    groups = [(what, rows.index[rows["verdict"] == verdict]) for verdict, what in verdicts.items()]
    parts = [
        f"{join_names([str(arm) for arm in arms], limit=MAX_NAMES)} {'is' if len(arms) == 1 else 'are'} {what}"
        for what, arms in groups
        if len(arms)
    ]
    return f"On {metric.label}, {'; '.join(parts)}." if parts else ""


def _together(table: pd.DataFrame, level: float, comparisons: int) -> str:
    """Say what all sentences about many arms rest on."""
    n = table.loc[table["n_pairs"] > 0, "n_pairs"]
    prompts = count(int(n.max()), "prompt") if n.min() == n.max() else f"{n.min():,} to {n.max():,} prompts"
    corrected = f", corrected for {comparisons:,} comparisons" if comparisons > 1 else ""
    return f"All of this holds together at {format_level(level)} over {prompts}{corrected}."


def _interval_name(level: float, comparisons: int) -> str:
    return f"{'simultaneous ' if comparisons > 1 else ''}{format_level(level)} interval"


def _p(row: pd.Series[Any], comparisons: int) -> str:
    corrected = f" corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return f"p = {format_p(row['p_adjusted'])}{corrected}".replace("= <", "< ")
