"""How often ``paired()`` calls one of two equal arms better."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics.caveats import FEW_PROMPTS
from ipyllm.statistics.pairs_conclusion import FEW_FOR_BOOTSTRAP

if TYPE_CHECKING:
    import numpy as np

_SIZES = (5, 10, 20, 50)


def _errors(kind: str, interval: Literal["test", "bootstrap"], n: int, rng: np.random.Generator, runs: int) -> Outcome:
    wrong = 0
    for run in range(runs):
        found = compare(KINDS[kind], *KINDS[kind].draw(rng, n), interval=interval, seed=run)
        wrong += found.verdict != "cannot be told"
    return Outcome(wrong / runs, warned=n < (FEW_FOR_BOOTSTRAP if interval == "bootstrap" else FEW_PROMPTS))


SIMULATION = Simulation(
    title='Share of two equal arms of which paired() calls one "better"',
    corner="values ╲ prompts",
    cells=tuple(
        Cell(f"{kind}{', bootstrap' * (interval == 'bootstrap')}", str(n), partial(_errors, kind, interval, n))
        for interval in ("test", "bootstrap")
        for kind in KINDS
        if interval == "test" or kind in {"right or wrong", "time, long tail"}
        for n in _SIZES
    ),
    runs=400,
    bound=0.08,
    at_least=False,
)
