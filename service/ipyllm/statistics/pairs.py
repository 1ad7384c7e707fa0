"""``paired()``: differences of all arms from a baseline on the same prompts, corrected for multiple comparisons."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ipyllm.errors import bad_request
from ipyllm.statistics.bounded_mean import bounded_mean
from ipyllm.statistics.caveats import caveats
from ipyllm.statistics.detectable import (
    POWER,
    detectable_by_answers,
    detectable_by_interval,
    detectable_by_shares,
    effective_df,
)
from ipyllm.statistics.differences import Difference, bootstrap_mean, cohens_dz, is_constant, paired_t
from ipyllm.statistics.families import families_of
from ipyllm.statistics.means import MAX_STEPS, is_heavy_tail
from ipyllm.statistics.observations import Failures, Metric, Observations, Sort, by_value, observe
from ipyllm.statistics.pairs_conclusion import (
    LEAST_FOR_BOOTSTRAP,
    conclusion_of,
    heavy_tail_note,
    method_notes,
)
from ipyllm.statistics.quantiles import check_share
from ipyllm.statistics.signed_ranks import hodges_lehmann, rank_biserial
from ipyllm.statistics.table import StatisticsFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PairedDifference", "PromptMeans", "compare_pairs", "paired", "prompt_means"]


@dataclass(frozen=True)
class PairedDifference:
    """The difference between two arms on one metric, prompt by prompt.

    ``low``, ``high``, ``p``, ``difference`` and ``verdict`` come from one method: the verdict is ``"cannot be told"``
    exactly where the interval includes 0, or where there is none.
    """

    n_pairs: int  # prompts with values of both arms
    n_different: int  # prompts on which these differ
    value: float  # mean over these prompts; median of times and speeds
    baseline_value: float
    difference: float  # arm minus baseline
    low: float  # limits that hold for all comparisons of the family together
    high: float
    p: float  # probability of so large a difference if there is none
    p_adjusted: float  # corrected for the number of comparisons of the family
    verdict: str  # of the arm: better, worse, cannot be told; higher, lower where neither is known to be better
    test: str  # McNemar, bounded mean, t, Wilcoxon or bootstrap
    effect_size: float
    effect: str  # of effect_size: risk difference, d_z or rank-biserial
    detectable: float  # smallest true difference that so many prompts detect with a power of 0.8


def paired(
    calls: Any,
    baseline: str | None = None,
    *,
    metrics: Sequence[str] | str | None = None,
    secondary: Sequence[str] | str | None = None,
    level: float = 0.95,
    interval: Literal["test", "bootstrap"] = "test",
    failures: Failures = "omit",
    directions: Mapping[str, bool | None] | None = None,
    sort: Sort | None = None,
    seed: int = 0,
) -> StatisticsFrame:
    """Return the differences of all arms from one of them, on the same prompts.

    Parameters
    ----------
    calls : DataFrame, or anything that has one as ``.calls``
        As in :func:`~ipyllm.statistics.summarise_arms`.
    baseline : str, optional
        The arm to compare with; by default the first, of an experiment the first of its grid.
    metrics : str or sequence of str, optional
        The primary metrics, which decide: scores by name, with or without ``score_``; ``"ttft_s"``, ``"ttfo_s"``,
        ``"thinking_s"``, ``"total_s"``, ``"output_tps"``, ``"cost_usd"``, ``"errors"``. By default the scores; without
        one, the first times: ``"ttfo_s"`` where a model reasons, else ``"ttft_s"``.
    secondary : str or sequence of str, optional
        Metrics to look at beside them, corrected apart. By default none if ``metrics`` are given, else all others that
        have values, of the first times only one, and not ``"thinking_s"``. The correction of a family grows with the
        number of its metrics: name those that you planned to compare.
    level : float
        Confidence of all intervals of a family together.
    interval : {"test", "bootstrap"}
        The test below; or the bootstrap of the mean difference over prompts for all metrics, also for times, where an
        arm has 100 prompts or more for each comparison of the table: with fewer it errs too often, so it has the test.
    failures : {"omit", "zero"}
        The score of a failed call: missing, or 0 (or the lowest score of the table, if that is below 0). Where lower is
        better, a failed call has no worst score, so its score is missing.
    directions : mapping of str to bool or None, optional
        Whether higher is better, by score: ``{"edit_distance": False}``. None: neither is better, so a difference is
        higher or lower, and never better or worse. By default as the scorers declared it
        (:class:`ipyllm.scorers.Scorer`). Without a declaration, higher is better for scores that are all 0 or 1, and
        nothing is known of others.
    sort : {"value"}, optional
        The arms of each metric by their difference, the best first (the highest, where neither is better). By default
        they stand in the order of the calls.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    StatisticsFrame
        Index ``metric`` and ``arm``; the ``baseline``, the ``family`` of the metric (``primary`` or ``secondary``) and
        the attributes of :class:`~ipyllm.statistics.pairs.PairedDifference`.

    Notes
    -----
    Repeats of a prompt are averaged first, so that prompts are the independent units (Miller 2024). So a prompt counts
    once here, however often its row stands in an experiment's input; in :func:`~ipyllm.statistics.summarise_arms` it
    counts for each of them.

    - Scores that are all 0 or 1, and errors: the difference of the shares. McNemar's mid-p test, or with repeats its
      extension to means, :func:`~ipyllm.statistics.bounded_mean`. Also where every prompt differs by the same amount.
    - Other scores, and cost: the mean difference, paired t.
    - Times and speeds, whose tails are long: the typical (Hodges–Lehmann) difference, Wilcoxon's signed ranks.

    Each interval inverts its test. The comparisons of a family, its metrics times the arms, are corrected after
    Bonferroni: p is multiplied by their number, and the intervals of the family hold together at ``level``. Primary and
    secondary metrics are not corrected for each other, so that a time looked at beside them takes nothing from the
    scores. If all arms are equal, at most 5% of tables have a finding among their primary metrics at a ``level`` of
    0.95, and as many among the secondary ones.

    Raises
    ------
    LLMError
        ``bad_request``: no calls, one arm only, no such baseline or metric, or a metric in both families.

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
    families = families_of(observed, metrics, secondary)
    ranges: dict[str, tuple[float, float]] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    heavy_tails: list[str] = []
    for family in families:
        wanted = [(metric, prompt_means(observed, metric, failures)) for metric in family.metrics]
        comparisons = sum(means.both(arm, reference).size > 0 for _, means in wanted for arm in others)
        for metric, means in wanted:
            ranges[metric.name] = means.lowest, means.highest
            found = {
                arm: compare_pairs(
                    means, metric, arm, reference, level=level, comparisons=comparisons, interval=interval, seed=seed
                )
                for arm in others
            }
            heavy = [arm for arm in others if found[arm].test == "t" and means.have_heavy_tail(arm, reference)]
            heavy_tails += [heavy_tail_note(metric, heavy, reference)] if heavy else []
            for arm in by_value({arm: each.difference for arm, each in found.items()}, metric, sort):
                rows[metric.name, arm] = {"baseline": reference, "family": family.name, **asdict(found[arm])}
    index = pd.MultiIndex.from_tuples(list(rows), names=["metric", "arm"])
    columns = ["baseline", "family", *PairedDifference.__dataclass_fields__]
    table = pd.DataFrame(list(rows.values()), index=index, columns=columns)
    conclusion = conclusion_of(observed, families, table, reference, level)
    notes = method_notes(families, table, level, ranges, interval)
    return StatisticsFrame.of(table, conclusion, [*notes, *heavy_tails, *caveats(observed)])


