"""Coverage of the intervals of shares of right answers."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics import clustered_mean
from ipyllm.statistics.caveats import FEW_PROMPTS

PROMPTS = (5, 10, 20, 50, 200)
BOUND = 0.93
_HARDNESS = {"1 answer": (1, 1.0), "5 answers": (5, 1.0), "5 answers, mostly alike": (5, 0.2), "20 answers": (20, 1.0)}
"""Answers to each prompt, and the total of the beta distribution of its chance of being right: small for alike."""


def _coverage(truth: float, prompts: int, answers: int, total: float, rng: np.random.Generator, runs: int) -> Outcome:
    covered = []
    for _ in range(runs):
        chance = rng.beta(total * truth, total * (1 - truth), prompts)
        right = rng.random((answers, prompts)) < chance
        found = clustered_mean(right.ravel().astype(float), np.tile(np.arange(prompts), answers))
        covered.append(found.low <= truth <= found.high)
    return Outcome.of(covered, [prompts < FEW_PROMPTS] * runs, at_least=BOUND)


SIMULATION = Simulation(
    title="Share of 95% intervals of a share of right answers that contain the true share",
    corner="true share, answers to each prompt ╲ prompts",
    cells=tuple(
        Cell(f"{truth}, {kind}", str(prompts), partial(_coverage, truth, prompts, answers, total))
        for truth in (0.5, 0.9)
        for kind, (answers, total) in _HARDNESS.items()
        for prompts in PROMPTS
    ),
    runs=2000,
    bound=BOUND,
    at_least=True,
)
