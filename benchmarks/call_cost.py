"""The overhead of the service layer: CPU per chunk of a stream, and time per call above bare HTTP."""

from __future__ import annotations

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

from benchmarks.clients import run, run_module, server_on_own_core
from benchmarks.report import Claim, median

_RUNS = 3
_CHUNKS = 2000
_CALLS = 300


def _cpu_us_per_chunk(client: str, base_url: str) -> float:
    """Return the microseconds of CPU per chunk, of all threads."""
    result = run(client, base_url, calls=10, concurrency=1)
    assert result.chunks == 10 * _CHUNKS, result
    return result.cpu_s / result.chunks * 1e6


def _bare_http(base_url: str):
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}

    def ask() -> None:
        connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), {"Connection": "keep-alive"})
        assert b"[DONE]" in connection.getresponse().read()

    return ask


def _one_at_a_time(base_url: str) -> dict:
    """Call ``chat()`` and ``http.client`` alternately; return the median milliseconds of each."""
    from ipyllm import OpenAIService

    service = OpenAIService("fake-model", base_url=base_url, api_key="sk-benchmark-0123456789")
    clients = {"chat": lambda: service.chat("Hello"), "bare": _bare_http(base_url)}
    times = {name: [] for name in clients}
    for number in range(_CALLS + 20):
        for name, ask in clients.items():
            start = time.perf_counter()
            ask()
            if number >= 20:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: median(measured) for name, measured in times.items()}


def measure() -> list[Claim]:
    with server_on_own_core("--length", "10000", "--chunks", str(_CHUNKS), "--no-coalesce") as base_url:
        ours, on_responses = (
            median(_cpu_us_per_chunk(client, base_url) for _ in range(_RUNS))
            for client in ("ipyllm", "ipyllm on Responses")
        )
        peers = ", ".join(
            f"{peer} {_cpu_us_per_chunk(peer, base_url):.0f} µs" for peer in ("AsyncOpenAI", "bare aiohttp")
        )
    with server_on_own_core() as base_url:
        runs = [run_module("benchmarks.call_cost", base_url) for _ in range(_RUNS)]
    overhead = median(result["chat"] - result["bare"] for result in runs)
    bare = median(result["bare"] for result in runs)
    return [
        Claim("CPU per chunk through service.events()", ours, 15, "µs", peers),
        Claim("the same on the Responses API", on_responses, 15, "µs", "over the same fast path"),
        Claim("chat() over a bare HTTP call, one at a time", overhead, 1.5, "ms", f"http.client alone {bare:.2f} ms"),
    ]


if __name__ == "__main__":
    print(json.dumps(_one_at_a_time(sys.argv[1])))
