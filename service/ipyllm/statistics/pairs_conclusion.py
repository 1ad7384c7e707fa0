"""Sentences about paired differences. What they say follows the interval of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipyllm.statistics.caveats import MAX_NAMES
from ipyllm.statistics.detectable import POWER
from ipyllm.statistics.table import format_level, format_p
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipyllm.statistics.families import Family
    from ipyllm.statistics.observations import Metric, Observations

__all__ = ["LEAST_FOR_BOOTSTRAP", "conclusion_of", "heavy_tail_note", "method_notes"]

LEAST_FOR_BOOTSTRAP = 100
"""Prompts for each comparison below which the bootstrap finds differences that are none too often."""

_MAX_SENTENCES = 12
_NAME_THEM = "Name the metrics that you planned to compare: fewer comparisons are corrected less."
_ADVICE = {
    ("primary", True): _NAME_THEM,
    ("primary", False): "The secondary ones are corrected apart.",
    ("secondary", False): f"They are not corrected for the primary ones. {_NAME_THEM}",
}
_UNDECIDED = "cannot be told"


def conclusion_of(
    observed: Observations, families: Sequence[Family], table: pd.DataFrame, baseline: str, level: float
) -> str:
    """Say of each arm whether it is better or worse than the baseline, by how much, and what cannot be told."""
    if table.empty or not table["n_pairs"].any():
        return f"No other arm has results on the same prompts as {baseline}, so nothing can be compared."
    return " ".join(
        sentence for family in families for sentence in _of_family(observed, family, table, baseline, level) if sentence
    )


def _of_family(
    observed: Observations, family: Family, table: pd.DataFrame, baseline: str, level: float
) -> Iterator[str]:
    correction = _Correction(family, family.comparisons(table), level)
    many = len(table) > _MAX_SENTENCES
    for metric in family.metrics:
        rows = table[table.index.get_level_values("metric") == metric.name].droplevel("metric")
        compared = rows[rows["n_pairs"] > 0]
        if many:
            yield _summary(metric, compared, baseline)
        else:
            found = compared["verdict"] != _UNDECIDED
            for arm, row in compared[found].iterrows():
                yield _difference(metric, arm, row, baseline, correction)
            for arm, row in compared[~found].iterrows():
                yield _no_difference(metric, arm, row, baseline, correction)
        yield from _not_compared(observed, metric, [str(arm) for arm in rows.index[rows["n_pairs"] == 0]], baseline)
    if many and correction.comparisons:
        yield correction.together(table[table["family"] == family.name])


@dataclass(frozen=True)
class _Correction:
    """How the comparisons of a family are corrected, in words."""

    family: Family
    comparisons: int
    level: float

    @property
    def _corrected(self) -> str:
        return f"corrected for {self.family.counted(self.comparisons)}"

    @property
    def interval(self) -> str:
        simultaneous = "simultaneous " if self.comparisons > 1 else ""
        return f"{simultaneous}{format_level(self.level)} interval"

    def p(self, row: pd.Series[Any]) -> str:
        p = format_p(row["p_adjusted"])
        text = f"p {p[0]} {p[1:]}" if p[0] in "<>" else f"p = {p}"
        return f"{text} {self._corrected}" if self.comparisons > 1 else text

    def together(self, rows: pd.DataFrame) -> str:
        """Say what the sentences about many arms rest on."""
        n = rows.loc[rows["n_pairs"] > 0, "n_pairs"]
        prompts = count(int(n.max()), "prompt") if n.min() == n.max() else f"{n.min():,} to {n.max():,} prompts"
        what = "All of this" if self.family.alone else f"All of this on the {self.family.name} metrics"
        corrected = f", {self._corrected}" if self.comparisons > 1 else ""
        return f"{what} holds together at {format_level(self.level)} over {prompts}{corrected}."


def method_notes(
    families: Sequence[Family],
    table: pd.DataFrame,
    level: float,
    ranges: dict[str, tuple[float, float]],
    interval: str,
) -> list[str]:
    """Explain the correction, medians that contradict differences, tests in place of bootstraps, and directions.

    ``ranges`` are the lowest and the highest value of each metric, on which some intervals depend.
    """
    notes = []
    for family in families:
        comparisons = family.comparisons(table)
        if comparisons > 1:
            each = format_level(1 - (1 - level) / comparisons)
            notes.append(
                f"There are {family.counted(comparisons)}. Each interval is one of {each}, so that all of them hold "
                f"together at {format_level(level)}, and the corrected p (p_adjusted) is {comparisons} times p "
                f"(Bonferroni). {_ADVICE[family.name, family.alone]}"
            )
        needed = LEAST_FOR_BOOTSTRAP * comparisons
        pairs = table.loc[table["family"] == family.name, "n_pairs"]
        if interval == "bootstrap" and pairs.between(1, needed - 1).any():
            of = f" with {family.counted(comparisons)}" if comparisons > 1 else ""
            notes.append(
                f"Below {needed:,} prompts{of}, bootstrap intervals are too narrow: such rows have the test of their "
                "metric instead (column test)."
            )
    metrics = [metric for family in families for metric in family.metrics]
    notes += [note for metric in metrics if (note := _opposite_medians(metric, table))]
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


def heavy_tail_note(metric: Metric, arms: list[str], baseline: str) -> str:
    """Say that a few prompts decide the mean differences of these arms, whose intervals are then imprecise."""
    return (
        f"A few prompts far from the others decide the mean difference in {metric.label} between {baseline} and "
        f"{join_names(arms, limit=MAX_NAMES)}: the interval misses the true difference more often than it should."
    )


def _opposite_medians(metric: Metric, table: pd.DataFrame) -> str:
    """Say of which arms the typical difference has the other sign than that of the medians beside it."""
    rows = table[(table.index.get_level_values("metric") == metric.name) & (table["test"] == "Wilcoxon")]
    opposite = rows[np.sign(rows["value"] - rows["baseline_value"]) * np.sign(rows["difference"]) < 0]
    parts = []
    for (_, arm), row in opposite.iterrows():
        value, of_baseline = metric.format(row["value"]), metric.format(row["baseline_value"])
        by_medians, by_prompt = ("higher", "lower") if row["difference"] < 0 else ("lower", "higher")
        if value != of_baseline:
            parts.append(
                f"{arm} has the {by_medians} median ({value}, {row['baseline']} {of_baseline}) but is estimated to be "
                f"{by_prompt} on the same prompt, by {metric.format(abs(row['difference']))}"
            )
    if not parts:
        return ""
    if len(parts) > MAX_NAMES:
        parts = [*parts[:MAX_NAMES], f"so it is with {len(parts) - MAX_NAMES} more"]
    return (
        f"On {metric.label}, {'; '.join(parts)}: a difference here compares the arms prompt by prompt, not their "
        "medians."
    )


def _difference(metric: Metric, arm: Any, row: pd.Series[Any], baseline: str, correction: _Correction) -> str:
    higher = row["low"] > 0
    word = "higher" if higher else "lower"
    verdict = f"{row['verdict']} than {baseline}" + (f": {word}" if row["verdict"] in {"better", "worse"} else "")
    low, high = (row["low"], row["high"]) if higher else (-row["high"], -row["low"])
    limits = f"from {metric.format(low)} upwards" if pd.isna(high) else f"{metric.format(low)} to {metric.format(high)}"
    return (
        f"On {metric.label}, {arm} is {verdict} by {metric.format(abs(row['difference']))} over "
        f"{count(int(row['n_pairs']), 'prompt')} ({correction.interval} {limits}, {correction.p(row)})."
    )


def _no_difference(metric: Metric, arm: Any, row: pd.Series[Any], baseline: str, correction: _Correction) -> str:
    prompts = count(int(row["n_pairs"]), "prompt")
    low, high = row["low"], row["high"]
    if pd.notna(low) and pd.notna(high):
        limits = f"between {metric.format(low)} and {metric.format(high)}"
    else:
        limits = f"above {metric.format(low)}" if pd.notna(low) else f"below {metric.format(high)}"
    known = pd.notna(low) or pd.notna(high)
    method = f"({correction.interval}, {correction.p(row)})"
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
        return f"{sentence}; {prompts} show a true difference of {detectable} or more with a power of {POWER:.0%}."
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
