"""Mean differences between two arms on the same prompts, with intervals and the p-values that belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipyllm.statistics.quantiles import check_share, known_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["Difference", "bootstrap_mean", "cohens_dz", "is_constant", "paired_t"]


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
        One per prompt (the mean over repeats): prompts are the independent units. Null (NaN) values are left out.
    level : float
        Confidence of the interval.

    Notes
    -----
    The paired analysis of Miller (2024), §4.2. Where all differences are equal, nothing can be said about their
    variance: interval and p are NaN. :func:`~ipyllm.statistics.bounded_mean` has both.

    Examples
    --------
    >>> difference = paired_t([0.1, 0.2, 0.3, 0.2])
    >>> round(difference.value, 3), round(difference.low, 3), round(difference.high, 3), round(difference.p, 4)
    (0.2, 0.07, 0.33, 0.0163)
    """
    from scipy.special import stdtr, stdtrit

    check_share(level, "level")
    d = known_values(differences)
    n = d.size
    if n == 0 or is_constant(d):
        return Difference(float(d[0]) if n else math.nan, math.nan, math.nan, math.nan, n)
    value = float(d.mean())
    se = float(d.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * se
    return Difference(value, value - half, value + half, float(2 * stdtr(n - 1, -abs(value) / se)), n)


def bootstrap_mean(
    differences: ArrayLike, *, level: float = 0.95, resamples: int | None = None, seed: int = 0
) -> Difference:
    """Return the mean difference with the bootstrap interval over prompts, and the p-value that inverts it.

    Parameters
    ----------
    differences, level
        As in :func:`paired_t`.
    resamples : int, optional
        Number of samples; by default 4,000, or as many as put 20 of them beyond each limit.
    seed : int
        Seed of the samples.

    Returns
    -------
    Difference
        ``p`` is the least ``1 - level`` at which the interval excludes 0. A limit is NaN where the samples
        are too few for one.

    Notes
    -----
    Bias-corrected and accelerated (BCa, Efron 1987), with the acceleration of a mean, its skewness over ``6 sqrt(n)``.
    Below about 20 prompts Student's interval covers better.

    Examples
    --------
    >>> difference = bootstrap_mean([0.1, 0.2, 0.3, 0.2, 0.9, 0.1])
    >>> round(difference.low, 1), round(difference.high, 1), difference.p < 0.05
    (0.2, 0.7, True)
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    check_share(level, "level")
    d = np.sort(known_values(differences))  # the samples do not depend on the order of prompts
    n = d.size
    if n == 0 or is_constant(d):
        return Difference(float(d[0]) if n else math.nan, math.nan, math.nan, math.nan, n)
    tail = (1 - level) / 2
    n_samples = max(4000, math.ceil(20 / tail)) if resamples is None else resamples
    value = float(d.mean())
    means = np.sort(_resampled_means(d, n_samples, np.random.default_rng(seed)))
    below = (np.searchsorted(means, value, side="left") + np.searchsorted(means, value, side="right")) / 2
    bias = float(ndtri(below / n_samples))
    residuals = d - value
    acceleration = float((residuals**3).sum() / (6 * (residuals**2).sum() ** 1.5))

    def rank_at(share: float, sign: int) -> float:
        """Return how many samples lie beyond the limit that leaves ``share`` in this tail."""
        z = bias + sign * float(ndtri(share))
        return float(ndtr(sign * (bias + z / (1 - acceleration * z)))) * (n_samples + 1)

    def least_share(beyond: int, sign: int) -> float:
        """Return the share of a tail whose limit leaves one more sample beyond it than that."""
        z = sign * float(ndtri((beyond + 1) / (n_samples + 1))) - bias if beyond < n_samples else math.inf
        return float(ndtr(sign * (z / (1 + acceleration * z) - bias))) if math.isfinite(z) else 1.0

    k_low, k_high = math.floor(rank_at(tail, 1)), math.floor(rank_at(tail, -1))
    low = float(means[k_low - 1]) if k_low >= 1 else math.nan
    high = float(means[-k_high]) if k_high >= 1 else math.nan
    at_most, at_least = int(np.searchsorted(means, 0, side="right")), int((means >= 0).sum())
    p = 2 * min(least_share(at_most, 1), least_share(at_least, -1))
    return Difference(value, low, high, min(1.0, p), n)


def cohens_dz(differences: ArrayLike) -> float:
    """Return the mean difference in standard deviations of the differences; NaN where they do not vary.

    Examples
    --------
    >>> round(cohens_dz([0.1, 0.2, 0.3, 0.2]), 2)
    2.45
    """
    d = known_values(differences)
    if d.size < 2 or is_constant(d):  # noqa: PLR2004
        return 0.0 if d.size > 1 and d[0] == 0 else math.nan
    return float(d.mean() / d.std(ddof=1))


def is_constant(d: np.ndarray) -> bool:
    """Return whether all values are equal, apart from rounding: their variance is 0."""
    import numpy as np

    return float(np.ptp(d)) <= 1e-12 * float(np.abs(d).max()) or float(d.var()) == 0


def _resampled_means(d: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    batch = max(1, 2_000_000 // d.size)  # saves memory
    sizes = [min(batch, resamples - start) for start in range(0, resamples, batch)]
    return np.concatenate([rng.choice(d, (size, d.size)).mean(axis=1) for size in sizes])
