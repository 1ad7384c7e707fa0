"""Wilcoxon's signed ranks: the test, the interval that inverts it, and the effect size."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from ipyllm.statistics.differences import Difference
from ipyllm.statistics.quantiles import check_share, known_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["hodges_lehmann", "rank_biserial", "wilcoxon"]

_EXACT = 200
"""Number of pairs up to which the distribution of the signed ranks is counted out."""

_MAX_PAIRS_IN_MEMORY = 2000
"""Number of pairs up to which all n (n + 1) / 2 averages fit in memory; above, they are only counted."""


def hodges_lehmann(differences: ArrayLike, *, level: float = 0.95) -> Difference:
    """Return the typical difference, its interval and Wilcoxon's p-value, for latencies and other long tails.

    Parameters
    ----------
    differences, level
        As in :func:`~ipyllm.statistics.paired_t`.

    Returns
    -------
    Difference
        The value is the median of all averages of two differences, each with itself too (Hodges & Lehmann 1963).
        The limits are those averages that the signed-rank test would not reject (Hollander & Wolfe 1999, §3.3), and p
        is that of :func:`wilcoxon`: it is at most ``1 - level`` exactly where the interval excludes 0. The limits are
        NaN where there are too few prompts for them.

    Notes
    -----
    The test assumes that the differences are symmetric around the typical one.

    Examples
    --------
    >>> difference = hodges_lehmann([0.10, 0.12, 0.15, 0.11, 0.14, 2.0])
    >>> round(difference.value, 3), round(difference.low, 3), difference.p
    (0.13, 0.1, 0.03125)
    """
    import numpy as np

    check_share(level, "level")
    d = np.sort(known_values(differences))
    n = d.size
    if n == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    pairs = n * (n + 1) // 2
    rank = _critical_rank(n, (1 - level) / 2)
    middle = [(pairs + 1) // 2, pairs // 2 + 1]
    found = _averages_of_rank(d, [*middle, *([rank, pairs + 1 - rank] if rank else [])])
    low, high = (found[2], found[3]) if rank else (math.nan, math.nan)
    return Difference((found[0] + found[1]) / 2, low, high, wilcoxon(d), n)


def wilcoxon(differences: ArrayLike) -> float:
    """Return the p-value of Wilcoxon's signed-rank test that the differences are symmetric around 0.

    Parameters
    ----------
    differences
        As in :func:`~ipyllm.statistics.paired_t`.

    Notes
    -----
    The statistic counts the averages of two differences (each with itself too) that are above, or below 0: the sum
    of the positive, or negative ranks (Tukey 1949). Its distribution is counted out up to 200 differences, and normal
    with a continuity correction above. An average of 0, which ties and zeros make, counts against the finding on both
    sides, as if ties were broken in the least favourable way. So the test keeps its level whatever the ties, and its
    p-value is that of the interval of :func:`hodges_lehmann`.

    Examples
    --------
    >>> wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5])
    0.0625
    >>> wilcoxon([-0.25] * 4)  # however alike: four prompts can show no more
    0.125
    >>> wilcoxon([0.0, 0.0])
    1.0
    """
    import numpy as np

    d = np.sort(known_values(differences))
    if d.size == 0:
        return math.nan
    fewer = min(_averages_at_most(d, 0.0), _averages_at_most(np.sort(-d), 0.0))
    return min(1.0, 2 * _probability_at_most(d.size, fewer))


def rank_biserial(differences: ArrayLike) -> float:
    """Return the share of the ranks of positive differences minus that of negative ones, from -1 to 1.

    Notes
    -----
    Matched-pairs rank-biserial correlation (Kerby 2014), the effect size of :func:`wilcoxon`.

    Examples
    --------
    >>> rank_biserial([1.0, 2.0, -3.0])
    0.0
    >>> rank_biserial([1.0, 2.0, 3.0])
    1.0
    """
    import numpy as np
    from scipy import stats

    d = known_values(differences)
    if d.size == 0:
        return math.nan
    d = d[d != 0]
    if d.size == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(d))
    return float((ranks * np.sign(d)).sum() / ranks.sum())


@lru_cache(maxsize=32)
def _distribution(n: int) -> np.ndarray:
    """Return P(sum of the positive ranks <= k) for each k, where every sign is equally probable."""
    import numpy as np

    shares = np.zeros(n * (n + 1) // 2 + 1)
    shares[0] = 1
    for rank in range(1, n + 1):
        shares[rank:] = shares[rank:] + shares[:-rank]
        shares /= 2
    return np.cumsum(shares)


def _probability_at_most(n: int, k: int) -> float:
    """Return P(sum of the positive ranks <= k)."""
    if n <= _EXACT:
        return float(_distribution(n)[k])
    from scipy.special import ndtr

    mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return float(ndtr((k + 0.5 - mean) / sd))


def _critical_rank(n: int, tail: float) -> int:
    """Return the rank of the average that is the lower limit, from 1; 0 for none."""
    low, high = 0, n * (n + 1) // 2
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _probability_at_most(n, middle) <= tail else (low, middle)
    return low


def _averages_of_rank(d: np.ndarray, ranks: list[int]) -> list[float]:
    """Return the averages of pairs of the sorted ``d`` that have these ranks, from 1."""
    import numpy as np

    n = d.size
    if n <= _MAX_PAIRS_IN_MEMORY:
        i, j = np.triu_indices(n)
        averages = np.sort((d[i] + d[j]) / 2)
        return [float(averages[rank - 1]) for rank in ranks]
    found = []
    for rank in ranks:
        low, high = float(d[0]), float(d[-1])
        if low < 0 < high:  # so that a limit lies on the side of 0 that the test says
            low, high = (low, 0.0) if _averages_at_most(d, 0.0) >= rank else (0.0, high)
        for _ in range(60):  # to the precision of a float, within this range
            middle = (low + high) / 2
            low, high = (low, middle) if _averages_at_most(d, middle) >= rank else (middle, high)
        found.append(high)
    return found


def _averages_at_most(d: np.ndarray, t: float) -> int:
    """Return how many averages of pairs of the sorted ``d``, each with itself too, are at most ``t``."""
    import numpy as np

    # For each i, how many j have d[i] + d[j] <= 2 t: each pair i != j is met twice, each i with itself once.
    met = int(np.searchsorted(d, 2 * t - d, side="right").sum())
    return (met + int(np.searchsorted(d, t, side="right"))) // 2
