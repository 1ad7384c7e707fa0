"""The smallest true difference that as many prompts again would probably show, judged from one sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ipyllm.statistics.bounded_mean import one_sided_p
from ipyllm.statistics.power import least_detectable

if TYPE_CHECKING:
    from ipyllm.statistics.differences import Difference

__all__ = [
    "detectable_by_answers",
    "detectable_by_interval",
    "detectable_by_shares",
    "effective_df",
    "standard_errors_needed",
]

_NODES = 40
_UNSEEN_TAIL = 3


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


def detectable_by_shares(
    first: np.ndarray, second: np.ndarray, calls: np.ndarray, *, alpha: float, power: float
) -> float:
    """Return the smallest true difference that the mid-p test of a bounded mean detects, where prompts have repeats.

    Parameters
    ----------
    first, second : ndarray, shape (prompts,)
        Share of each arm's answers that are right, for each prompt.
    calls : ndarray, shape (2, prompts)
        Number of these answers.
    alpha, power
        As in :func:`detectable_by_answers`.

    Returns
    -------
    float
        Difference of the means; NaN where so few prompts cannot detect any.

    Notes
    -----
    One arm becomes better as its wrong answers are replaced, each with the same probability λ: of a share w of wrong
    answers to a prompt, asked r times, λw becomes right, with a variance of λ(1 - λ)w/r. So the differences d become
    ``d + λw``, with that variance more. An arm may become worse as well; the larger variance counts.

    The smallest value that the test finds grows with the standard deviation less than in proportion, since the test
    counts one unseen value too. It is taken from a sample of two values with this standard deviation.
    """
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    n = first.size
    d = first - second

    def sd(difference: float) -> float:
        variances = []
        for replaced in ((1 - first, 1 - second), (-first, -second)):  # wrong answers, or right ones
            of_arms = []
            for share, other, r in zip(replaced, (d, -d), calls, strict=True):
                chance = min(1.0, difference / abs(share.mean())) if share.any() else 0.0
                drawn = chance * (1 - chance) * float(np.abs(share / r).mean())
                of_arms.append(float((other + chance * share).var(ddof=1)) + drawn)
            variances.append(sum(of_arms) / 2)
        return math.sqrt(max(variances))

    def smallest(margin: float) -> float:
        """Return the smallest difference that is still found if the mean is ``margin`` standard errors less."""

        def excess(difference: float) -> float:
            spread = sd(difference)
            mean = difference - margin * spread / math.sqrt(n)
            values = np.clip([mean - spread, mean + spread], -1, 1)
            return one_sided_p(values, np.array([n / 2, n / 2]), -1, 1, "mid-p")(0.0) - alpha / 2

        return float(brentq(excess, 0, 1, xtol=1e-6)) if excess(1.0) < 0 else math.nan

    if n < 2:  # noqa: PLR2004
        return math.nan
    t, df = float(stdtrit(n - 1, 1 - alpha / 2)), effective_df(d)
    exact = smallest(0.0)
    if math.isnan(exact):
        return math.nan
    # The square of the limit is t² variances of the mean, and a part that does not depend on them.
    rise = min(t, t**2 * sd(exact) / (math.sqrt(n) * exact))
    return smallest(standard_errors_needed(rise, df, power=power) - rise)


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


def effective_df(d: np.ndarray, *, open_scale: bool = False) -> float:
    """Return the degrees of freedom of a standard deviation, of which long tails leave fewer.

    Parameters
    ----------
    d : ndarray
        The values.
    open_scale : bool
        Whether values can be far larger than these, as costs can.

    Notes
    -----
    The variance of a sample's variance is that of a normal sample, times ``1 + γ / 2`` for the excess kurtosis γ. A
    sample's is too low if the largest values are seldom seen: on an open scale it is taken three times, with which
    lognormal costs (σ from 0.5 to 1) have the power promised.
    """
    n = d.size
    spread = float(d.var())
    if n < 4 or spread == 0:  # noqa: PLR2004
        return n - 1
    kurtosis = float(((d - d.mean()) ** 4).mean()) / spread**2
    excess = ((n + 1) * (kurtosis - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))
    weight = _UNSEEN_TAIL if open_scale else 1
    return (n - 1) / (1 + weight * max(excess, 0.0) / 2)
