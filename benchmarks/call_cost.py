"""The overhead of the service layer: CPU per chunk of a stream, and time per call above bare HTTP."""

from __future__ import annotations

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

from benchmarks.clients import run, run_module, server_apart
from benchmarks.report import Claim, median

_RUNS = 3
_CHUNKS = 2000
_TURNS = 300


def _per_chunk(client: str, base_url: str) -> float:
    """Return microseconds of CPU per chunk, over all threads."""
    made = run(client, base_url, calls=10, at_once=1)
    assert made.chunks == 10 * _CHUNKS, made
    return made.cpu_s / made.chunks * 1e6


def _bare_http(base_url: str):
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}

    def ask() -> None:
        connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), {"Connection": "keep-alive"})
        assert b"[DONE]" in connection.getresponse().read()

    return ask


def _alone(base_url: str) -> dict:
    """Call ``chat()`` and ``http.client`` alternately; return the median milliseconds of each."""
    from ipyllm import OpenAIService

    service = OpenAIService("fake-model", base_url=base_url, api_key="sk-benchmark-0123456789")
    asking = {"chat": lambda: service.chat("Hello"), "bare": _bare_http(base_url)}
    times = {name: [] for name in asking}
    for turn in range(_TURNS + 20):
        for name, ask in asking.items():
            start = time.perf_counter()
            ask()
            if turn >= 20:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: median(measured) for name, measured in times.items()}


def measure() -> list[Claim]:
    with server_apart("--length", "10000", "--chunks", str(_CHUNKS), "--no-coalesce") as base_url:
        ours = median(_per_chunk("ipyllm", base_url) for _ in range(_RUNS))
        peers = ", ".join(f"{peer} {_per_chunk(peer, base_url):.0f} µs" for peer in ("AsyncOpenAI", "bare aiohttp"))
    with server_apart() as base_url:
        runs = [run_module("benchmarks.call_cost", base_url) for _ in range(_RUNS)]
    over = median(made["chat"] - made["bare"] for made in runs)
    bare = median(made["bare"] for made in runs)
    return [
        Claim("CPU a chunk through service.events()", ours, 25, "µs", peers),
        Claim("chat() over a bare HTTP call, one at a time", over, 1.5, "ms", f"http.client alone {bare:.2f} ms"),
    ]


if __name__ == "__main__":
    print(json.dumps(_alone(sys.argv[1])))
