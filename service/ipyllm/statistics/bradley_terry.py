"""Estimates the strengths of arms from votes: the Bradley–Terry model with ties and a normal prior.

Without the prior, the strength of an arm without a win would be minus infinity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["PRIOR_SD", "ComparisonOutcome", "Strengths", "bootstrap_strengths", "fit_strengths"]

PRIOR_SD = 2.0
"""Standard deviation of the prior on strengths, in log-odds: before any vote, an arm beats another with odds between
1 : 50 and 50 : 1. Wide enough to follow the votes, narrow enough to keep strengths finite."""

_TIE_SD = 3.0
_MAX_STEPS = 100


@dataclass(frozen=True)
class ComparisonOutcome:
    """One vote.

    Attributes
    ----------
    arms : tuple of int
        Indices of the arms compared; two or more.
    winner : int or None
        Index of the preferred arm; None for a tie.
    """

    arms: tuple[int, ...]
    winner: int | None


@dataclass(frozen=True)
class Strengths:
    """Strengths in log-odds that sum to 0, with their posterior covariance.

    Attributes
    ----------
    strengths : ndarray, shape (arms,)
        ``strengths[i] - strengths[j]`` is the log-odds of i against j, ties aside.
    covariance : ndarray, shape (arms, arms)
        Of the strengths, from the curvature of the posterior at its maximum.
    tie : float
        Log of Davidson's nu; NaN where no vote was a tie.
    """

    strengths: np.ndarray
    covariance: np.ndarray
    tie: float


def fit_strengths(outcomes: Sequence[ComparisonOutcome], n_arms: int, *, prior_sd: float = PRIOR_SD) -> Strengths:
    """Return the most probable strengths.

    Parameters
    ----------
    outcomes : sequence of ComparisonOutcome
        The votes.
    n_arms : int
        Number of arms, those without a vote included.
    prior_sd : float
        Standard deviation of the normal prior around 0, in log-odds, above 0.

    Notes
    -----
    Bradley & Terry (1952); ties after Davidson (1970), and choices among more than two after Luce (1959), joined
    as in Firth, Kosmidis & Turner (2019): arm i of a set is chosen in proportion to ``exp(s_i)``, the tie of all
    in proportion to ``nu`` times the geometric mean. The maximum of likelihood times prior is unique, because the
    logarithm of both is concave; found by Newton's method.

    Examples
    --------
    >>> votes = [ComparisonOutcome((0, 1), 0)] * 3 + [ComparisonOutcome((0, 1), 1)]
    >>> first, second = fit_strengths(votes, 2, prior_sd=100).strengths
    >>> round(math.exp(first - second), 2)
    3.0
    """
    import numpy as np

    design = _Design(outcomes, n_arms)
    weights = np.ones(len(outcomes))
    best, curvature = _maximise_posterior(design, design.outcome_counts(weights[None]), prior_sd)
    covariance = np.linalg.inv(curvature[0])[:n_arms, :n_arms]
    centre = np.eye(n_arms) - 1 / n_arms
    values = best[0, :n_arms]
    tie = float(best[0, n_arms]) if design.ties else math.nan
    return Strengths(values - values.mean(), centre @ covariance @ centre.T, tie)


def bootstrap_strengths(
    outcomes: Sequence[ComparisonOutcome],
    n_arms: int,
    clusters: Sequence[object],
    *,
    prior_sd: float = PRIOR_SD,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Return the strengths fitted to each bootstrap sample of the votes, drawn prompt by prompt.

    Parameters
    ----------
    outcomes, n_arms, prior_sd
        As in :func:`fit_strengths`.
    clusters : sequence
        The prompt of each vote: votes on one prompt are drawn together.
    resamples, seed : int
        Number of samples, and the seed.

    Returns
    -------
    ndarray, shape (resamples, arms)
    """
    import numpy as np

    design = _Design(outcomes, n_arms)
    numbers: dict[object, int] = {}
    codes = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=resamples)
    best, _ = _maximise_posterior(design, design.outcome_counts(drawn[:, codes].astype(float)), prior_sd)
    values = best[:, :n_arms]
    centred: np.ndarray = values - values.mean(axis=1, keepdims=True)
    return centred


