"""Power of paired comparisons: detectable differences, and the number of prompts needed."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__ = ["detectable_by_mcnemar", "minimum_detectable_difference", "n_needed", "n_needed_within_margin"]

_MAX_PROMPTS = 10**9


def minimum_detectable_difference(
    sd: float, n: int, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float:
    """Return the smallest true mean difference that ``n`` prompts detect with the given power.

    Parameters
    ----------
    sd : float
        Standard deviation of the differences between two arms from prompt to prompt.
    n : int
        Number of prompts that both arms answer.
    alpha : float
        Level of the two-sided paired t test.
    power : float
        Probability of detecting the difference.
    comparisons : int
        Number of comparisons for which the level is corrected (Bonferroni).

    Returns
    -------
    float
        In the unit of ``sd``; NaN for fewer than 2 prompts, and where nothing varies.

    Notes
    -----
    Solved with the noncentral t distribution, as statsmodels' ``TTestPower`` does; Miller (2024), §5, has the
    normal approximation ``(z_{alpha/2} + z_{power}) sd / sqrt(n)``.

    Examples
    --------
    >>> round(minimum_detectable_difference(0.5, 100), 3)
    0.141
    >>> round(minimum_detectable_difference(0.5, 100, comparisons=8), 3)
    0.182
    """
    level = _corrected(alpha, power, comparisons)
    if n < 2 or math.isnan(sd) or sd <= 0:  # noqa: PLR2004
        return math.nan
    high = 1.0
    while _power(high, n, level) < power:
        high *= 2
    return _least(lambda effect: _power(effect, n, level) >= power, high) * sd


def detectable_by_mcnemar(
    disagreement: float, n: int, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float:
    """Return the smallest true difference between two success rates that ``n`` prompts detect with the given power.

    Parameters
    ----------
    disagreement : float
        Share of the prompts that only one of the two arms answers correctly; where a difference is larger than that,
        as large as the difference.
    n, alpha, power, comparisons
        As in :func:`minimum_detectable_difference`; the test is McNemar's mid-p test.

    Returns
    -------
    float
        Difference of the shares; NaN where so few prompts cannot detect any.

    Notes
    -----
    Exact, from the binomial distributions of the number of disagreements and of how they divide.

    Examples
    --------
    >>> round(detectable_by_mcnemar(0.3, 30), 2)
    0.26
    >>> detectable_by_mcnemar(0.3, 4)
    nan
    """
    if not 0 <= disagreement <= 1:
        raise ValueError(f"disagreement must be a share between 0 and 1, not {disagreement!r}.")
    level = _corrected(alpha, power, comparisons)

    def detects(difference: float) -> bool:
        return _mcnemar_power(max(disagreement, difference), difference, n, level) >= power

    return _least(detects, 1.0) if detects(1.0) else math.nan


def n_needed(difference: float, sd: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1) -> int:
    """Return the number of prompts that detect a true mean difference with the given power.

    Parameters
    ----------
    difference : float
        The difference that would matter to you, not an observed one: the power to detect an observed difference
        adds nothing to its p-value (Hoenig & Heisey 2001).
    sd : float
        Standard deviation of the differences from prompt to prompt, from a pilot run.
    alpha, power, comparisons
        As in :func:`minimum_detectable_difference`.

    Raises
    ------
    ValueError
        The difference or the standard deviation is 0 or not finite.

    Examples
    --------
    >>> n_needed(0.1, sd=0.5), n_needed(0.1, sd=0.5, comparisons=8)
    (199, 324)
    """
    level = _corrected(alpha, power, comparisons)
    if not (abs(difference) > 0 and sd > 0 and math.isfinite(difference / sd)):
        raise ValueError(f"difference and sd must be finite and not 0, not {difference!r} and {sd!r}.")
    effect = abs(difference) / sd
    needed = bisect_left(range(_MAX_PROMPTS + 1), power, lo=2, key=lambda n: _power(effect, n, level))
    if needed > _MAX_PROMPTS:
        raise ValueError(f"A difference of {difference!r} would need more than a billion prompts.")
    return needed


def n_needed_within_margin(margin: float, sd: float, *, worst: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the number of prompts that show two equally good arms to differ by at most a margin.

    Parameters
    ----------
    margin : float
        Accepted deterioration, in the unit of the score.
    sd : float
        Standard deviation of the differences from prompt to prompt; 0 if there are none.
    worst : float
        The lowest possible difference: -1 for scores from 0 to 1.
    alpha : float
        Level of the one-sided test of :func:`~ipyllm.statistics.bounded_mean`.
    power : float
        Probability of showing it.

    Raises
    ------
    ValueError
        Not ``0 < margin < -worst``, or no number below a billion is enough.

    Examples
    --------
    >>> n_needed_within_margin(0.05, sd=0, worst=-1), n_needed_within_margin(0.05, sd=0.3, worst=-1)
    (59, 266)
    """
    import numpy as np
    from scipy.special import ndtri

    from ipyllm.statistics.bounded_mean import probability_negative

    _corrected(alpha, power, 1)
    if not 0 < margin < -worst:
        raise ValueError(f"margin must be above 0 and below {-worst!r}, not {margin!r}.")

    def is_enough(n: int) -> bool:
        # A sample of two values with the mean that one sample in five falls short of.
        mean = -float(ndtri(power)) * sd / math.sqrt(n)
        values = np.clip([mean - sd, mean + sd, worst], worst, -worst) + margin
        return probability_negative(values, np.array([n / 2, n / 2, 1])) <= alpha

    needed = bisect_left(range(_MAX_PROMPTS + 1), True, lo=1, key=is_enough)
    if needed > _MAX_PROMPTS:
        raise ValueError(f"A margin of {margin!r} would need more than a billion prompts.")
    return needed


