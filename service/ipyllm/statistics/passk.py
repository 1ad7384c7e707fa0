"""pass@k: the chance that at least one of k answers is right, estimated from n answers."""

from __future__ import annotations

__all__ = ["pass_at_k"]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the unbiased estimate of pass@k for one prompt; the mean over prompts is that of a model.

    Parameters
    ----------
    n : int
        Answers to the prompt.
    correct : int
        How many of them are right.
    k : int
        How many tries there would be, at most ``n``.

    Raises
    ------
    ValueError
        Not 0 <= correct <= n or not 1 <= k <= n.

    Notes
    -----
    ``1 - C(n - c, k) / C(n, k)``, as the product of Chen et al. (2021), "Evaluating large language models
    trained on code", §2.1. The plain ``1 - (1 - c / n)^k`` is too low.

    Examples
    --------
    >>> pass_at_k(n=2, correct=1, k=1), round(pass_at_k(n=10, correct=3, k=5), 4)
    (0.5, 0.9167)
    """
    if not 0 <= correct <= n:
        raise ValueError(f"Of {n} answers {correct} cannot be right.")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} answers: k is between 1 and the number of answers.")
    miss = 1.0
    for i in range(n - correct + 1, n + 1):
        miss *= 1 - min(k / i, 1.0)
    return 1 - miss
