"""How often the intervals of strengths by votes contain the true strength."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from benchmarks.simulate.tables.votes import SIMILAR, draw_votes, rank
from ipyllm.statistics import prompts_to_rank

_PROMPTS = (6, 10, 20, 50)
_VOTES = 10
_AHEAD = 1.5
"""Log-odds on a prompt that suits both arms equally."""


def _strength(ahead: float) -> float:
    """Return the strength of an arm that is so far ahead of one other, over all prompts."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    share = float(weights @ (1 / (1 + np.exp(-ahead - math.sqrt(2) * SIMILAR * nodes))) / weights.sum())
    return math.log(share / (1 - share)) / 2


def _coverage(strengths: list[float], truth: float, n: int, rng: np.random.Generator, runs: int) -> Outcome:
    if n < prompts_to_rank(len(strengths)):
        return Outcome(None)
    covered = 0
    for _ in range(runs):
        columns = rank(*draw_votes(rng, strengths, n, _VOTES, SIMILAR), len(strengths))
        covered += bool(columns["low"][0] <= truth <= columns["high"][0])
    return Outcome(covered / runs)


SIMULATION = Simulation(
    title="Share of 95% intervals of an arm's strength that contain the true strength, 10 votes on each prompt",
    corner="arms ╲ prompts",
    cells=tuple(
        Cell(row, str(n), partial(_coverage, strengths, truth, n))
        for row, strengths, truth in (
            ("2, equal", [0.0, 0.0], 0.0),
            ("2, one much better", [_AHEAD / 2, -_AHEAD / 2], _strength(_AHEAD)),
            ("4, equal", [0.0] * 4, 0.0),
        )
        for n in _PROMPTS
    ),
    runs=500,
    bound=0.93,
    at_least=True,
)
