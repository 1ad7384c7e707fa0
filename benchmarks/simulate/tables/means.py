"""Coverage of the intervals of mean scores and costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics import clustered_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[np.random.Generator, int], np.ndarray]

SIZES = (5, 10, 20, 50, 200)
_SEEDED_TRUTH = 4_000_000


def _shares(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.beta(2, 3, n)


DRAWS: dict[str, Draw] = {"shares": _shares}


def _coverage(draw: Draw, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    truth = draw(np.random.default_rng(0), _SEEDED_TRUTH).mean()
    hits = given = 0
    for _ in range(runs):
        found = clustered_mean(draw(rng, n))
        if not np.isnan(found.low):
            given += 1
            hits += found.low <= truth <= found.high
    return Outcome(hits / given if given else None)


SIMULATION = Simulation(
    title="Share of 95 % intervals of a mean that contain the true mean",
    corner="values ╲ prompts",
    cells=tuple(Cell(kind, str(n), partial(_coverage, draw, n)) for kind, draw in DRAWS.items() for n in SIZES),
    runs=2000,
    bound=0.93,
    at_least=True,
)
