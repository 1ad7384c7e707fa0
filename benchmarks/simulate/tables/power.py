"""How often a true difference as large as ``detectable`` is found, where it promises four of five times."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation

if TYPE_CHECKING:
    import numpy as np

_SIZES = (30, 100)
_COMPARISONS = (1, 8, 28)


def _power(kind: str, comparisons: int, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    values = KINDS[kind]
    found = promised = 0
    for _ in range(runs):
        detectable = compare(values, *values.draw(rng, n), comparisons=comparisons).detectable
        if math.isnan(detectable) or (kind.startswith("right") and detectable > 0.3):
            continue  # or more than the arms can differ here
        first, second = values.draw(rng, n)
        promised += 1
        found += compare(values, values.better(rng, first, detectable), second, comparisons=comparisons).low > 0
    return Outcome(found / promised if promised > runs / 20 else None)


SIMULATION = Simulation(
    title="Share of true differences as large as detectable, of two equal arms before, that paired() finds",
    corner="values, comparisons ╲ prompts",
    cells=tuple(
        Cell(f"{kind}, {comparisons}", str(n), partial(_power, kind, comparisons, n))
        for kind in ("right or wrong", "judged 1 to 5, mostly 5", "time, long tail")
        for comparisons in _COMPARISONS
        for n in _SIZES
    ),
    runs=300,
    bound=0.7,
    at_least=True,
)
