"""McNemar's test of right and wrong answers to the same prompts."""

from __future__ import annotations

from typing import Literal

__all__ = ["mcnemar"]


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
