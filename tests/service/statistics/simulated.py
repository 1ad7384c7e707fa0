"""Simulated calls of models with known quality, as an experiment would return them."""

from __future__ import annotations

import numpy as np
import pandas as pd

ARMS = {"small": (0.4, 0.2), "large": (0.8, 0.6)}


def calls(arms, *, prompts=40, repeats=2, seed=1, **changes):
    """Return one row per call; ``arms`` gives each arm's chance of being right and its median time to first token."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 1, prompts)
    rows = []
    for arm, (right, ttft) in arms.items():
        for prompt in range(prompts):
            chance = 1 / (1 + np.exp(-(np.log(right / (1 - right)) - hardness[prompt])))
            for repeat in range(repeats):
                first = ttft * rng.lognormal(0, 0.3)
                output = int(rng.integers(20, 200))
                speed = rng.normal(80, 8)
                rows.append(
                    {
                        "experiment": "e",
                        "arm": arm,
                        "model": arm,
                        "prompt_id": f"p{prompt}",
                        "repeat": repeat,
                        "status": "ok",
                        "error_category": None,
                        "started_at": pd.Timestamp("2026-11-25", tz="UTC")
                        + pd.Timedelta(seconds=float(rng.uniform(0, 60))),
                        "ttft_s": first,
                        "total_s": first + output / speed,
                        "output_tps": speed,
                        "input_tokens": 50,
                        "output_tokens": output,
                        "usage_source": "server",
                        "cost_usd": output * 1e-6 * (10 if right > 0.7 else 2),
                        "cold": False,
                        "cache_hit": False,
                        "warmup": False,
                        "arrival_clock": "kernel",
                        "client_lag_s": 0.001,
                        "prompt": f"Question {prompt}?",
                        "response": f"Answer **{repeat}**",
                        "score_exact": bool(rng.random() < chance),
                        "score_similarity": float(np.clip(chance + rng.normal(0, 0.1), 0, 1)),
                    }
                )
    return pd.DataFrame(rows).assign(**changes)


def votes(strengths, *, n=200, seed=1, tie=0.2, bad=0.0):
    """Return votes between two arms drawn at random, won in the odds of their strengths."""
    rng = np.random.default_rng(seed)
    labels = list(strengths)
    rows = []
    for i in range(n):
        first, second = rng.choice(labels, 2, replace=False)
        wins = rng.random() < 1 / (1 + np.exp(strengths[second] - strengths[first]))
        outcome = str(first if wins else second)
        if rng.random() < tie:
            outcome = "both_bad" if rng.random() < bad else "tie"
        rows.append({"arms": {str(first): f"c{i}a", str(second): f"c{i}b"}, "outcome": outcome, "prompt": f"p{i % 50}"})
    return pd.DataFrame(rows)


def one_metric(values, **columns):
    """Return calls of the arms ``a`` and ``b``; ``values`` are the pairs of one metric, one for each prompt."""
    (name, pairs) = next(iter(values.items()))
    n = len(pairs)
    both = [first for first, _ in pairs] + [second for _, second in pairs]
    return pd.DataFrame(
        {"arm": ["a"] * n + ["b"] * n, "prompt_id": [*range(n)] * 2, "status": "ok", name: both, **columns}
    )


def scored(**arms):
    """Return one call per prompt and score; NaN for none."""
    rows = [(arm, n, score) for arm, scores in arms.items() for n, score in enumerate(scores)]
    return pd.DataFrame(rows, columns=["arm", "prompt_id", "score_s"]).assign(status="ok")
