"""Means of scores with standard errors, where several calls belong to one prompt; and pass@k."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.statistics.quantiles import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["MAX_STEPS", "Mean", "clustered_mean", "is_heavy_tail", "pass_at_k", "wilson"]

_HEAVY_TAIL = 12

MAX_STEPS = 10
"""Values of at most this number of steps are a bounded scale: there, Hall's interval holds however skewed they are."""


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error and interval.

    Attributes
    ----------
    value, se : float
        In the unit of the values; NaN where there are too few.
    low, high : float
        Limits of the interval.
    n, clusters : int
        Numbers of values and of their prompts.
    method : str
        ``"hall"``, ``"wilson"``, or ``""`` where there is no interval.
    heavy_tail : bool
        Whether a few values far from the others decide the mean, so that its interval is imprecise.
    """

    value: float
    se: float
    low: float
    high: float
    n: int
    clusters: int
    method: str
    heavy_tail: bool = False


def clustered_mean(
    values: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95, binary: bool | None = None
) -> Mean:
    """Return the mean with a standard error clustered by prompt.

    Parameters
    ----------
    values : array_like
        Null (NaN) values are left out.
    clusters : array_like, optional
        The prompt of each value; by default each value has its own.
    level : float
        Confidence of the interval.
    binary : bool, optional
        Whether the values are successes and failures; by default if all are 0 or 1. Costs are not, also if all are 0.

    Notes
    -----
    Standard error of Miller (2024), "Adding error bars to evals", eq. 4, times ``G / (G - 1)`` for G clusters,
    as in statsmodels' ``cov_type="cluster"``; with one value per cluster it is the usual one.

    The interval is Student's with G - 1 degrees of freedom, its t transformed by Hall's (1992) cubic, which
    removes the effect of skewness: Student's own contains the mean of skewed grades in 85 % of cases. Where nothing
    varies there is none. ``heavy_tail`` is ``G < 12 g1²`` for the skewness g1, a rule like Cochran's (1977, §2.15:
    ``n > 25 g1²`` for Student's), for values on more than ten steps.

    For successes and failures with one value per cluster it is Wilson's (1927) over n; with more, Hall's, but Wilson's
    over G when all clusters are equal, where the standard error is 0 but the mean is still uncertain.

    Examples
    --------
    >>> once = clustered_mean([0.0, 0.5, 1.0, 0.5])
    >>> twice = clustered_mean([0.0, 0.5, 1.0, 0.5] * 2, clusters=[1, 2, 3, 4] * 2)
    >>> round(once.se, 3), round(twice.se, 3)
    (0.204, 0.204)
    >>> grades = clustered_mean([5.0] * 17 + [4.0, 4.0, 1.0])
    >>> grades.value, round(grades.low, 2), round(grades.high, 2)  # further down than up, and not above 5
    (4.7, 3.26, 4.98)
    >>> all_right = clustered_mean([1] * 20)
    >>> round(all_right.low, 3), all_right.high
    (0.839, 1.0)
    """
    import numpy as np

    array = np.asarray(values, dtype=float).ravel()
    known = ~np.isnan(array)
    x = array[known]
    n = x.size
    if n == 0:
        return Mean(math.nan, math.nan, math.nan, math.nan, 0, 0, "")
    codes = np.arange(n) if clusters is None else np.unique(np.asarray(clusters)[known], return_inverse=True)[1]
    g = int(codes.max()) + 1
    value = float(x.mean())
    if binary is None:
        binary = bool(((x == 0) | (x == 1)).all())
    if g == 1:
        # One prompt, however often asked, says nothing about other prompts.
        limits = wilson(value, 1, level=level) if binary else Interval(math.nan, math.nan)
        return Mean(value, math.nan, *limits, n, 1, "wilson" if binary else "")
    constant = bool((x == x[0]).all())
    residuals: np.ndarray = np.bincount(codes, weights=x - value)
    if constant or float(np.abs(residuals).max()) <= 1e-12 * float(np.abs(x).sum()):
        residuals = np.zeros(g)
    se = math.sqrt(float((residuals**2).sum()) * g / (g - 1)) / n
    if binary and (n == g or se == 0):
        return Mean(value, se, *wilson(value, g, level=level), n, g, "wilson")
    if se == 0:
        return Mean(float(x[0]) if constant else value, 0.0, math.nan, math.nan, n, g, "")
    heavy_tail = is_heavy_tail(residuals) and np.unique(x).size > MAX_STEPS
    low, high = _hall(value, se, _skewness(residuals), g, level)
    if binary:
        low, high = max(0.0, low), min(1.0, high)
    return Mean(value, se, low, high, n, g, "hall", heavy_tail)


def is_heavy_tail(residuals: np.ndarray) -> bool:
    """Return whether a few values decide a mean, given their distances from it: ``n < 12 g1²`` for the skewness g1.

    Examples
    --------
    >>> import numpy as np
    >>> is_heavy_tail(np.array([-1.0] * 19 + [19.0])), is_heavy_tail(np.array([-1.0, 1.0] * 10))
    (True, False)
    """
    return bool(residuals.size < _HEAVY_TAIL * _skewness(residuals) ** 2)


def _skewness(residuals: np.ndarray) -> float:
    return float((residuals**3).mean() / (residuals**2).mean() ** 1.5)


def _hall(value: float, se: float, skewness: float, g: int, level: float) -> Interval:
    """Return Hall's interval: ``t + k t² / 3 + k² t³ / 27 + k / 6``, with ``k = skewness / sqrt(g)``, is Student's."""
    import numpy as np
    from scipy.special import stdtrit

    quantile = float(stdtrit(g - 1, (1 + level) / 2))
    # The skewness without the bias of small samples; that of two values is always 0.
    k = skewness * math.sqrt(g - 1) / (g - 2) if g > 2 else 0.0  # noqa: PLR2004

    def inverse(t: float) -> float:
        return 3 / k * (float(np.cbrt(1 + k * (t - k / 6))) - 1) if abs(k) > 1e-6 else t  # noqa: PLR2004

    return Interval(value - inverse(quantile) * se, value - inverse(-quantile) * se)


def wilson(p: float, n: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share ``p`` observed in ``n`` trials.

    Examples
    --------
    >>> low, high = wilson(0.8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)
    """
    from scipy.special import ndtri

    z2 = float(ndtri((1 + level) / 2)) ** 2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(max(0.0, middle - half) if p > 0 else 0.0, min(1.0, middle + half) if p < 1 else 1.0)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Estimate pass@k for one prompt: the probability that at least one of k answers is right.

    Parameters
    ----------
    n : int
        Answers to the prompt.
    correct : int
        Number of right answers.
    k : int
        Number of tries, at most ``n``.

    Raises
    ------
    ValueError
        Not 0 <= correct <= n or not 1 <= k <= n.

    Notes
    -----
    ``1 - C(n - c, k) / C(n, k)``, Chen et al. (2021), "Evaluating large language models trained on code", §2.1.
    It is unbiased, where ``1 - (1 - c / n)^k`` is too low. The mean over prompts is that of a model.

    Examples
    --------
    >>> pass_at_k(n=2, correct=1, k=1), round(pass_at_k(n=10, correct=3, k=5), 4)
    (0.5, 0.9167)
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct must be between 0 and n={n}, not {correct}.")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} answers: k is between 1 and the number of answers.")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)