def _power(effect: float, n: int, alpha: float) -> float:
    """Return the power of the two-sided paired t test on ``n`` pairs, for an effect in standard deviations."""
    from scipy.special import nctdtr, ndtr, stdtrit

    df, shift = n - 1, effect * math.sqrt(n)
    if df > 10_000:  # noqa: PLR2004 - there the t is normal, and nctdtr slow and inexact
        z = float(stdtrit(df, 1 - alpha / 2))
        return float(ndtr(shift - z) + ndtr(-shift - z))
    critical = float(stdtrit(df, 1 - alpha / 2))
    above = 1 - float(nctdtr(df, shift, critical))
    below = float(nctdtr(df, shift, -critical))
    # A tail is NaN where it is too small to be computed.
    return (1.0 if math.isnan(above) else above) + (0.0 if math.isnan(below) else below)


def _mcnemar_power(disagreement: float, difference: float, n: int, alpha: float) -> float:
    """Return the power of McNemar's mid-p test, two-sided, for a true difference between two success rates."""
    import numpy as np
    from scipy.special import bdtr, bdtrc

    # As good as all numbers of disagreements that come to pass.
    spread = 8 * math.sqrt(n * disagreement * (1 - disagreement)) + 8
    m = np.arange(max(1, math.floor(n * disagreement - spread)), min(n, math.ceil(n * disagreement + spread)) + 1)
    critical = _critical_counts(n, alpha)[m]
    share = (1 + difference / disagreement) / 2
    rejected = bdtrc(critical - 1, m, share) + np.where(critical <= m, bdtr(m - critical, m, share), 0.0)
    probabilities = bdtr(m, n, disagreement) - bdtr(m - 1, n, disagreement)
    return float(probabilities @ np.where(critical <= m, rejected, 0.0))


@lru_cache(maxsize=8)
def _critical_counts(n: int, alpha: float) -> np.ndarray:
    """Return for 0 to ``n`` disagreements how many of them one arm must win for McNemar's mid-p test to reject."""
    import numpy as np
    from scipy.special import bdtrc, bdtrik

    m = np.arange(1, n + 1)
    critical = np.ceil(bdtrik(1 - alpha / 2, m, 0.5)).astype(int)
    for _ in range(2):  # the inverse may be inexact by one
        above = bdtrc(critical, m, 0.5)
        at = np.where(critical > 0, bdtrc(critical - 1, m, 0.5), 1.0) - above
        critical += above + at / 2 > alpha / 2
    return np.concatenate([[1], critical])


def _least(holds: Callable[[float], bool], high: float) -> float:
    """Return the least number from 0 to ``high`` from which on a condition holds."""
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _corrected(alpha: float, power: float, comparisons: int) -> float:
    """Return the level of each comparison."""
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha and power must satisfy 0 < alpha < power < 1, not {alpha!r} and {power!r}.")
    if comparisons < 1:
        raise ValueError(f"comparisons must be 1 or more, not {comparisons!r}.")
    return alpha / comparisons
