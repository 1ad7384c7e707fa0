"""The smallest true difference that as many prompts again would probably show, judged from one sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ipyllm.statistics.power import least_detectable

if TYPE_CHECKING:
    import numpy as np

    from ipyllm.statistics.differences import Difference

__all__ = ["detectable_by_answers", "detectable_by_interval", "effective_df", "standard_errors_needed"]

_NODES = 40


def detectable_by_answers(first: np.ndarray, second: np.ndarray, *, alpha: float, power: float) -> float:
    """Return the smallest true difference between shares of right answers that McNemar's mid-p test detects.

    Parameters
    ----------
    first, second : ndarray
        Whether each arm was right (1) or wrong (0), for each prompt.
    alpha : float
        Level of the two-sided test.
    power : float
        Probability of detecting the difference.

    Returns
    -------
    float
        Difference of the shares; NaN where so few prompts cannot detect any.

    Notes
    -----
    One arm becomes better as its wrong answers are replaced, whatever the other answered: of D disagreements among W
    wrong answers, a difference x makes ``D + x (1 - D / W)``. W is the share of the wrong, or of the right answers if
    it is larger, because an arm may become worse as well. D and W have two successes and failures more (Agresti &
    Coull 1998), and D half a standard error more, since it is known from this sample only.
    """
    n = first.size
    share = (float((first != second).sum()) + 2) / (n + 4)
    disagreement = min(1.0, share + math.sqrt(share * (1 - share) / (n + 4)) / 2)
    right = (float(first.sum() + second.sum()) + 2) / (2 * n + 4)
    kept = max(0.0, 1 - disagreement / max(right, 1 - right))
    return least_detectable(lambda difference: disagreement + kept * difference, n, alpha=alpha, power=power)


def detectable_by_interval(found: Difference, se: float, n: int, df: float, *, alpha: float, power: float) -> float:
    """Return the smallest true difference that an interval like this one, of another sample, keeps off 0.

    Parameters
    ----------
    found : Difference
        The estimate and its interval.
    se : float
        Standard error of the estimate.
    n : int
        Number of prompts.
    df : float
        Degrees of freedom of ``se``, as of :func:`effective_df`.
    alpha, power
        As in :func:`detectable_by_answers`.
    """
    from scipy.special import stdtrit

    t = float(stdtrit(n - 1, 1 - alpha / 2))
    reach = max(found.value - found.low, found.high - found.value)
    return reach + (standard_errors_needed(t, df, power=power) - t) * se


def standard_errors_needed(t: float, df: float, *, power: float) -> float:
    """Return how many standard errors of one sample a mean must lie from 0 for the t of the next to exceed ``t``.

    Notes
    -----
    The k for which ``P(Z + k S > t S') = power``, where both standard deviations S and S' are estimated, with ``df``
    degrees of freedom. With S known, k is the noncentrality of the usual formula.

    Examples
    --------
    >>> round(standard_errors_needed(1.96, 1e6, power=0.8), 2), round(standard_errors_needed(2.262, 9, power=0.8), 2)
    (2.8, 3.46)
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr

    # The midpoints of equally probable parts of the distribution of S.
    s = np.sqrt(chdtri(df, (np.arange(_NODES) + 0.5) / _NODES) / df)

    def excess(k: float) -> float:
        return float(ndtr(np.subtract.outer(k * s, t * s)).mean()) - power

    high = t + 1
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0, high, xtol=1e-6))


def effective_df(d: np.ndarray) -> float:
    """Return the degrees of freedom of a standard deviation, of which long tails leave fewer.

    Notes
    -----
    The variance of a sample's variance is that of a normal sample, times ``1 + G2 / 2`` for the excess kurtosis G2.
    """
    n = d.size
    spread = float(d.var())
    if n < 4 or spread == 0:  # noqa: PLR2004
        return n - 1
    kurtosis = float(((d - d.mean()) ** 4).mean()) / spread**2
    excess = ((n + 1) * (kurtosis - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))
    return (n - 1) / (1 + max(excess, 0.0) / 2)
