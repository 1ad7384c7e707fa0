"""Power of paired comparisons: detectable differences, and the number of prompts needed."""

from __future__ import annotations

import math
from bisect import bisect_left

__all__ = ["minimum_detectable_difference", "n_needed"]

_MAX_PROMPTS = 10**9


def minimum_detectable_difference(sd: float, n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
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
    """
    _check(alpha, power)
    if n < 2 or math.isnan(sd) or sd <= 0:  # noqa: PLR2004
        return math.nan
    low, high = 0.0, 1.0
    while _power(high, n, alpha) < power:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, n, alpha) >= power else (middle, high)
    return high * sd


def n_needed(difference: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the number of prompts that detect a true mean difference with the given power.

    Parameters
    ----------
    difference : float
        The difference that would matter to you, not an observed one: the power to detect an observed difference
        adds nothing to its p-value (Hoenig & Heisey 2001).
    sd : float
        Standard deviation of the differences from prompt to prompt, from a pilot run.
    alpha, power : float
        As in :func:`minimum_detectable_difference`.

    Raises
    ------
    ValueError
        The difference or the standard deviation is 0 or not finite.

    Examples
    --------
    >>> n_needed(0.1, sd=0.5)
    199
    """
    _check(alpha, power)
    if not (abs(difference) > 0 and sd > 0 and math.isfinite(difference / sd)):
        raise ValueError(f"difference and sd must be finite and not 0, not {difference!r} and {sd!r}.")
    effect = abs(difference) / sd
    needed = bisect_left(range(_MAX_PROMPTS + 1), power, lo=2, key=lambda n: _power(effect, n, alpha))
    if needed > _MAX_PROMPTS:
        raise ValueError(f"A difference of {difference!r} would need more than a billion prompts.")
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


def _check(alpha: float, power: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha and power must satisfy 0 < alpha < power < 1, not {alpha!r} and {power!r}.")
