"""The overhead of the service layer: CPU per chunk and per call, also of other clients, and time above bare HTTP."""

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
_SIZES = ((1, 8, 40), (1, 64, 15), (100, 8, 400), (100, 64, 200))
"""Calls in flight, chunks of each, and calls."""


def _cpu_us_per_chunk(client: str, base_url: str) -> float:
    """Return the microseconds of CPU per chunk, of all threads."""
    result = run(client, base_url, calls=10, concurrency=1)
    assert result.chunks == 10 * _CHUNKS, result
    return result.cpu_s / result.chunks * 1e6


def _cost_of_stamps(base_url: str, concurrency: int) -> float:
    """Return the CPU of calls whose arrivals the kernel stamps, over that of calls without, taken in turn."""
    calls = max(100, 4 * concurrency)
    ratios = []
    for _ in range(_RUNS):
        stamped, unstamped = (
            run(client, base_url, calls=calls, concurrency=concurrency) for client in ("ipyllm", "ipyllm unstamped")
        )
        assert {row.arrival_clock for row in unstamped.rows} == {"process"}
        ratios.append(stamped.cpu_s / unstamped.cpu_s)
    return median(ratios)


def _cpu_of_calls(in_flight: int, chunks: int, calls: int) -> dict[str, float]:
    """Return the milliseconds of CPU per call, of all threads, by client; taken in turn."""
    measured: dict[str, list[float]] = {name: [] for name in ("ipyllm", "AsyncOpenAI", "bare aiohttp")}
    with server_on_own_core("--length", str(5 * chunks), "--chunks", str(chunks), "--gap", "0.005") as base_url:
        for _ in range(_RUNS):
            for name, costs in measured.items():
                result = run(name, base_url, calls=calls, concurrency=in_flight)
                assert result.chunks == calls * chunks, result
                costs.append(result.cpu_s / calls * 1e3)
    return {name: median(costs) for name, costs in measured.items()}


def _claims_of_calls() -> list[Claim]:
    claims = []
    for in_flight, chunks, calls in _SIZES:
        ours, *peers = (cpu := _cpu_of_calls(in_flight, chunks, calls)).values()
        against = ", ".join(f"{name} {cost:.2f} ms" for name, cost in cpu.items())
        what = f"CPU per call of {chunks} chunks, {in_flight} in flight, over AsyncOpenAI's"
        claims.append(Claim(what, ours / peers[0], 1, "×", against))
    return claims


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
        stamps = {concurrency: _cost_of_stamps(base_url, concurrency) for concurrency in (1, 100)}
    overhead = median(result["chat"] - result["bare"] for result in runs)
    bare = median(result["bare"] for result in runs)
    return [
        Claim("CPU per chunk through service.events()", ours, 15, "µs", peers),
        Claim("the same on the Responses API", on_responses, 15, "µs", "over the same fast path"),
        Claim("chat() over a bare HTTP call, one at a time", overhead, 1.5, "ms", f"http.client alone {bare:.2f} ms"),
        *(
            Claim(f"CPU per call, stamped by the kernel or not, {concurrency} in flight", ratio, 1.05, "×")
            for concurrency, ratio in stamps.items()
        ),
        *_claims_of_calls(),
    ]


if __name__ == "__main__":
    print(json.dumps(_one_at_a_time(sys.argv[1])))
