"""``assert_no_regression()``: a test for CI that passes only if a change is shown to be harmless."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipyllm.errors import bad_request
from ipyllm.statistics.bounded_mean import bounded_mean
from ipyllm.statistics.detectable import POWER
from ipyllm.statistics.differences import Difference
from ipyllm.statistics.pairs import PromptMeans, prompt_means
from ipyllm.statistics.power import n_needed, n_needed_within_margin
from ipyllm.statistics.signed_ranks import hodges_lehmann
from ipyllm.statistics.table import format_level
from ipyllm.statistics.two_runs import AFTER, BEFORE, side_by_side
from ipyllm.text.format import count, join_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.statistics.observations import Metric, Observations

__all__ = ["NonInferiority", "assert_no_regression"]


@dataclass(frozen=True)
class NonInferiority:
    """The result of comparing a candidate with a baseline.

    Attributes
    ----------
    metric : str
        The metric.
    n_pairs : int
        Prompts that both answered.
    difference : float
        How much *better* the candidate is; negative if it is worse.
    bound : float
        Lower limit of ``difference``, with confidence 1 - alpha.
    margin : float
        Accepted deterioration.
    passed : bool
        ``bound > -margin``.
    sentence : str
        The result in sentences.
    """

    metric: str
    n_pairs: int
    difference: float
    bound: float
    margin: float
    passed: bool
    sentence: str


def assert_no_regression(
    baseline: Any,
    candidate: Any,
    *,
    metric: str,
    margin: float | str = 0.0,
    alpha: float = 0.05,
    arm: str | None = None,
    baseline_arm: str | None = None,
    directions: Mapping[str, bool | None] | None = None,
    score_range: tuple[float, float] | None = None,
) -> NonInferiority:
    """Pass only if the calls show that the candidate is at most ``margin`` worse than the baseline.

    Parameters
    ----------
    baseline : DataFrame, results, path or str
        Calls of the known state: a DataFrame, anything that has one as ``.calls``, or a file that one was saved to
        (``.parquet``, ``.csv``, ``.jsonl``). Or the label of an arm of ``candidate``.
    candidate : DataFrame, results or path
        Calls of the new state, with prompts of the same ``prompt_id``.
    metric : str
        A score, ``"ttft_s"``, ``"ttfo_s"``, ``"total_s"``, ``"output_tps"``, ``"cost_usd"`` or ``"errors"``.
    margin : float or str
        Accepted deterioration: in the unit of the metric, or as a share of the baseline, ``"5%"``.
    alpha : float
        Highest probability of accepting a candidate that is worse by the whole margin.
    arm, baseline_arm : str, optional
        The arm to take, where there are several.
    directions : mapping of str to bool or None, optional
        Whether higher is better, by score: ``{"edit_distance": False}``; by default as in
        :func:`~ipyllm.statistics.paired`.
    score_range : tuple of float, optional
        Lowest and highest possible score: ``(1, 5)``. By default 0 and 1 if all scores lie there, or else the lowest
        and the highest score of these calls.

    Returns
    -------
    NonInferiority
        The result, if it passed.

    Raises
    ------
    AssertionError
        It is worse by more than the margin, or may be; the sentence says which, and how many prompts would probably
        decide it.
    LLMError
        ``bad_request``: no such metric, arm or file, no prompt in common, an invalid margin, or a score of which it is
        not known whether higher is better.

    Notes
    -----
    A test of non-inferiority: the burden of proof is on the candidate. "No significant difference" would pass
    anything on too few prompts; this test fails then. It passes when the lower end of the one-sided interval at
    ``1 - alpha`` for the paired difference lies above ``-margin``. Repeats of a prompt are averaged first, so
    that prompts are the independent units.

    - Scores, errors and cost: the difference of the means over prompts, with the exact limit of
      :func:`~ipyllm.statistics.bounded_mean`. It holds for any distribution within the range of the values: what has
      not been seen counts as one prompt with the worst outcome. Of 0/1 scores without a change, a margin of 0.05 takes
      59 prompts.
    - Times and speeds: the typical (Hodges–Lehmann) difference, with the limit that inverts Wilcoxon's exact test. It
      assumes that differences are symmetric around the typical one.

    A margin that is a share is tested as such: the baseline's mean is not taken to be known. With a margin of 0 the
    candidate must be shown to be *better*. A failed call scores 0 here, so that failing on the hard prompts cannot
    pass; where lower is better there is no worst score, and a candidate with failed calls does not pass.

    Examples
    --------
    >>> import pandas as pd
    >>> before = pd.DataFrame({"arm": "a", "prompt_id": range(80), "status": "ok", "score_exact": [1, 1, 1, 0] * 20})
    >>> assert_no_regression(before, before, metric="exact", margin=0.05).passed
    True
    >>> assert_no_regression(before[:40], before[:40], metric="exact", margin=0.05)
    Traceback (most recent call last):
        ...
    AssertionError: exact may have become worse: from 0.75 to 0.75 over 40 prompts; with 95% confidence it could be \
