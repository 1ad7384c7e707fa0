"""Tests and intervals of a mean whose values have a known lowest and highest value, for any distribution and number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ipyllm.statistics.differences import Difference
from ipyllm.statistics.quantiles import check_share, known_values

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import ArrayLike

__all__ = ["bounded_mean", "one_sided_p", "probability_negative"]

_VALUES_AT_ONCE = 4096


def bounded_mean(
    values: ArrayLike,
    lowest: float,
    highest: float,
    *,
    level: float = 0.95,
    method: Literal["exact", "mid-p"] = "exact",
) -> Difference:
    """Return the mean with an interval that holds at any number of values, ties and long tails included.

    Parameters
    ----------
    values : array_like
        One per prompt: prompts are the independent units. Null (NaN) values are left out.
    lowest, highest : float
        Limits of what a value can be: -1 and 1 for differences of scores from 0 to 1.
    level : float
        Confidence of the interval; each limit by itself holds at ``(1 + level) / 2``.
    method : {"exact", "mid-p"}
        ``"exact"`` is wrong at most as often as it says, ``"mid-p"`` about as often, with narrower intervals.

    Returns
    -------
    Difference
        The mean, its limits, and the two-sided p-value of a mean of 0, which is at most ``1 - level`` exactly where
        the interval excludes 0.

    Raises
    ------
    ValueError
        A value lies beyond ``lowest`` or ``highest``.

    Notes
    -----
    Gaffke's (2005) bound: the lower limit is the ``(1 - level) / 2`` quantile of a weighted mean of the values and
    one more at ``lowest``, with weights uniform on the simplex; the upper limit takes one at ``highest``. So what has
    not been seen counts as one prompt with the worst outcome. For values of 0 and 1 it is Clopper and Pearson's (1934)
    interval. For differences of -1, 0 and 1, ``"exact"`` gives the p-value of McNemar's exact test, and ``"mid-p"``,
    which averages the tails with either value added, that of his mid-p test (Fagerland, Lydersen & Laake 2013). For
    other values no proof is known that it holds, and no counterexample (Learned-Miller & Thomas 2020).

    Examples
    --------
    Five of five unchanged: with 95% confidence worse by up to 0.45.

    >>> round(bounded_mean([0] * 5, -1, 1, level=0.9).low, 3)
    -0.451
    >>> seven_better_one_worse = bounded_mean([1] * 7 + [-1] + [0] * 13, -1, 1)
    >>> round(seven_better_one_worse.p, 2), round(seven_better_one_worse.low, 3)
    (0.07, -0.02)
    """
    import numpy as np

    check_share(level, "level")
    x = known_values(values)
    if x.size == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    if x.min() < lowest or x.max() > highest:
        raise ValueError(f"All values must lie between {lowest!r} and {highest!r}.")
    points, counts = np.unique(x, return_counts=True)
    at_most = one_sided_p(points, counts, lowest, highest, method)
    at_least = one_sided_p(-points, counts, -highest, -lowest, method)
    tail = (1 - level) / 2
    low, high = _quantile(at_most, lowest, highest, tail), -_quantile(at_least, -highest, -lowest, tail)
    return Difference(float(x.mean()), low, high, min(1.0, 2 * min(at_most(0.0), at_least(0.0))), x.size)


def one_sided_p(
    points: np.ndarray, counts: np.ndarray, lowest: float, highest: float, method: str
) -> Callable[[float], float]:
    """Return the p-value of a true mean of at most ``t``, as a function of ``t``.

    ``counts`` says how many values there are of each of the ``points``; the rest is as in :func:`bounded_mean`.
    """
    import numpy as np

    def with_one_more(value: float, t: float) -> float:
        return probability_negative(np.append(points, value) - t, np.append(counts, 1))

    if method == "exact":
        return lambda t: with_one_more(lowest, t)
    if method == "mid-p":
        return lambda t: (with_one_more(lowest, t) + with_one_more(highest, t)) / 2
    raise ValueError(f"method must be 'exact' or 'mid-p', not {method!r}.")


def _quantile(at_most: Callable[[float], float], lowest: float, highest: float, tail: float) -> float:
    """Return the least mean that is not rejected; on the same side of 0 as the p-value at 0 says."""
    from scipy.optimize import brentq

    low, high = lowest, highest
    if lowest < 0 < highest:
        low, high = (0.0, highest) if at_most(0.0) <= tail else (lowest, 0.0)
    if at_most(low) >= tail:
        return low
    return float(brentq(lambda t: at_most(t) - tail, low, high, xtol=1e-12 * (highest - lowest)))


def probability_negative(values: np.ndarray, counts: np.ndarray) -> float:
    """Return P(sum of value × Gamma(count) <= 0), which is that of their mean with uniform weights on the simplex."""
    import numpy as np

    # What is so much smaller than the largest cannot matter, but could overflow as a divisor.
    values = np.where(np.abs(values) < 1e-14 * np.abs(values).max(), 0.0, values)
    if values.max() <= 0:
        return 1.0
    if values.min() >= 0:
        return 0.0
    if float(values @ counts) > 0:
        return _probability_positive(-values, counts)
    return 1.0 - _probability_positive(values, counts)


def _probability_positive(values: np.ndarray, counts: np.ndarray) -> float:
    """Return P(sum of value × Gamma(count) > 0), where the expected sum is 0 or less.

    The moment generating function is inverted along the line through its saddle point (Daniels 1987), by the
    trapezoidal rule in v for an imaginary part in proportion to sinh(v), where it converges exponentially.
    """
    import numpy as np
    from scipy.optimize import brentq

    scaled = values / values.max()

    def slope(s: float) -> float:
        return float((counts * scaled / (1 - s * scaled)).sum()) - 1 / s

    saddle = float(brentq(slope, 1e-300, 1 - 1e-12, xtol=1e-15))
    width = 1 / math.sqrt(float((counts * (scaled / (1 - saddle * scaled)) ** 2).sum()) + 1 / saddle**2)

    def exponents(s: np.ndarray) -> np.ndarray:
        total: np.ndarray = -np.log(s)
        for start in range(0, scaled.size, _VALUES_AT_ONCE):
            part = slice(start, start + _VALUES_AT_ONCE)
            total -= np.log(1 - np.multiply.outer(s, scaled[part])) @ counts[part]
        return total

    # With many values, the integrand falls off long before the end of the axis.
    coarse = np.arange(25.0)
    sizes = exponents(saddle + 1j * width * np.sinh(coarse)).real + coarse
    end = float(coarse[np.flatnonzero(sizes > sizes[0] - 40)[-1]]) + 1
    step = 0.1
    v = np.arange(0, end, step)
    heights = np.exp(exponents(saddle + 1j * width * np.sinh(v))).real * width * np.cosh(v)
    heights[0] /= 2
    return step * float(heights.sum()) / math.pi
