"""A column of answers and a bare loop: 10,000 rows, 200 ms each, 200 in flight, from the DataFrame to the Series.

Each client has its own process and core, and the same kind of server. The bare loop uses aiohttp, lines and JSON,
without templates, retries, limiter, ledger or resumption.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.clients import beside_aiohttp
from benchmarks.report import Claim, median

_ROWS = 10_000
_CONCURRENCY = 200
_KEY = "sk-benchmark-0123456789"


def measure() -> list[Claim]:
    ratio, bare_s, ours = beside_aiohttp("benchmarks.llm_map", _ROWS, _CONCURRENCY)
    ours_s, cpu_s = median(run["seconds"] for run in ours), median(run["cpu_s"] for run in ours)
    against = f"bare {bare_s:.1f} s, ours {ours_s:.1f} s (CPU {cpu_s:.1f} s)"
    return [
        Claim(f"llm_map of {_ROWS} rows, {_CONCURRENCY} in flight, over bare aiohttp", ratio, 1.2, "×", against),
        Claim("… the same again, from the ledger", median(run["again_s"] for run in ours), 2.0, "s"),
        Claim("… without an answer", max(run["lost"] for run in ours), 0, "rows"),
    ]


def _map(base_url: str, rows: int, concurrency: int) -> dict:
    import pandas as pd

    from ipyllm import OpenAIService, llm_map

    service = OpenAIService("fake-model", base_url=base_url, api_key=_KEY)
    frame = pd.DataFrame({"text": [f"call {number}" for number in range(rows)]})

    def answers(table: pd.DataFrame) -> pd.Series:
        return llm_map(table, "Classify: {{ text }}", model=service, concurrency=concurrency, progress=False)

    answers(frame.head(1).replace("call 0", "warm up"))
    start, cpu = time.perf_counter(), time.process_time()
    found = answers(frame)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    answers(frame)
    again_s = time.perf_counter() - start
    return {"seconds": seconds, "cpu_s": cpu_s, "again_s": again_s, "lost": int(found.isna().sum())}


if __name__ == "__main__":
    _base_url, _rows, _concurrency = sys.argv[1:]
    print(json.dumps(_map(_base_url, int(_rows), int(_concurrency))))
