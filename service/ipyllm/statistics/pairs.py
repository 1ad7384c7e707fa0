"""``paired()``: differences of all arms from a baseline on the same prompts, corrected for multiple comparisons."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.caveats import MAX_NAMES, caveats
from ipyllm.statistics.differences import bonett_price, bootstrap_interval, cohens_dz, hodges_lehmann, paired_t
from ipyllm.statistics.observations import Failures, Metric, Observations, observe
from ipyllm.statistics.power import minimum_detectable_difference
from ipyllm.statistics.quantiles import check_share
from ipyllm.statistics.significance import holm, mcnemar, rank_biserial
from ipyllm.statistics.table import StatisticsFrame, format_interval, format_p
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PairedDifference", "compare_pairs", "paired", "prompt_means"]

_MAX_SENTENCES = 12


@dataclass(frozen=True)
class PairedDifference:
    """The difference between two arms on one metric, prompt by prompt."""

    n_pairs: int  # prompts with values of both arms
    value: float  # mean over these prompts; median of times and speeds
    baseline_value: float
    difference: float  # arm minus baseline
    low: float
    high: float
    p: float  # probability of so large a difference if there is none
    test: str  # McNemar, t or Wilcoxon
    effect_size: float
    effect: str  # of effect_size: risk difference, d_z or rank-biserial
    detectable: float  # smallest true mean difference that so many prompts detect with a power of 0.8


def paired(
    calls: Any,
    baseline: str | None = None,
    *,
    metrics: Sequence[str] | str | None = None,
    level: float = 0.95,
    interval: Literal["test", "bootstrap"] = "test",
    failures: Failures = "omit",
    directions: Mapping[str, bool | None] | None = None,
    seed: int = 0,
) -> StatisticsFrame:
    """Return the differences of all arms from one of them, on the same prompts.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        As in :func:`~ipyllm.statistics.summarise_arms`.
    baseline : str, optional
        The arm to compare with; by default the first.
    metrics : str or sequence of str, optional
        Scores by name, with or without ``score_``; ``"ttft_s"``, ``"ttfo_s"``, ``"thinking_s"``, ``"total_s"``,
        ``"output_tps"``, ``"cost_usd"``, ``"errors"``. By default all that have values, of the first times ``"ttfo_s"``
        where a model reasons and else ``"ttft_s"``, and not ``"thinking_s"``. The correction grows with their number:
        name those that you planned to compare.
    level : float
        Confidence of each interval.
    interval : {"test", "bootstrap"}
        The interval of the test; or the BCa bootstrap interval of the mean difference over prompts, also for times.
    failures : {"omit", "zero"}
        The score of a failed call: missing, or 0 (or the lowest score of the table, if that is below 0). Where lower is
        better, a failed call has no worst score, so its score is missing.
    directions : mapping of str to bool or None, optional
        Whether higher is better, by score: ``{"edit_distance": False}``. None: neither is better, so a difference is
        higher or lower, and never better or worse. By default as the scorers declared it
        (:class:`ipyllm.scorers.Scorer`). Without a declaration, higher is better for scores that are all 0 or 1, and
        nothing is known of others.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    StatisticsFrame
        Index ``metric`` and ``arm``; the baseline and the attributes of
        :class:`~ipyllm.statistics.pairs.PairedDifference`; ``p_holm``, p corrected for all rows of this table.

    Notes
    -----
    Repeats of a prompt are averaged first, so that prompts are the independent units (Miller 2024). Scores that are
    all 0 or 1, one call per prompt: McNemar's mid-p, interval of Bonett & Price. Other scores, and cost: paired t.
    Times and speeds, whose tails are long: Wilcoxon's signed ranks, and the Hodges–Lehmann difference with
    the interval that inverts it.

    Raises
    ------
    LLMError
        ``bad_request``: no calls, one arm only, no such baseline or metric.

    Examples
    --------
    >>> calls = pd.DataFrame(
    ...     {
    ...         "arm": ["a"] * 8 + ["b"] * 8,
    ...         "prompt_id": [*range(8)] * 2,
    ...         "status": "ok",
    ...         "score_exact": [0] * 7 + [1] + [1] * 7 + [0],
    ...     }
    ... )
    >>> table = paired(calls, baseline="a")
    >>> table.loc[("score_exact", "b"), ["n_pairs", "difference", "test"]].to_dict()
    {'n_pairs': 8, 'difference': 0.75, 'test': 'McNemar'}
    """
    check_share(level, "level")
    if interval not in {"test", "bootstrap"}:
        raise ValueError(f"interval must be 'test' or 'bootstrap', not {interval!r}.")
    observed = observe(calls, directions)
    if len(observed.arms) == 1:
        raise bad_request(
            f"There is only one arm, {observed.arms[0]!r}, so there is nothing to compare it with: run another model, "
            "system prompt or set of parameters on the same prompts."
        )
    reference = observed.arms[0] if baseline is None else observed.arm(baseline)
    others = [arm for arm in observed.arms if arm != reference]
    wanted = observed.metrics(metrics)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for metric in wanted:
        means = prompt_means(observed, metric, failures)
        for arm in others:
            comparison = compare_pairs(means, metric, arm, reference, level=level, interval=interval, seed=seed)
            rows[metric.name, arm] = {"baseline": reference, **asdict(comparison)}
    index = pd.MultiIndex.from_tuples(list(rows), names=["metric", "arm"])
    table = pd.DataFrame(list(rows.values()), index=index, columns=["baseline", *PairedDifference.__dataclass_fields__])
    table.insert(list(table.columns).index("p") + 1, "p_holm", holm(table["p"]) if len(table) else [])
    conclusion = _conclusion(observed, wanted, table, reference, level)
    return StatisticsFrame.of(table, conclusion, [*_method(table, level), *caveats(observed)])


@dataclass(frozen=True)
class PromptMeans:
    """Means of one metric by arm and prompt."""

    table: pd.DataFrame  # arms × prompts
    one_call_each: bool  # no arm was asked a prompt more than once


def prompt_means(observed: Observations, metric: Metric, failures: Failures = "omit") -> PromptMeans:
    """Average the repeats of every prompt; ``failures`` as in :func:`paired`."""
    table, n = observed.by_prompt(observed.values(metric, failures).to_numpy())
    return PromptMeans(pd.DataFrame(table, index=observed.arms), bool(n.max(initial=0) <= 1))


def compare_pairs(
    means: PromptMeans,
    metric: Metric,
    arm: str,
    baseline: str,
    *,
    level: float = 0.95,
    interval: Literal["test", "bootstrap"] = "test",
    seed: int = 0,
) -> PairedDifference:
    """Compare two arms on one metric, with the test for its kind."""
    both = means.table.loc[[arm, baseline]].dropna(axis=1).to_numpy()
    first, second = both
    d = first - second
    n = d.size
    if n == 0:
        nan = math.nan
        return PairedDifference(0, nan, nan, nan, nan, nan, nan, "", nan, "", nan)
    detectable = minimum_detectable_difference(float(d.std(ddof=1)) if n > 1 else math.nan, n, alpha=1 - level)
    if metric.kind in {"time", "speed"}:
        found = hodges_lehmann(d, level=level)
        values = float(np.median(first)), float(np.median(second))
        test, size, effect = "Wilcoxon", rank_biserial(d), "rank-biserial"
    else:
        found = paired_t(d, level=level)
        values = float(first.mean()), float(second.mean())
        test, size, effect = "t", cohens_dz(d), "d_z"
    low, high, p = found.low, found.high, found.p
    if metric.kind in {"score", "errors"} and means.one_call_each and ((both == 0) | (both == 1)).all():
        only_first, only_second = int((d > 0).sum()), int((d < 0).sum())
        low, high = bonett_price(only_first, only_second, n, level=level)
        p = mcnemar(only_first, only_second)
        test, size, effect = "McNemar", found.value, "risk difference"
    difference = found.value
    if interval == "bootstrap":
        low, high = bootstrap_interval(d, level=level, seed=seed)
        difference = float(d.mean())
        values = float(first.mean()), float(second.mean())
    return PairedDifference(n, *values, difference, low, high, p, test, size, effect, detectable)


def _method(table: pd.DataFrame, level: float) -> list[str]:
    n = int(table["p"].notna().sum())
    sentence = (
        f"p_holm is corrected for the {n} comparisons of this table; each interval holds by itself at {level:.0%}, "
        "not all of them together."
    )
    return [sentence] if n > 1 else []


def _conclusion(observed: Observations, metrics: list[Metric], table: pd.DataFrame, baseline: str, level: float) -> str:
    if table.empty or not table["n_pairs"].any():
        return f"No other arm has results on the same prompts as {baseline}, so nothing can be compared."
    sentences: list[str] = []
    for metric in metrics:
        rows = table[table.index.get_level_values("metric") == metric.name].droplevel("metric")
        compared = rows[rows["n_pairs"] > 0]
        significant = compared["p_holm"] < 1 - level
        if len(table) > _MAX_SENTENCES:
            sentences.append(_summary(metric, compared, significant, baseline))
            continue
        sentences += [_difference(metric, arm, row, baseline) for arm, row in compared[significant].iterrows()]
        sentences += _no_difference(metric, compared[~significant], baseline)
        sentences += _not_compared(observed, metric, [str(arm) for arm in rows.index[rows["n_pairs"] == 0]], baseline)
    return " ".join(sentences)


def _difference(metric: Metric, arm: Any, row: pd.Series[Any], baseline: str) -> str:
    higher = row["difference"] > 0
    word = "higher" if higher else "lower"
    good = "better" if higher == metric.higher_is_better else "worse"
    verdict = f"{word} than {baseline}:" if metric.higher_is_better is None else f"{good} than {baseline}: {word}"
    return (
        f"On {metric.label}, {arm} is {verdict} by {metric.format(abs(row['difference']))}"
        f"{_interval(metric, row, flip=not higher)} over {count(int(row['n_pairs']), 'prompt')} "
        f"(p = {format_p(row['p_holm'])} after correction)".replace("= <", "< ")
        + "."
    )


def _no_difference(metric: Metric, rows: pd.DataFrame, baseline: str) -> list[str]:
    sentences = []
    same = [str(arm) for arm, row in rows.iterrows() if row["difference"] == 0 and pd.isna(row["detectable"])]
    if same:
        sentences.append(f"On {metric.label}, {join_names(same, limit=MAX_NAMES)} equals {baseline} on every prompt.")
    for arm, row in rows.iterrows():
        if str(arm) in same:
            continue
        sentence = f"On {metric.label}, {arm} and {baseline} do not differ significantly"
        if pd.notna(row["low"]) and pd.notna(row["high"]):
            sentence += f": the difference lies between {metric.format(row['low'])} and {metric.format(row['high'])}"
        if pd.notna(row["detectable"]):
            sentence += (
                f"; {count(int(row['n_pairs']), 'prompt')} would probably have shown a difference of "
                f"{metric.format(row['detectable'])} or more"
            )
        else:
            sentence += f" on {count(int(row['n_pairs']), 'prompt')}"
        sentences.append(f"{sentence}.")
    return sentences


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


def _summary(metric: Metric, rows: pd.DataFrame, significant: pd.Series[bool], baseline: str) -> str:
    """Return one sentence for many arms."""
    up = (rows["difference"] > 0) == (metric.higher_is_better is not False)
    words = ("higher", "lower") if metric.higher_is_better is None else ("better", "worse")
    groups = [
        (f"{words[0]} than {baseline}", rows.index[significant & up]),
        (f"{words[1]} than {baseline}", rows.index[significant & ~up]),
        (f"not significantly different from {baseline}", rows.index[~significant]),
    ]
    parts = [
        f"{join_names([str(arm) for arm in arms], limit=MAX_NAMES)} {'is' if len(arms) == 1 else 'are'} {what}"
        for what, arms in groups
        if len(arms)
    ]
    return f"On {metric.label}, {'; '.join(parts)}." if parts else ""


def _interval(metric: Metric, row: pd.Series[Any], *, flip: bool) -> str:
    low, high = (-row["high"], -row["low"]) if flip else (row["low"], row["high"])
    return format_interval(low, high, metric.format)
