"""How often the intervals of ``paired()`` contain the true difference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics.caveats import FEW_PROMPTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZES = (5, 10, 20, 50)


def _coverage(
    kind: str, interval: Literal["test", "bootstrap"], n: int, rng: np.random.Generator, runs: int
) -> Outcome:
    values = KINDS[kind]

    def hits() -> Iterator[bool]:
        for run in range(runs):
            first, second = values.draw(rng, n)
            found = compare(values, values.better(rng, first, values.difference), second, interval=interval, seed=run)
            if not np.isnan(found.low):
                yield found.low - 1e-9 <= values.difference <= found.high + 1e-9

    known = list(hits())
    return Outcome(sum(known) / len(known) if known else None, warned=n < FEW_PROMPTS)


SIMULATION = Simulation(
    title="Share of 95 % intervals of paired() that contain the true difference",
    corner="values ╲ prompts",
    cells=tuple(
        Cell(f"{kind}{', bootstrap' * (interval == 'bootstrap')}", str(n), partial(_coverage, kind, interval, n))
        for interval in ("test", "bootstrap")
        for kind in KINDS
        if interval == "test" or kind in {"right or wrong", "cost, long tail"}
        for n in _SIZES
    ),
    runs=400,
    bound=0.92,
    at_least=True,
)
