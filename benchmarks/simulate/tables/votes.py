"""How often votes on equally good arms end in a preference that is not there."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.simulate.simulation import Cell, Outcome, Simulation
from ipyllm.statistics import prompts_to_rank, ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPTS = (3, 5, 10, 20, 50)
SIMILAR, ALIKE = 1.0, 4.0
_ROWS = (
    (2, 1, ALIKE),
    *((2, votes_each, spread) for votes_each in (5, 10) for spread in (SIMILAR, ALIKE)),
    (2, 50, SIMILAR),
    *((3, votes_each, SIMILAR) for votes_each in (1, 10)),
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
) -> pd.DataFrame:
    """Return votes between two arms drawn at random, won by the odds of their strengths; a share of ``ties``.

    ``spread`` is the standard deviation of what a prompt adds to each arm's strength, in log-odds.
    """
    labels = "abcdef"[: len(strengths)]
    pairs = np.array(list(combinations(range(len(labels)), 2)))
    arms = [dict.fromkeys(labels[i] + labels[j]) for i, j in pairs]
    n = prompts * votes_each
    prompt = np.repeat(np.arange(prompts), votes_each)
    of_prompt = np.asarray(strengths) + spread * rng.normal(size=(prompts, len(labels)))
    drawn = rng.integers(len(pairs), size=n)
    first, second = pairs[drawn].T
    ahead = of_prompt[prompt, first] - of_prompt[prompt, second]
    winner = np.where(rng.random(n) < 1 / (1 + np.exp(-ahead)), first, second)
    outcome = np.where(rng.random(n) < ties, "tie", np.array(list(labels))[winner])
    return pd.DataFrame({"arms": [arms[pair] for pair in drawn], "outcome": outcome, "prompt": prompt.astype(str)})


def _wrong(n_arms: int, prompts: int, votes_each: int, spread: float, rng: np.random.Generator, runs: int) -> Outcome:
    refused = prompts < prompts_to_rank(n_arms)
    drawn = (
        draw_votes(rng, [0] * n_arms, prompts, votes_each, spread) for _ in range(min(runs, 20) if refused else runs)
    )
    tables = [ranking(votes) for votes in drawn]
    if refused:
        assert all(table["p_best"].isna().all() for table in tables)
        return Outcome(None)
    return Outcome(sum(" is preferred to " in table.conclusion for table in tables) / runs)


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
    runs=800,
    bound=0.06,
    at_least=False,
)
