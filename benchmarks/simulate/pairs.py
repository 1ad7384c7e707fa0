"""Draws paired values of two arms, and compares them as ``paired()`` does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
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
    largest: float  # difference that the arms can have
    value_range: tuple[float, float]
    open_scale: bool = False


def _right(rng: np.random.Generator, chance: np.ndarray | float, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.random(shape) < chance).astype(float)


def _answers(mean: float, repeats: int, rng: np.random.Generator, n: int) -> np.ndarray:
    chance = rng.beta(3 * mean, 3 * (1 - mean), (n, 1))  # from prompt to prompt
    return _right(rng, chance, (2, n, repeats))


def _improve(mean: float, rng: np.random.Generator, values: np.ndarray, by: float) -> np.ndarray:
    """Make each wrong answer right with the probability that raises the mean by ``by``."""
    improved: np.ndarray = np.maximum(values, _right(rng, by / (1 - mean), values.shape))
    return improved


def _judged(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([1.0, 2, 3, 4, 5], (2, n, 1), p=[0.05, 0.02, 0.03, 0.2, 0.7])


def _times(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.lognormal(0, 0.5, (n, 1)) * rng.lognormal(0, 0.5, (2, n, 1))


def _costs(rng: np.random.Generator, n: int) -> np.ndarray:
    return 0.01 * rng.lognormal(0, 1, (2, n, 1))


def _steps(rng: np.random.Generator, n: int) -> np.ndarray:
    rounded: np.ndarray = np.ceil(2 * _times(rng, n)) / 2
    return rounded


def _raise(_: np.random.Generator, values: np.ndarray, by: float) -> np.ndarray:
    return values + by


def _right_or_wrong(mean: float, repeats: int = 1) -> Kind:
    return Kind(partial(_answers, mean, repeats), partial(_improve, mean), _SCORE, 0.1, 1 - mean, (0, 1))


KINDS = {
    "70% right": _right_or_wrong(0.7),
    "40% right": _right_or_wrong(0.4),
    "40% right, 3 repeats": _right_or_wrong(0.4, 3),
    "40% right, 5 repeats": _right_or_wrong(0.4, 5),
    "70% right, 3 repeats": _right_or_wrong(0.7, 3),
    "judged 1 to 5, mostly 5": Kind(_judged, _raise, _SCORE, 0.5, np.inf, (1, 6)),
    "cost, long tail": Kind(_costs, _raise, METRICS["cost_usd"], 0.005, np.inf, (0, 1), open_scale=True),
    "time, long tail": Kind(_times, _raise, METRICS["total_s"], 0.5, np.inf, (0, 1)),
    "time, in steps of 0.5 s": Kind(_steps, _raise, METRICS["total_s"], 0.5, np.inf, (0, 1)),
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
    means = values.mean(axis=2)
    binary = bool(np.isin(values, (0, 1)).all()) and kind.metric.kind == "score"
    if interval == "test":  # which the order of the prompts does not change
        means = means[:, np.lexsort(means)]
    return _compare(kind, means.tobytes(), values.shape[2], binary, comparisons, interval, seed)


@lru_cache(maxsize=20_000)
def _compare(
    kind: Kind,
    means: bytes,
    repeats: int,
    binary: bool,
    comparisons: int,
    interval: Literal["test", "bootstrap"],
    seed: int,
) -> PairedDifference:
    table = pd.DataFrame(np.frombuffer(means).reshape(2, -1), index=["first", "second"])
    calls = pd.DataFrame(repeats, table.index, table.columns)
    of_prompts = PromptMeans(table, calls, binary, kind.open_scale, *kind.value_range)
    return compare_pairs(
        of_prompts, kind.metric, "first", "second", comparisons=comparisons, interval=interval, seed=seed
    )
