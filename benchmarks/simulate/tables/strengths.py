"""Coverage of the intervals of strengths."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from benchmarks.simulate.tables.votes import SIMILAR, draw_votes
from ipyllm.statistics import ranking
from ipyllm.statistics.caveats import FEW_PROMPTS

PROMPTS = (6, 10, 20, 50)
BOUND = 0.93


def _true_strength(ahead: float, spread: float) -> float:
    """Return half the log-odds of a vote on any prompt."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    share = float(weights @ (1 / (1 + np.exp(-(ahead + math.sqrt(2) * spread * nodes)))) / weights.sum())
    return math.log(share / (1 - share)) / 2


def _coverage(ahead: float, votes_each: int, prompts: int, rng: np.random.Generator, runs: int) -> Outcome:
    truth = _true_strength(ahead, SIMILAR)
    covered, noted = [], []
    for _ in range(runs):
        table = ranking(draw_votes(rng, [ahead / 2, -ahead / 2], prompts, votes_each, SIMILAR, ties=0))
        covered.append(table.loc["a", "low"] <= truth <= table.loc["a", "high"])
        noted.append(prompts < FEW_PROMPTS or any("comes from the prior" in note for note in table.notes))
    return Outcome.of(covered, noted, at_least=BOUND)


SIMULATION = Simulation(
    title="Share of 95% intervals of a strength that contain the true strength; two arms",
    corner="true odds, votes on each prompt ╲ prompts",
    cells=tuple(
        Cell(
            f"{math.exp(2 * _true_strength(ahead, SIMILAR)):.1f} : 1, {votes_each} vote{'s' if votes_each > 1 else ''}",
            str(prompts),
            partial(_coverage, ahead, votes_each, prompts),
        )
        for ahead in (0.0, 2.0)
        for votes_each in (1, 10)
        for prompts in PROMPTS
    ),
    runs=500,
    bound=BOUND,
    at_least=True,
)
