"""Draws paired values of two arms, and compares them as ``paired()`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ipyllm.statistics.observations import METRICS, Metric
from ipyllm.statistics.pairs import PairedDifference, PromptMeans, compare_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "Kind", "compare"]

_SCORE = Metric("score_x", "x", "scores of x", "", "score", higher_is_better=True)


@dataclass(frozen=True)
class Kind:
    """Values of two equal arms, and how a true difference changes those of the first."""

    draw: Callable[[np.random.Generator, int], np.ndarray]  # arms × prompts × repeats
    better: Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
    metric: Metric
    difference: float  # for coverage, in the unit of the values
    value_range: tuple[float, float]


def _right(rng: np.random.Generator, chance: np.ndarray | float, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.random(shape) < chance).astype(float)


def _answers(rng: np.random.Generator, n: int, repeats: int) -> np.ndarray:
    chance = rng.beta(2.1, 0.9, (n, 1))  # 0.7 on average, from prompt to prompt
    return _right(rng, chance, (2, n, repeats))


def _improve(rng: np.random.Generator, values: np.ndarray, by: float) -> np.ndarray:
    """Make each wrong answer right with the probability that raises the mean by ``by``."""
    return np.maximum(values, _right(rng, by / 0.3, values.shape))


def _judged(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([1.0, 2, 3, 4, 5], (2, n, 1), p=[0.05, 0.02, 0.03, 0.2, 0.7])


def _times(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.lognormal(0, 0.5, (n, 1)) * rng.lognormal(0, 0.5, (2, n, 1))


def _raise(_: np.random.Generator, values: np.ndarray, by: float) -> np.ndarray:
    return values + by


KINDS = {
    "right or wrong": Kind(lambda rng, n: _answers(rng, n, 1), _improve, _SCORE, 0.1, (0, 1)),
    "right or wrong, 3 repeats": Kind(lambda rng, n: _answers(rng, n, 3), _improve, _SCORE, 0.1, (0, 1)),
    "judged 1 to 5, mostly 5": Kind(_judged, _raise, _SCORE, 0.5, (1, 6)),
    "cost, long tail": Kind(
        lambda rng, n: 0.01 * rng.lognormal(0, 1, (2, n, 1)), _raise, METRICS["cost_usd"], 0.005, (0, 1)
    ),
    "time, long tail": Kind(_times, _raise, METRICS["total_s"], 0.5, (0, 1)),
    "time, in steps of 0.5 s": Kind(
        lambda rng, n: np.ceil(2 * _times(rng, n)) / 2, _raise, METRICS["total_s"], 0.5, (0, 1)
    ),
}


def compare(
    kind: Kind,
    first: np.ndarray,
    second: np.ndarray,
    *,
    comparisons: int = 1,
    interval: Literal["test", "bootstrap"] = "test",
    seed: int = 0,
) -> PairedDifference:
    """Compare two arms, each prompts × repeats, as one of several comparisons."""
    values = np.stack([first, second])
    means = PromptMeans(
        pd.DataFrame(values.mean(axis=2), index=["first", "second"]),
        one_call_each=values.shape[2] == 1,
        binary=bool(np.isin(values, (0, 1)).all()) and kind.metric.kind == "score",
        lowest=kind.value_range[0],
        highest=kind.value_range[1],
    )
    return compare_pairs(means, kind.metric, "first", "second", comparisons=comparisons, interval=interval, seed=seed)
