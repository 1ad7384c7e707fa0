"""A complete experiment and a bare loop: 5,000 calls of 200 ms, 200 in flight, from the prompts to the scored results.

Each client has its own process and core, and the same kind of server. The bare loop uses aiohttp, lines and JSON,
without retries, limiter, ledger or resumption.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.clients import beside_aiohttp
from benchmarks.report import Claim, median

_CALLS = 5000
_CONCURRENCY = 200
_KEY = "sk-benchmark-0123456789"


def measure() -> list[Claim]:
    ratio, bare_s, ours = beside_aiohttp("benchmarks.experiment", _CALLS, _CONCURRENCY)
    ours_s, calls_s, cpu_s = (median(run[name] for run in ours) for name in ("seconds", "calls_s", "cpu_s"))
    against = f"bare {bare_s:.1f} s, ours {ours_s:.1f} s (calls {calls_s:.1f} s, CPU {cpu_s:.1f} s)"
    return [
        Claim(f"experiment of {_CALLS} calls, {_CONCURRENCY} in flight, over bare aiohttp", ratio, 1.5, "×", against),
        Claim("… without an answer", max(run["lost"] for run in ours), 0, "calls"),
    ]


def _experiment(base_url: str, calls: int, concurrency: int) -> dict:
    from ipyllm import Experiment, OpenAIService

    service = OpenAIService("fake-model", base_url=base_url, api_key=_KEY)

    def polite(response) -> bool:
        return response.content.startswith("Hello")

    Experiment(["warm up"], models=service, name="warm up", scorers=[polite]).run(progress=False).calls  # noqa: B018
    start, cpu = time.perf_counter(), time.process_time()
    experiment = Experiment(
        [{"prompt": f"call {number}"} for number in range(calls)],
        models=service,
        name="benchmark",
        concurrency=concurrency,
        scorers=[polite],
    )
    experiment.start()
    experiment.wait()
    calls_s = time.perf_counter() - start
    results = experiment.results().calls
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    answered = results[~results["warmup"] & (results["score_polite"] == 1)]
    return {"seconds": seconds, "calls_s": calls_s, "cpu_s": cpu_s, "lost": calls - len(answered)}


if __name__ == "__main__":
    _base_url, _calls, _concurrency = sys.argv[1:]
    print(json.dumps(_experiment(_base_url, int(_calls), int(_concurrency))))
