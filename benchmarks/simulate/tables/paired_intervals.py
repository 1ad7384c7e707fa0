"""How often the intervals of ``paired()`` contain the true difference."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics.caveats import FEW_PROMPTS

_SIZES = (5, 10, 20, 50, 200)
_BOUND = 0.93


def _coverage(kind: str, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    values = KINDS[kind]
    covered = []
    for _ in range(runs):
        first, second = values.draw(rng, n)
        found = compare(values, values.better(rng, first, values.difference), second)
        if not np.isnan(found.low):
            covered.append(found.low - 1e-9 <= values.difference <= found.high + 1e-9)
    return Outcome.of(covered, [n < FEW_PROMPTS] * len(covered), at_least=_BOUND)


SIMULATION = Simulation(
    title="Share of 95% intervals of paired() that contain the true difference",
    corner="values ╲ prompts",
    cells=tuple(
        Cell(kind, str(n), partial(_coverage, kind, n)) for kind in KINDS if not kind.startswith("40%") for n in _SIZES
    ),
    runs=400,
    bound=_BOUND,
    at_least=True,
)
