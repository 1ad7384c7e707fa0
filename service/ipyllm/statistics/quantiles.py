"""Quantiles with distribution-free intervals."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["Interval", "calls_for_upper_limit", "check_share", "known_values", "quantile", "quantile_interval"]


class Interval(NamedTuple):
    """Limits of a confidence interval; NaN is a limit that cannot be given."""

    low: float
    high: float


def quantile(values: ArrayLike, q: float) -> float:
    """Return the quantile of the values, interpolated linearly; NaN if there are none.

    Parameters
    ----------
    values : array_like
        Null (NaN) values are left out.
    q : float
        Between 0 and 1.

    Notes
    -----
    Type 7 of Hyndman & Fan (1996), the one of numpy, pandas and R.

    Examples
    --------
    >>> quantile([0.25, 0.5, 0.75, 4.0], 0.5)
    0.625
    """
    import numpy as np

    check_share(q, "q")
    known = known_values(values)
    return float(np.quantile(known, q)) if known.size else math.nan


def quantile_interval(
    values: ArrayLike, q: float, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Interval:
    """Return two observed values between which the true quantile lies.

    Parameters
    ----------
    values, q
        As in :func:`quantile`.
    level : float
        Confidence, between 0 and 1.
    clusters : array_like, optional
        The prompt of each value. Values of one cluster may depend on each other.

    Returns
    -------
    Interval
        A limit is NaN where there are too few values: the true 95th percentile of 20 calls may be above all of them.

    Notes
    -----
    Exact order-statistic interval: the number of values below the true quantile is binomial, whatever the
    distribution (Conover 1999, §3.2; Hahn & Meeker 1991, §5.2). It covers at least ``level``. For clustered
    values the binomial has as many trials as there are *effective* values, n divided by the design effect of
    the share below the quantile (Woodruff 1952; Korn & Graubard 1998).

    Examples
    --------
    >>> quantile_interval(range(1, 101), 0.5)
    Interval(low=40.0, high=61.0)
    >>> quantile_interval(range(1, 21), 0.95)
    Interval(low=17.0, high=nan)
    """
    import numpy as np
    from scipy.special import bdtr

    check_share(q, "q")
    check_share(level, "level")
    known = known_values(values)
    n = known.size
    if n == 0:
        return Interval(math.nan, math.nan)
    effective = n
    if clusters is not None:
        groups = np.asarray(clusters)[~np.isnan(np.asarray(values, dtype=float))]
        effective = _effective_size(known, groups, q)
    alpha = 1 - level
    # Binomial quantiles, the least k with P(B <= k) >= p; scipy.stats.binom.ppf takes 0.4 s to import.
    below, above = (
        bisect_left(range(effective), p, key=lambda k: bdtr(k, effective, q)) for p in (alpha / 2, 1 - alpha / 2)
    )
    above += 1
    ordered = np.sort(known)
    low = ordered[max(math.floor(below * n / effective), 1) - 1] if below > 0 else math.nan
    high = ordered[min(math.ceil(above * n / effective), n) - 1] if above <= effective else math.nan
    return Interval(float(low), float(high))


def calls_for_upper_limit(q: float, *, level: float = 0.95) -> int:
    """Return the number of independent calls from which a quantile has an upper limit.

    Examples
    --------
    >>> calls_for_upper_limit(0.95), calls_for_upper_limit(0.99)
    (72, 368)
    """
    check_share(q, "q")
    check_share(level, "level")
    return math.ceil(math.log((1 - level) / 2) / math.log(q))


def _effective_size(known: np.ndarray, groups: np.ndarray, q: float) -> int:
    """Return the effective number of independent values, at least one per cluster."""
    import numpy as np

    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes)
    n, g = known.size, sizes.size
    if g in {1, n}:
        return g
    below = (known <= np.quantile(known, q)).astype(float)
    residuals = np.bincount(codes, weights=below - below.mean())
    independent = below.mean() * (1 - below.mean()) * n
    if independent == 0:  # all equal: the design effect is unknown
        return g
    design = float((residuals**2).sum()) * g / (g - 1) / independent
    return max(g, min(n, int(n / design))) if design > 1 else n


def known_values(values: ArrayLike) -> np.ndarray:
    """Return the values that are not null, as floats."""
    import numpy as np

    array = np.asarray(values, dtype=float).ravel()
    known: np.ndarray = array[~np.isnan(array)]
    return known


def check_share(share: float, name: str) -> None:
    """Raise ValueError unless ``share`` is between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, not {share!r}.")
