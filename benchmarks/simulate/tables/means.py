"""Coverage of the intervals of mean scores and costs."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics import clustered_mean
from ipyllm.statistics.caveats import FEW_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[np.random.Generator, int], np.ndarray]

PROMPTS = (5, 10, 20, 30, 50, 200)


def _grades(shares: list[float], rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], n, p=shares)


def _costs(sigma: float, rng: np.random.Generator, n: int) -> np.ndarray:
    return 0.002 * rng.lognormal(0, sigma, n)


def _similarities(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.beta(0.5, 0.1, n)


def _shares(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.beta(2, 3, n)


def _distances(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.exponential(12, n)


_80 = [0.06, 0.03, 0.03, 0.08, 0.8]
_90 = [0.02, 0.02, 0.02, 0.04, 0.9]
KINDS: dict[str, tuple[Draw, float]] = {
    "grades, 80% of them 5": (partial(_grades, _80), float(np.dot(_80, range(1, 6)))),
    "grades, 90% of them 5": (partial(_grades, _90), float(np.dot(_90, range(1, 6)))),
    "shares, Beta(2, 3)": (_shares, 0.4),
    "similarities, Beta(0.5, 0.1)": (_similarities, 0.5 / 0.6),
    "distances, exponential": (_distances, 12.0),
    "costs, lognormal, σ = 1": (partial(_costs, 1.0), 0.002 * math.exp(0.5)),
    "costs, lognormal, σ = 1.5": (partial(_costs, 1.5), 0.002 * math.exp(1.125)),
}


def _coverage(draw: Draw, truth: float, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    found = [mean for mean in (clustered_mean(draw(rng, n)) for _ in range(runs)) if mean.method]
    covered = [mean.low <= truth <= mean.high for mean in found]
    noted = [n < FEW_PROMPTS or mean.heavy_tail for mean in found]
    return Outcome.of(covered, noted, at_least=BOUND)


BOUND = 0.93
SIMULATION = Simulation(
    title="Share of 95% intervals of a mean that contain the true mean",
    corner="values ╲ prompts",
    cells=tuple(
        Cell(kind, str(n), partial(_coverage, draw, truth, n)) for kind, (draw, truth) in KINDS.items() for n in PROMPTS
    ),
    runs=2000,
    bound=BOUND,
    at_least=True,
)
