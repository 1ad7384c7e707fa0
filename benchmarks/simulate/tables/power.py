"""How often a true difference as large as ``detectable`` is found, where it promises four of five times."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation

if TYPE_CHECKING:
    import numpy as np

_SIZES = (20, 30, 100)
_COMPARISONS = (1, 8, 28)
_MOST = 0.9
"""Share of the runs that must have a detectable difference that the arms can have."""


def _power(kind: str, comparisons: int, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    values = KINDS[kind]
    found = []
    for _ in range(runs):
        detectable = compare(values, *values.draw(rng, n), comparisons=comparisons).detectable
        if detectable <= values.largest:
            first, second = values.draw(rng, n)
            found.append(
                compare(values, values.better(rng, first, detectable), second, comparisons=comparisons).low > 0
            )
    return Outcome(sum(found) / len(found) if len(found) >= _MOST * runs else None)


SIMULATION = Simulation(
    title="Share of true differences as large as detectable, of two equal arms before, that paired() finds",
    corner="values, comparisons ╲ prompts",
    cells=tuple(
        Cell(f"{kind}, {comparisons}", str(n), partial(_power, kind, comparisons, n))
        for kind in (
            "40% right",
            "40% right, 3 repeats",
            "40% right, 5 repeats",
            "judged 1 to 5, mostly 5",
            "cost, long tail",
            "time, long tail",
        )
        for comparisons in _COMPARISONS
        for n in _SIZES
    ),
    runs=500,
    bound=0.78,
    at_least=True,
)
