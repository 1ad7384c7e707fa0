"""How often votes on equally good arms end in a preference that is not there."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics import ComparisonOutcome, fit_strengths, prompts_to_rank
from ipyllm.statistics.ranking import estimate_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPTS = (3, 5, 10, 20, 50)
SIMILAR, ALIKE = 1.0, 4.0
_ROWS = (
    (2, 1, ALIKE),
    *((2, votes_each, spread) for votes_each in (5, 10, 50) for spread in (SIMILAR, ALIKE)),
    *((3, votes_each, SIMILAR) for votes_each in (1, 10, 50)),
    *((n_arms, 10, SIMILAR) for n_arms in (4, 5)),
    *((6, votes_each, SIMILAR) for votes_each in (1, 10, 50)),
)
"""Arms, votes on a prompt, and how much these agree."""


def draw_votes(
    rng: np.random.Generator,
    strengths: Sequence[float],
    prompts: int,
    votes_each: int,
    spread: float,
    ties: float = 1 / 8,
) -> tuple[list[ComparisonOutcome], list[int]]:
    """Return votes between two arms drawn at random, won by the odds of their strengths, and their prompts.

    ``spread`` is the standard deviation of what a prompt adds to each arm's strength, in log-odds; ``ties`` a share.
    """
    n_arms = len(strengths)
    pairs = list(combinations(range(n_arms), 2))
    n = prompts * votes_each
    prompt = np.repeat(np.arange(prompts), votes_each)
    of_prompt = np.asarray(strengths) + spread * rng.normal(size=(prompts, n_arms))
    drawn = rng.integers(len(pairs), size=n)
    first, second = np.array(pairs)[drawn].T
    ahead = of_prompt[prompt, first] - of_prompt[prompt, second]
    winner = np.where(rng.random(n) < 1 / (1 + np.exp(-ahead)), first, second).tolist()
    tied = (rng.random(n) < ties).tolist()
    votes = [
        ComparisonOutcome(pairs[pair], None if tie else won)
        for pair, won, tie in zip(drawn.tolist(), winner, tied, strict=True)
    ]
    return votes, prompt.tolist()


def rank(votes: list[ComparisonOutcome], prompts: list[int], n_arms: int) -> dict[str, np.ndarray]:
    """Return the columns of ``ranking()`` that it estimates, without its table and sentences."""
    asked = [{p for vote, p in zip(votes, prompts, strict=True) if arm in vote.arms} for arm in range(n_arms)]
    fitted = fit_strengths(votes, n_arms, clusters=prompts)
    return estimate_columns(fitted, np.array([len(of_arm) for of_arm in asked]), 0.95, seed=0)


def _wrong(n_arms: int, prompts: int, votes_each: int, spread: float, rng: np.random.Generator, runs: int) -> Outcome:
    if prompts < prompts_to_rank(n_arms):
        return Outcome(None)
    preferred = 0
    for _ in range(runs):
        columns = rank(*draw_votes(rng, [0.0] * n_arms, prompts, votes_each, spread), n_arms)
        preferred += bool((columns["behind_low"] > 0).any())
    return Outcome(preferred / runs)


def _name(n_arms: int, votes_each: int, spread: float) -> str:
    agreement = "" if votes_each == 1 else ", nearly the same" if spread == ALIKE else ", similar"
    return f"{n_arms} arms, {votes_each} vote{'s' if votes_each > 1 else ''}{agreement}"


SIMULATION = Simulation(
    title="Share of rankings of equally good arms that call one preferred to another, at 95%",
    corner="arms, votes on each prompt ╲ prompts",
    cells=tuple(
        Cell(_name(*row), str(prompts), partial(_wrong, row[0], prompts, *row[1:]))
        for row in _ROWS
        for prompts in PROMPTS
    ),
    runs=1000,
    bound=0.06,
    at_least=False,
)
