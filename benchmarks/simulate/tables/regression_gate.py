"""How often ``assert_no_regression`` passes a candidate that is worse by the whole margin."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics.bounded_mean import probability_negative

_SIZES = (5, 10, 20, 50, 200)
_ALPHA = 0.05


def _independent(rng: np.random.Generator, base: float, margin: float, n: int) -> np.ndarray:
    return (rng.random(n) < base - margin).astype(float) - (rng.random(n) < base)


def _alike(rng: np.random.Generator, base: float, margin: float, n: int) -> np.ndarray:
    """The candidate is right where the baseline is, but for a share of all prompts that it loses."""
    luck = rng.random(n)
    return (luck < base - margin).astype(float) - (luck < base)


def _repeated(rng: np.random.Generator, base: float, margin: float, n: int) -> np.ndarray:
    """Three calls for each prompt, whose difficulty both arms share."""
    chance = rng.beta(3 * base, 3 * (1 - base), (n, 1)) if base < 1 else np.ones((n, 1))
    before = (rng.random((n, 3)) < chance).mean(axis=1)
    after = (rng.random((n, 3)) < chance * (base - margin) / base).mean(axis=1)
    return after - before


_PAIRS = {"independent": _independent, "alike": _alike, "3 repeats": _repeated}


def _false_passes(pairs: str, base: float, margin: float, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    passed = 0
    known: dict[bytes, bool] = {}
    for _ in range(runs):
        points, counts = np.unique(np.round(_PAIRS[pairs](rng, base, margin, n), 9), return_counts=True)
        key = points.tobytes() + counts.tobytes()
        if key not in known:
            # The lower limit lies above -margin.
            known[key] = probability_negative(np.append(points, -1) + margin, np.append(counts, 1)) <= _ALPHA
        passed += known[key]
    return Outcome(passed / runs)


SIMULATION = Simulation(
    title="Share of candidates, worse by the whole margin, that assert_no_regression passes",
    corner="baseline, margin, pairs ╲ prompts",
    cells=tuple(
        Cell(f"{base:g}, {margin:g}, {pairs}", str(n), partial(_false_passes, pairs, base, margin, n))
        for base in (0.5, 0.9, 0.95, 1.0)
        for margin in (0.05, 0.1)
        for pairs in _PAIRS
        for n in _SIZES
    ),
    runs=2000,
    bound=0.06,
    at_least=False,
)
