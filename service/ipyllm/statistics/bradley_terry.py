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

__all__ = ["PRIOR_SD", "ComparisonOutcome", "Strengths", "fit_strengths"]

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
    """Strengths in log-odds that sum to 0, with their covariance.

    Attributes
    ----------
    strengths : ndarray, shape (arms,)
        ``strengths[i] - strengths[j]`` is the log-odds of i against j, ties aside.
    covariance : ndarray, shape (arms, arms)
        Of the strengths.
    tie : float
        Log of Davidson's nu; NaN where no vote was a tie.
    """

    strengths: np.ndarray
    covariance: np.ndarray
    tie: float


def fit_strengths(
    outcomes: Sequence[ComparisonOutcome],
    n_arms: int,
    *,
    clusters: Sequence[object] | None = None,
    prior_sd: float = PRIOR_SD,
) -> Strengths:
    """Return the most probable strengths.

    Parameters
    ----------
    outcomes : sequence of ComparisonOutcome
        The votes.
    n_arms : int
        Number of arms, those without a vote included.
    clusters : sequence, optional
        The prompt of each vote: votes on one prompt may depend on each other. By default none do.
    prior_sd : float
        Standard deviation of the normal prior around 0, in log-odds, above 0.

    Notes
    -----
    Bradley & Terry (1952); ties after Davidson (1970), and choices among more than two after Luce (1959), joined
    as in Firth, Kosmidis & Turner (2019): arm i of a set is chosen in proportion to ``exp(s_i)``, the tie of all
    in proportion to ``nu`` times the geometric mean. ``log(nu)`` has a prior with a standard deviation of 3. The
    maximum of likelihood times prior is unique, because the logarithm of both is concave; found by Newton's method.

    The covariance is the inverse of the posterior's curvature at its maximum. With clusters it is that of the
    jackknife over clusters (CR3 of Bell & McCaffrey 2002, with one Newton step for each cluster left out: MacKinnon,
    Nielsen & Webb 2023), but in no direction less than the inverse curvature: votes on one prompt are never worth
    more than as many independent ones.

    Examples
    --------
    >>> votes = [ComparisonOutcome((0, 1), 0)] * 3 + [ComparisonOutcome((0, 1), 1)]
    >>> first, second = fit_strengths(votes, 2, prior_sd=100).strengths
    >>> round(math.exp(first - second), 2)
    3.0
    >>> each_vote_ten_times = fit_strengths(votes * 10, 2, clusters=["p1", "p2", "p3", "p4"] * 10)
    >>> bool(each_vote_ten_times.covariance[0, 0] > 5 * fit_strengths(votes * 10, 2).covariance[0, 0])
    True
    """
    import numpy as np

    model = _Model(outcomes, n_arms, prior_sd)
    counts = model.counts(range(len(outcomes)) if clusters is None else clusters)
    theta, curvature = model.maximise(counts.sum(axis=0))
    inverse = np.linalg.inv(curvature)
    centre = np.eye(n_arms, n_arms + 1) - np.eye(n_arms, n_arms + 1).mean(axis=0)
    covariance = centre @ inverse @ centre.T
    if clusters is not None:
        covariance = _larger(model.jackknife(counts, theta, curvature) @ centre.T, covariance)
    tie = float(theta[n_arms]) if model.ties else math.nan
    return Strengths(centre @ theta, covariance, tie)


def _larger(changes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the covariance of the jackknife's ``changes``, raised to ``covariance`` in directions where it is less."""
    import numpy as np

    clusters = len(changes)
    values, vectors = np.linalg.eigh(covariance)
    sizes = np.sqrt(np.maximum(values, 0.0))
    root = vectors * sizes
    # In this basis `covariance` is the identity. The strengths sum to 0: one direction has no variance.
    inverse = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 1e-8 * sizes.max(initial=0.0))
    scaled = changes @ (vectors * inverse)
    effects, directions = np.linalg.eigh((clusters - 1) / clusters * scaled.T @ scaled)
    larger: np.ndarray = root @ (directions * np.maximum(effects, 1.0)) @ directions.T @ root.T
    return larger


class _Model:
    """Likelihood of the votes times prior, as a function of the strengths and the tie parameter.

    ``features[s, c]`` are the weights of the parameters in outcome c of set s of arms: one strength for a winner, the
    mean of the set's strengths and the tie parameter for a tie.
    """

    def __init__(self, outcomes: Sequence[ComparisonOutcome], n_arms: int, prior_sd: float) -> None:
        import numpy as np

        sets: dict[tuple[int, ...], int] = {}
        self._set = np.array(
            [sets.setdefault(tuple(sorted(outcome.arms)), len(sets)) for outcome in outcomes], dtype=int
        )
        self.ties = any(outcome.winner is None for outcome in outcomes)
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
        self.precision = np.full(n_arms + 1, prior_sd**-2)
        self.precision[-1] = _TIE_SD**-2

    def counts(self, clusters: Sequence[object]) -> np.ndarray:
        """Return the count of each outcome (last axis) of each set of arms in each cluster (first axis)."""
        import numpy as np

        numbers: dict[object, int] = {}
        codes = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=int)
        shape = len(numbers), *self.possible.shape
        flat = np.ravel_multi_index((codes, self._set, self._outcome_index), shape)
        return np.bincount(flat, minlength=math.prod(shape)).reshape(shape).astype(float)

    def maximise(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parameters at the maximum and the curvature there, by Newton's method with halved steps."""
        import numpy as np

        theta = np.zeros(self.precision.size)
        value = self._log_posterior(theta, counts)
        for _ in range(_MAX_STEPS):
            expected, information = self._moments(theta)
            totals = counts.sum(axis=1)
            gradient = np.einsum("sc,scd->d", counts, self.features) - totals @ expected - self.precision * theta
            curvature = np.einsum("s,sde->de", totals, information) + np.diag(self.precision)
            step = np.linalg.solve(curvature, gradient)
            if np.abs(step).max(initial=0.0) < 1e-9:  # noqa: PLR2004
                break
            for _ in range(30):
                new_value = self._log_posterior(theta + step, counts)
                if new_value >= value - 1e-12 * abs(value):
                    break
                step = step / 2
            theta, value = theta + step, new_value
        return theta, curvature

    def jackknife(self, counts: np.ndarray, theta: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """Return by how much the parameters change when a cluster (row) is left out, to one Newton step."""
        import numpy as np

        expected, information = self._moments(theta)
        totals = counts.sum(axis=2)
        scores = np.einsum("gsc,scd->gd", counts, self.features) - totals @ expected
        others = curvature - np.einsum("gs,sde->gde", totals, information, optimize=True)
        changes: np.ndarray = -np.linalg.solve(others, scores[..., None])[..., 0]
        return changes

    def _log_probabilities(self, theta: np.ndarray) -> np.ndarray:
        import numpy as np

        logits = np.where(self.possible, self.features @ theta, -np.inf)
        logits -= logits.max(axis=1, keepdims=True, initial=-1e300)
        logs: np.ndarray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logs

    def _log_posterior(self, theta: np.ndarray, counts: np.ndarray) -> float:
        import numpy as np

        logs = np.where(self.possible, self._log_probabilities(theta), 0.0)
        return float((counts * logs).sum() - (self.precision * theta**2).sum() / 2)

    def _moments(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected features of one vote on each set of arms, and their covariance."""
        import numpy as np

        probabilities, x = np.exp(self._log_probabilities(theta)), self.features
        expected = np.einsum("sc,scd->sd", probabilities, x)
        centred = x - expected[:, None]
        return expected, np.einsum("sc,scd,sce->sde", probabilities, centred, centred, optimize=True)