worse by 0.0722; accepted is 0.05. If it is as good as before, at least 59 prompts are needed to show it.
    """
    if not 0 < alpha < 0.4:  # noqa: PLR2004
        raise bad_request(f"alpha must be a probability between 0 and 0.4, not {alpha!r}.")
    observed = side_by_side(baseline, candidate, arm, baseline_arm, directions)
    measure = observed.metric(metric)
    if measure.higher_is_better is None:
        raise bad_request(
            f"It is not known whether higher {measure.plural} are better: say so with directions={{{measure.label!r}: "
            "True}, or False, or by the attribute higher_is_better of the scorer."
        )
    n_failed = int((observed.failed & (observed.frame["arm"] == AFTER) & observed.values(measure).isna()).sum())
    if n_failed and measure.kind == "score" and not measure.higher_is_better:
        raise AssertionError(
            f"{n_failed} of the candidate's calls failed and have no score of {measure.label}, where lower is better: "
            "there is no worst score to give them."
        )
    means = prompt_means(observed, measure, "zero", _checked_range(score_range) if measure.kind == "score" else None)
    before, after = means.both(BEFORE, AFTER)
    if not before.size:
        raise _nothing_in_common(observed, measure)
    average = np.median if measure.kind in {"time", "speed"} else np.mean
    was, now = float(average(before)), float(average(after))
    accepted, share = _margin(margin, was)
    sign = 1 if measure.higher_is_better else -1
    # A share of the baseline is as uncertain as the baseline: it is tested as a part of the difference.
    shared = _difference(before, after, sign, share * float(np.sign(was)), means, measure, alpha)
    part = share * abs(was)
    bound = 0.0 if math.isclose(shared.low, part, rel_tol=1e-12) else shared.low - part
    passed = bound > -accepted
    too_much = shared.high - part < -accepted
    found = _difference(before, after, sign, 0.0, means, measure, alpha)

    def amount(value: float) -> str:
        return measure.format(abs(value) if value == 0 else value)

    least = part - shared.high if too_much else -found.high
    change = f"became worse{'' if too_much else ', perhaps'} by more than is accepted"
    limit, advice = f"each, it is worse by at least {amount(least)} and by at most {amount(-bound)}", ""
    if passed:
        change = "did not become worse by more than is accepted"
        limit = f"it is {'better by at least' if bound > 0 else 'worse by at most'} {amount(abs(bound))}"
    elif not found.high < 0:
        change = "may have become worse"
        limit = "there is no bound on how much" if math.isnan(bound) else f"it could be worse by {amount(-bound)}"
        advice = _advice(before, after, sign, accepted, share, means, measure, alpha)
    sentence = (
        f"{measure.label} {change}: from {amount(was)} to {amount(now)} over {count(found.n, 'prompt')}; "
        f"with {format_level(1 - alpha)} confidence {limit}; accepted is {amount(accepted)}.{advice}"
    )
    if measure.kind in {"time", "speed"} and found.value * sign * (now - was) < 0 and amount(was) != amount(now):
        sentence += (
            " These are medians, but prompt by prompt it is typically "
            f"{'better' if found.value > 0 else 'worse'}, by {amount(abs(found.value))}, which decides."
        )
    sentence += _observed_range(means, measure, score_range) + _missing_and_failed(observed, measure)
    result = NonInferiority(measure.name, found.n, found.value, bound, accepted, passed, sentence)
    if not passed:
        raise AssertionError(sentence)
    return result


def _difference(
    before: np.ndarray,
    after: np.ndarray,
    sign: int,
    share: float,
    means: PromptMeans,
    measure: Metric,
    alpha: float,
) -> Difference:
    """Return how much better the candidate is, plus a share of the baseline; each limit holds at 1 - alpha."""
    weight = share - sign  # of the baseline
    contrast = sign * after + weight * before
    if measure.kind in {"time", "speed"}:
        return hodges_lehmann(contrast, level=1 - 2 * alpha)
    ends = [sorted(factor * end for end in (means.lowest, means.highest)) for factor in (sign, weight)]
    lowest, highest = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
    if means.lowest == means.highest:
        return Difference(float(contrast.mean()), math.nan, math.nan, math.nan, contrast.size)
    return bounded_mean(np.clip(contrast, lowest, highest), lowest, highest, level=1 - 2 * alpha)


def _advice(
    before: np.ndarray,
    after: np.ndarray,
    sign: int,
    margin: float,
    share: float,
    means: PromptMeans,
    measure: Metric,
    alpha: float,
) -> str:
    """Say what it takes to show that a candidate as good as the baseline is within the margin."""
    if margin == 0:
        zero = measure.format(0.0)
        why = f"A share of {zero} is {zero}, and with" if share > 0 else "With"
        unit = ", in the unit of the metric" if share > 0 else ""
        return (
            f" {why} a margin of 0 only a candidate that is shown to be better passes: say what you accept with "
            f"margin=…{unit}."
        )
    better = sign * (after - before)
    sd = float(better.std(ddof=1)) if better.size > 1 else 0.0
    span = means.highest - means.lowest
    robust = measure.kind in {"time", "speed"}
    if not robust and span == 0:
        option = ": say so with score_range=…" if measure.kind == "score" else ""
        return f" All values are equal, so it is not known how bad one could be{option}."
    if not robust and margin >= span:
        return ""
    try:
        if robust:
            # The signed ranks of fewer prompts have no limit at this level.
            least = math.ceil(-math.log2(alpha))
            needed = max(least, n_needed(margin, sd, alpha=2 * alpha, power=POWER)) if sd > 0 else least
        else:
            needed = n_needed_within_margin(margin, sd, worst=-span, alpha=alpha, power=POWER)
    except ValueError:  # more than a billion
        return " No number of prompts could show so little."
    if needed <= better.size:
        return ""
    about = f"about {needed:,} prompts show it with a power of {POWER:.0%}"
    return f" If it is as good as before, {about if sd > 0 else f'at least {needed:,} prompts are needed to show it'}."


def _observed_range(means: PromptMeans, measure: Metric, score_range: tuple[float, float] | None) -> str:
    """Say that the range of the values, on which the limit depends, is that of the calls."""
    known = score_range is not None or measure.kind not in {"score", "money"}
    if known or means.lowest == means.highest or (means.lowest, means.highest) == (0, 1):
        return ""
    limits = f"{measure.format(means.lowest)} to {measure.format(means.highest)}"
    option = "" if measure.kind == "money" else "; score_range=… sets other limits"
    return f" This takes {measure.plural} to be from {limits}, as in these calls{option}."


def _checked_range(score_range: tuple[float, float] | None) -> tuple[float, float] | None:
    if score_range is None:
        return None
    try:
        lowest, highest = (float(end) for end in score_range)
    except (TypeError, ValueError):
        lowest = highest = math.nan
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
        raise bad_request(f"score_range must be the lowest and the highest score, such as (1, 5), not {score_range!r}.")
    return lowest, highest


def _margin(margin: float | str, was: float) -> tuple[float, float]:
    """Return the accepted deterioration in the unit of the metric, and as a share of the baseline or 0."""
    is_share = isinstance(margin, str) and margin.strip().endswith("%")
    try:
        amount = float(str(margin).strip().removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not (amount >= 0 and math.isfinite(amount)):
        raise bad_request(f"margin must be a number, 0 or more, or a share such as '5%', not {margin!r}.")
    return (abs(was) * amount / 100, amount / 100) if is_share else (amount, 0.0)


def _nothing_in_common(observed: Observations, measure: Metric) -> Exception:
    failed = observed.failed[observed.frame["arm"] == AFTER]
    if failed.all():
        return AssertionError(f"All {count(len(failed), 'call')} of the candidate failed.")
    if late := observed.mostly_late(measure):
        return bad_request(
            f"Most calls of {join_names(['the ' + side for side in late])} were measured late, so their "
            f"{measure.plural} decide nothing: make fewer calls at once."
        )
    values = observed.values(measure)
    sides = [side for side in (BEFORE, AFTER) if values[observed.frame["arm"] == side].isna().all()]
    if sides:
        return bad_request(f"No {measure.plural} of {join_names(['the ' + side for side in sides])} are known.")
    return bad_request(
        f"Baseline and candidate have no prompt with {measure.plural} in common: run them on the same prompts."
    )


def _missing_and_failed(observed: Observations, measure: Metric) -> str:
    """Describe prompts that are missing, calls that failed, and unknown costs."""
    before, after = observed.calls_per_prompt > 0
    gone = int((before & ~after).sum())
    failed = observed.failed[observed.frame["arm"] == AFTER]
    sentences = ""
    if gone:
        sentences += f" {gone} of the baseline's {int(before.sum())} prompts were not sent to the candidate."
    if failed.any():
        worst = np.fmin(0.0, observed.values(measure).min())
        score = f"; without a score they count as {measure.format(worst)}" if measure.kind == "score" else ""
        sentences += f" {int(failed.sum())} of the candidate's {count(len(failed), 'call')} failed{score}."
    if measure.kind == "money":
        for side in (BEFORE, AFTER):
            unknown = observed.frame["cost_usd"][observed.frame["arm"] == side].isna()
            if unknown.any():
                sentences += (
                    f" The cost of {int(unknown.sum())} of the {side}'s {count(len(unknown), 'call')} is unknown."
                )
    return sentences
