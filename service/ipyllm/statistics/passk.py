"""pass@k: the probability that at least one of k answers is right, estimated from n answers."""

from __future__ import annotations

from math import comb

__all__ = ["pass_at_k"]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the unbiased estimate of pass@k for one prompt; the mean over prompts is that of a model.

    Parameters
    ----------
    n : int
        Answers to the prompt.
    correct : int
        Number of right answers.
    k : int
        Number of tries, at most ``n``.

    Raises
    ------
    ValueError
        Not 0 <= correct <= n or not 1 <= k <= n.

    Notes
    -----
    ``1 - C(n - c, k) / C(n, k)``, Chen et al. (2021), "Evaluating large language models trained on code", §2.1.
    The simple ``1 - (1 - c / n)^k`` is too low.

    Examples
    --------
    >>> pass_at_k(n=2, correct=1, k=1), round(pass_at_k(n=10, correct=3, k=5), 4)
    (0.5, 0.9167)
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct must be between 0 and n={n}, not {correct}.")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be estimated from {n} answers: k is between 1 and the number of answers.")
    return 1 - comb(n - correct, k) / comb(n, k)
