"""The time that ``results.summary()`` takes for a million calls."""

from __future__ import annotations

import time

from benchmarks.report import Claim, median

_ROWS = 1_000_000
_RUNS = 3


def measure() -> list[Claim]:
    import numpy as np
    import pandas as pd

    from ipyllm.statistics import summarise_arms

    rng = np.random.default_rng(0)
    arm = rng.integers(0, 4, _ROWS)
    frame = pd.DataFrame(
        {
            "arm": np.array(["a", "b", "c", "d"])[arm],
            "model": np.array(["m/a", "m/b", "m/c", "m/d"])[arm],
            "prompt_id": np.arange(_ROWS) // 4,
            "repeat": 0,
            "status": np.where(rng.random(_ROWS) < 0.99, "ok", "error"),
            "error_category": None,
            "ttft_s": rng.lognormal(-1, 0.5, _ROWS),
            "total_s": rng.lognormal(0, 0.5, _ROWS),
            "output_tps": rng.normal(80, 10, _ROWS),
            "input_tokens": rng.integers(10, 500, _ROWS),
            "output_tokens": rng.integers(10, 500, _ROWS),
            "usage_source": "server",
            "cost_usd": rng.random(_ROWS) / 1000,
            "cold": False,
            "cache_hit": False,
            "warmup": False,
            "client_lag_s": 0.0,
            "score_exact": rng.integers(0, 2, _ROWS).astype(float),
        }
    )
    took = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        summarise_arms(frame)
        took.append(time.perf_counter() - start)
    return [Claim("summary() of 1,000,000 rows, 4 arms", median(took), 5, "s")]