@dataclass(frozen=True)
class PromptMeans:
    """Means of one metric by arm and prompt."""

    table: pd.DataFrame  # arms × prompts
    calls: pd.DataFrame  # arms × prompts: the number of calls with a value
    binary: bool  # every call has 0 or 1
    open_scale: bool  # no end of the scale is known: single values may be far larger than those of these calls
    lowest: float  # that a call can have
    highest: float

    def both(self, arm: str, baseline: str) -> np.ndarray:
        """Return the means of two arms (rows) on the prompts that both have."""
        return self.table.loc[[arm, baseline]].dropna(axis=1).to_numpy()

    def calls_of_both(self, arm: str, baseline: str) -> np.ndarray:
        """Return the numbers of calls of two arms (rows) on the prompts that both have."""
        calls = self.calls.loc[[arm, baseline]].to_numpy()
        shared: np.ndarray = calls[:, (calls > 0).all(axis=0)]
        return shared

    def have_heavy_tail(self, arm: str, baseline: str) -> bool:
        """Return whether a few prompts decide the mean difference, on a scale whose ends are not known."""
        first, second = self.both(arm, baseline)
        d = first - second
        return self.open_scale and not is_constant(d) and is_heavy_tail(d - d.mean())

    @property
    def one_call_each(self) -> bool:
        """Whether no arm has a prompt more than once."""
        return bool(self.calls.to_numpy().max(initial=0) <= 1)


