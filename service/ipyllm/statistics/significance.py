"""Paired tests, the correction for multiple comparisons, and an effect size for ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ipyllm.statistics.quantiles import known_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["holm", "mcnemar", "rank_biserial", "wilcoxon"]

EXACT_RANKS = 50
"""Number of pairs up to which the distribution of signed ranks is computed exactly."""


def mcnemar(only_first: int, only_second: int, *, method: Literal["mid-p", "exact", "chi2"] = "mid-p") -> float:
    """Return the p-value of McNemar's test that both arms are right equally often.

    Parameters
    ----------
    only_first, only_second : int
        Prompts that only the first, or only the second arm answered correctly.
    method : {"mid-p", "exact", "chi2"}
        The mid-p test keeps its level and finds more than the exact one, which is conservative (Fagerland,
        Lydersen & Laake 2013); ``chi2`` is McNemar's (1947) own, without correction, for many disagreements.

    Examples
    --------
    >>> [round(mcnemar(1, 7, method=method), 3) for method in ("mid-p", "exact", "chi2")]
    [0.039, 0.07, 0.034]
    >>> mcnemar(0, 0)
    1.0
    """
    from scipy.special import bdtr, chdtrc

    if only_first < 0 or only_second < 0:
        raise ValueError(f"Counts must be 0 or more, not {only_first} and {only_second}.")
    n, least = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    if method == "chi2":
        return float(chdtrc(1, (only_first - only_second) ** 2 / n))
    tail = float(bdtr(least, n, 0.5))
    if method == "exact":
        return min(1.0, 2 * tail)
    if method == "mid-p":
        point = tail - (float(bdtr(least - 1, n, 0.5)) if least else 0.0)
        return min(1.0, 2 * tail - point)
    raise ValueError(f"method must be 'mid-p', 'exact' or 'chi2', not {method!r}.")


def wilcoxon(differences: ArrayLike) -> float:
    """Return the p-value of Wilcoxon's signed-rank test that the differences are symmetric around 0.

    Parameters
    ----------
    differences : array_like
        One per prompt; null (NaN) values are left out.

    Notes
    -----
    ``scipy.stats.wilcoxon``, exact up to 50 differences without ties. Zeros keep their ranks (Pratt 1959), so
    that prompts without a difference count as evidence for none.

    Examples
    --------
    >>> wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5])
    0.0625
    >>> wilcoxon([0.0, 0.0])
    1.0
    """
    import numpy as np
    from scipy import stats

    d = known_values(differences)
    if d.size == 0:
        return math.nan
    if not d.any():
        return 1.0
    tied = np.unique(np.abs(d)).size < d.size or not d.all()
    method = "exact" if d.size <= EXACT_RANKS and not tied else "asymptotic"
    with np.errstate(all="ignore"):
        return float(stats.wilcoxon(d, zero_method="pratt", method=method).pvalue)


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


def holm(p: ArrayLike) -> np.ndarray:
    """Return p-values corrected for multiple comparisons.

    Parameters
    ----------
    p : array_like
        One per comparison. NaN stays NaN and is not counted.

    Notes
    -----
    Holm's (1979) step-down method: the probability of one or more false findings stays below alpha, also for
    dependent comparisons.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.005]).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    import numpy as np

    given = np.asarray(p, dtype=float).ravel()
    corrected = np.full(given.shape, math.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = given[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
