"""Differences between two arms on the same prompts, with intervals and p-values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ipyllm.statistics.quantiles import Interval, known_values
from ipyllm.statistics.significance import EXACT_RANKS, wilcoxon

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["Difference", "bonett_price", "bootstrap_interval", "cohens_dz", "hodges_lehmann", "paired_t"]

_MAX_PAIRS_IN_MEMORY = 2000
"""Number of pairs up to which all n (n + 1) / 2 averages fit in memory; above, they are only counted."""


@dataclass(frozen=True)
class Difference:
    """A difference in the unit of the values, with its interval and the p-value of no difference."""

    value: float
    low: float
    high: float
    p: float
    n: int


def paired_t(differences: ArrayLike, *, level: float = 0.95) -> Difference:
    """Return the mean difference with Student's interval and test.

    Parameters
    ----------
    differences : array_like
        One per prompt (the mean over repeats): prompts are the independent units.
    level : float
        Confidence of the interval.

    Notes
    -----
    The paired analysis of Miller (2024), §4.2. Where every difference is the same the variance is 0 and there
    is no t: p is then that of the sign-flip test, ``2^(1 - n)``, or 1 where all are 0.

    Examples
    --------
    >>> difference = paired_t([0.1, 0.2, 0.3, 0.2])
    >>> round(difference.value, 3), round(difference.low, 3), round(difference.high, 3), round(difference.p, 4)
    (0.2, 0.07, 0.33, 0.0163)
    """
    from scipy.special import stdtr, stdtrit

    d = known_values(differences)
    n = d.size
    if n == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    value = float(d.mean())
    if _is_constant(d):
        return Difference(float(d[0]), math.nan, math.nan, 1.0 if d[0] == 0 else 2.0 ** (1 - n), n)
    se = float(d.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * se
    return Difference(value, value - half, value + half, float(2 * stdtr(n - 1, -abs(value) / se)), n)


def bootstrap_interval(
    differences: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["BCa", "percentile"] = "BCa",
    resamples: int = 5000,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of the mean difference over prompts.

    Parameters
    ----------
    differences, level
        As in :func:`paired_t`.
    method : {"BCa", "percentile"}
        Bias-corrected and accelerated (Efron 1987), or plain percentiles.
    resamples, seed : int
        Number of samples, and the seed.

    Notes
    -----
    ``scipy.stats.bootstrap``. Below about 20 prompts Student's interval covers better.

    Examples
    --------
    >>> interval = bootstrap_interval([0.1, 0.2, 0.3, 0.2, 0.9, 0.1])
    >>> round(interval.low, 1), round(interval.high, 1)
    (0.2, 0.7)
    """
    import numpy as np
    from scipy.stats import bootstrap

    d = known_values(differences)
    if d.size < 2 or _is_constant(d):  # noqa: PLR2004
        return Interval(math.nan, math.nan)
    # Batches save memory.
    batch = max(1, min(resamples, 2_000_000 // d.size))
    with np.errstate(all="ignore"):
        found = bootstrap(
            (d,),
            np.mean,
            vectorized=True,
            n_resamples=resamples,
            batch=batch,
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Interval(float(found.low), float(found.high))


def bonett_price(only_first: int, only_second: int, n: int, *, level: float = 0.95) -> Interval:
    """Return an interval of the difference between two success rates on the same prompts.

    Parameters
    ----------
    only_first, only_second : int
        Prompts that only the first, or only the second arm answered correctly.
    n : int
        All prompts.
    level : float
        Confidence.

    Notes
    -----
    Wald interval after adding one to each discordant count (Bonett & Price 2012), one of the two that Fagerland,
    Lydersen & Laake (2014) recommend. It stays sensible where all pairs agree.

    Examples
    --------
    >>> low, high = bonett_price(1, 7, 21)
    >>> round(low, 3), round(high, 3)
    (-0.508, -0.013)
    """
    from scipy.special import ndtri

    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = float(ndtri((1 + level) / 2)) * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    return Interval(max(-1.0, first - second - half), min(1.0, first - second + half))


def hodges_lehmann(differences: ArrayLike, *, level: float = 0.95) -> Difference:
    """Return the typical difference, its interval and Wilcoxon's p-value, for latencies and other long tails.

    Parameters
    ----------
    differences, level
        As in :func:`paired_t`.

    Returns
    -------
    Difference
        The value is the median of all averages of two differences (Hodges & Lehmann 1963); the limits are those
        averages that the signed-rank test would not reject (Hollander & Wolfe 1999, §3.3). Exact up to 50
        prompts, by the normal approximation above. A limit is NaN where there are too few prompts for one.

    Examples
    --------
    >>> difference = hodges_lehmann([0.10, 0.12, 0.15, 0.11, 0.14, 2.0])
    >>> round(difference.value, 3), round(difference.low, 3), difference.p
    (0.13, 0.1, 0.03125)
    """
    import numpy as np

    d = np.sort(known_values(differences))
    n = d.size
    if n == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    pairs = n * (n + 1) // 2
    rank = _critical_rank(n, 1 - level)
    middle = [(pairs + 1) // 2, pairs // 2 + 1]
    wanted = [*middle, *([rank, pairs + 1 - rank] if rank > 0 else [])]
    found = _walsh_averages(d, wanted)
    value = (found[0] + found[1]) / 2
    low, high = (found[2], found[3]) if rank > 0 else (math.nan, math.nan)
    return Difference(value, low, high, wilcoxon(d), n)


def cohens_dz(differences: ArrayLike) -> float:
    """Return the mean difference in standard deviations of the differences; NaN where they do not vary.

    Examples
    --------
    >>> round(cohens_dz([0.1, 0.2, 0.3, 0.2]), 2)
    2.45
    """
    d = known_values(differences)
    if d.size < 2 or _is_constant(d):  # noqa: PLR2004
        return 0.0 if d.size > 1 and d[0] == 0 else math.nan
    return float(d.mean() / d.std(ddof=1))


def _critical_rank(n: int, alpha: float) -> int:
    """Return the rank of the average that is the lower limit; 0 for none."""
    import numpy as np

    if n > EXACT_RANKS:
        from scipy.special import ndtri

        mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, math.floor(mean + float(ndtri(alpha / 2)) * sd))
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for k in range(1, n + 1):
        counts[k:] = counts[k:] + counts[:-k]
    cumulated = np.cumsum(counts) / 2.0**n
    # The k-th average is a limit when P(W < k) <= alpha / 2.
    return int(np.searchsorted(cumulated, alpha / 2, side="right"))


def _walsh_averages(d: np.ndarray, ranks: list[int]) -> list[float]:
    """Return the averages of pairs of the sorted ``d`` that have these ranks, from 1."""
    import numpy as np

    n = d.size
    if n <= _MAX_PAIRS_IN_MEMORY:
        i, j = np.triu_indices(n)
        averages = np.sort((d[i] + d[j]) / 2)
        return [float(averages[rank - 1]) for rank in ranks]

    def at_most(t: float) -> int:
        # For each i, how many j have d[i] + d[j] <= 2 t; each pair i != j is met twice, each i with itself once.
        met = int(np.searchsorted(d, 2 * t - d, side="right").sum())
        return (met + int(np.searchsorted(d, t, side="right"))) // 2

    found = []
    for rank in ranks:
        low, high = float(d[0]), float(d[-1])
        for _ in range(48):  # to the precision of a float, within this range
            middle = (low + high) / 2
            low, high = (low, middle) if at_most(middle) >= rank else (middle, high)
        found.append(high)
    return found


def _is_constant(d: np.ndarray) -> bool:
    """Return whether all values are equal, apart from rounding."""
    import numpy as np

    return float(np.ptp(d)) <= 1e-12 * float(np.abs(d).max())