class _Design:
    """The distinct sets of arms that were voted on, with their possible outcomes.

    ``features[s, c]`` are the weights of the parameters in outcome c of set s: one strength for a winner, the mean
    of the set's strengths and the tie parameter for a tie.
    """

    def __init__(self, outcomes: Sequence[ComparisonOutcome], n_arms: int) -> None:
        import numpy as np

        sets: dict[tuple[int, ...], int] = {}
        self._set = np.array(
            [sets.setdefault(tuple(sorted(outcome.arms)), len(sets)) for outcome in outcomes], dtype=int
        )
        self.ties = any(outcome.winner is None for outcome in outcomes)
        self.n_arms = n_arms
        widest = max((len(arms) for arms in sets), default=0) + 1
        self.features = np.zeros((len(sets), widest, n_arms + 1))
        self.possible = np.zeros((len(sets), widest), dtype=bool)
        for arms, s in sets.items():
            for c, arm in enumerate(arms):
                self.features[s, c, arm] = 1
                self.possible[s, c] = True
            if self.ties:
                self.features[s, -1, list(arms)] = 1 / len(arms)
                self.features[s, -1, n_arms] = 1
                self.possible[s, -1] = True
        self._outcome_index = np.array(
            [
                widest - 1 if outcome.winner is None else sorted(outcome.arms).index(outcome.winner)
                for outcome in outcomes
            ],
            dtype=int,
        )

    def outcome_counts(self, weights: np.ndarray) -> np.ndarray:
        """Return the count of each outcome of each set, per sample; weights have shape (samples, votes)."""
        import numpy as np

        samples = weights.shape[0]
        sets, widest = self.possible.shape
        flat = self._set * widest + self._outcome_index
        counts = np.stack([np.bincount(flat, weights=row, minlength=sets * widest) for row in weights])
        return counts.reshape(samples, sets, widest)


def _maximise_posterior(design: _Design, counts: np.ndarray, prior_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum of each sample's posterior and its curvature, by Newton's method with halved steps."""
    import numpy as np

    x, possible = design.features, design.possible
    precision = np.full(design.n_arms + 1, prior_sd**-2)
    precision[-1] = _TIE_SD**-2
    theta = np.zeros((counts.shape[0], design.n_arms + 1))
    totals = counts.sum(axis=2)

    def evaluate(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = np.where(possible, np.einsum("scd,bd->bsc", x, theta), -np.inf)
        highest = scores.max(axis=2, keepdims=True, initial=-1e300)
        exponentials = np.exp(scores - highest)
        sums = exponentials.sum(axis=2, keepdims=True)
        logs = np.where(possible, scores - highest - np.log(sums), 0.0)
        log_posterior = (counts * logs).sum(axis=(1, 2)) - (precision * theta**2).sum(axis=1) / 2
        return log_posterior, exponentials / sums

    log_posterior, probabilities = evaluate(theta)
    for _ in range(_MAX_STEPS):
        expected = np.einsum("bsc,scd->bsd", probabilities, x)
        gradient = np.einsum("bsc,scd->bd", counts, x) - np.einsum("bs,bsd->bd", totals, expected) - precision * theta
        curvature = (
            np.einsum("bs,bsc,scd,sce->bde", totals, probabilities, x, x, optimize=True)
            - np.einsum("bs,bsd,bse->bde", totals, expected, expected, optimize=True)
            + np.diag(precision)
        )
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        if np.abs(step).max(initial=0.0) < 1e-9:  # noqa: PLR2004
            break
        scale = np.ones((theta.shape[0], 1))
        for _ in range(30):
            new_log_posterior, new_probabilities = evaluate(theta + scale * step)
            worse = new_log_posterior < log_posterior - 1e-12 * np.abs(log_posterior)
            if not worse.any():
                break
            scale[worse] /= 2
        theta, log_posterior, probabilities = theta + scale * step, new_log_posterior, new_probabilities
    return theta, curvature
