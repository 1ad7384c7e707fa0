"""How often tables of equal arms have a finding among their primary, and among their secondary metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.simulate.pairs import KINDS, compare
from benchmarks.simulate.simulation import Cell, Outcome, Simulation

if TYPE_CHECKING:
    import numpy as np

_FAMILIES = {
    "primary: 1 score": ("70% right",),
    "primary: 2 scores": ("70% right", "judged 1 to 5, mostly 5"),
    "secondary: 2 times, cost": ("time, long tail", "time, long tail", "cost, long tail"),
}
_SIZES = (20, 50)


def _findings(kinds: tuple[str, ...], arms: int, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    comparisons = len(kinds) * (arms - 1)
    wrong = sum(_finds_any(kinds, arms, n, rng, comparisons) for _ in range(runs))
    return Outcome(wrong / runs)


def _finds_any(kinds: tuple[str, ...], arms: int, n: int, rng: np.random.Generator, comparisons: int) -> bool:
    found = False
    for kind in kinds:
        baseline = KINDS[kind].draw(rng, n)[0]
        for _ in range(arms - 1):
            arm = KINDS[kind].draw(rng, n)[0]
            verdict = compare(KINDS[kind], arm, baseline, comparisons=comparisons).verdict
            found |= verdict != "cannot be told"
    return found


SIMULATION = Simulation(
    title="Share of tables of equal arms with any finding in a family of metrics",
    corner="arms, family ╲ prompts",
    cells=tuple(
        Cell(f"{arms} arms, {family}", str(n), partial(_findings, kinds, arms, n))
        for arms in (4, 12)
        for family, kinds in _FAMILIES.items()
        for n in _SIZES
    ),
    runs=400,
    bound=0.06,
    at_least=False,
)