def prompt_means(
    observed: Observations, metric: Metric, failures: Failures = "omit", value_range: tuple[float, float] | None = None
) -> PromptMeans:
    """Average the repeats of every prompt.

    ``failures`` is as in :func:`paired`. Without a ``value_range``, that of scores from 0 to 1 is 0 to 1, costs are 0
    or more, and otherwise the lowest and the highest value are those of the calls.
    """
    values = observed.values(metric, failures).to_numpy()
    table, n = observed.by_prompt(values)
    known = values[~np.isnan(values)]
    lowest, highest = (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
    # As for the intervals of means: so few different values are grades, whose ends are known.
    open_scale = np.unique(known).size > MAX_STEPS
    if metric.kind in {"score", "errors"} and lowest >= 0 and highest <= 1:
        lowest, highest, open_scale = 0.0, 1.0, False
    elif metric.kind == "money":
        lowest = min(lowest, 0.0)
    if value_range is not None:
        scores = observed.values(metric).dropna()
        if not scores.between(*value_range).all():
            raise bad_request(f"There are {metric.plural} beyond the range {value_range!r}.")
        # The 0 of a failed call may lie below all scores.
        lowest, highest = min(lowest, value_range[0]), max(highest, value_range[1])
    return PromptMeans(
        pd.DataFrame(table, index=observed.arms),
        pd.DataFrame(n, index=observed.arms),
        binary=bool(np.isin(known, (0, 1)).all()) and metric.kind in {"score", "errors"},
        open_scale=open_scale,
        lowest=lowest,
        highest=highest,
    )


def compare_pairs(
    means: PromptMeans,
    metric: Metric,
    arm: str,
    baseline: str,
    *,
    level: float = 0.95,
    comparisons: int = 1,
    interval: Literal["test", "bootstrap"] = "test",
    seed: int = 0,
    with_detectable: bool = True,
) -> PairedDifference:
    """Compare two arms on one metric, as one of ``comparisons``, with the test for its kind.

    ``with_detectable`` is False where that figure, which takes most of the time, is not needed: it is NaN then.
    """
    first, second = means.both(arm, baseline)
    d = first - second
    n = d.size
    if n == 0:
        nan = math.nan
        return PairedDifference(0, 0, nan, nan, nan, nan, nan, nan, nan, "", "", nan, "", nan)
    each = 1 - (1 - level) / comparisons
    drawn = interval == "bootstrap" and n >= LEAST_FOR_BOOTSTRAP * comparisons
    test, found = _test(d, means, metric, each, drawn, seed)
    average = np.median if test == "Wilcoxon" else np.mean
    size, effect = (cohens_dz(d), "d_z")
    if test == "Wilcoxon":
        size, effect = rank_biserial(d), "rank-biserial"
    elif test == "McNemar":
        size, effect = found.value, "risk difference"
    detectable = math.nan
    if with_detectable:
        detectable = _detectable(first, second, means.calls_of_both(arm, baseline), found, test, each, means)
    return PairedDifference(
        n,
        int((d != 0).sum()),
        float(average(first)),
        float(average(second)),
        found.value,
        found.low,
        found.high,
        found.p,
        min(1.0, found.p * comparisons),
        _verdict(found, metric.higher_is_better),
        test,
        size,
        effect,
        detectable,
    )


def _test(
    d: np.ndarray, means: PromptMeans, metric: Metric, level: float, drawn: bool, seed: int
) -> tuple[str, Difference]:
    """Return the name of the test, and estimate, interval and p-value that it gives."""
    if drawn and not is_constant(d):
        return "bootstrap", bootstrap_mean(d, level=level, seed=seed)
    if metric.kind in {"time", "speed"}:
        found = hodges_lehmann(d, level=level)
        # Where nothing differs, the interval would be the point 0, as if no difference could exist.
        return "Wilcoxon", found if d.any() else replace(found, low=math.nan, high=math.nan)
    if means.binary or is_constant(d):
        span = means.highest - means.lowest
        name = "McNemar" if means.binary and means.one_call_each else "bounded mean"
        if span == 0:
            return name, Difference(0.0, math.nan, math.nan, 1.0, d.size)
        return name, bounded_mean(np.clip(d, -span, span), -span, span, level=level, method="mid-p")
    return "t", paired_t(d, level=level)


def _verdict(found: Difference, higher_is_better: bool | None) -> str:
    if not (found.low > 0 or found.high < 0):
        return "cannot be told"
    higher = found.low > 0
    if higher_is_better is None:
        return "higher" if higher else "lower"
    return "better" if higher == higher_is_better else "worse"


def _detectable(
    first: np.ndarray,
    second: np.ndarray,
    calls: np.ndarray,
    found: Difference,
    test: str,
    level: float,
    means: PromptMeans,
) -> float:
    """Return the smallest true difference that the test detects, at this level, with a power of 0.8."""
    from scipy.special import stdtrit

    d, alpha = first - second, 1 - level
    n = d.size
    if test == "McNemar":
        return detectable_by_answers(first, second, alpha=alpha, power=POWER)
    if means.binary:
        return detectable_by_shares(first, second, calls, alpha=alpha, power=POWER)
    if n < 2 or not math.isfinite(found.high - found.low):  # noqa: PLR2004
        return math.nan
    # The interval of the typical difference says how uncertain it is, whatever the tails of the differences.
    by_ranks = test == "Wilcoxon"
    width = 2 * float(stdtrit(n - 1, 1 - alpha / 2))
    se = (found.high - found.low) / width if by_ranks else float(d.std(ddof=1)) / math.sqrt(n)
    df = n - 1 if by_ranks else effective_df(d, open_scale=means.open_scale)
    detectable = detectable_by_interval(found, se, n, df, alpha=alpha, power=POWER)
    possible = test != "bounded mean" or detectable <= means.highest - means.lowest
    return detectable if detectable > 0 and possible else math.nan
