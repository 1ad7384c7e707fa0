"""The reported time to first token of concurrent calls, against a server that knows the true one.

Every call is begun at once. Calls whose arrivals the kernel could not stamp say so (``arrival_clock``): their times
may be late, and they are counted apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import on_first_core, run
from benchmarks.report import Claim

_IN_FLIGHT = {1: (20, 1, 5), 100: (400, 1, 5), 500: (1500, 1, 10)}
"""Calls, and the largest median and 95th percentile of the error in milliseconds, by the number of calls in flight."""
_OPTIONS = ("--ttft", "0.05", "--gap", "0.02", "--chunks", "16")
_WRONG_MS = 10
_PEERS = ("AsyncOpenAI", "bare aiohttp")


@dataclass(frozen=True)
class _Errors:
    """How far reported times are from the true ones, in milliseconds, and how many calls said that theirs may be."""

    median_ms: float
    p95_ms: float
    unmarked: int
    marked_share: float


@contextmanager
def _server():
    command = [sys.executable, "-m", "benchmarks.stamped_server", *_OPTIONS]
    with on_first_core():
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
    with process:
        yield process.stdout.readline().strip()
        process.stdin.close()


def _true_times(base_url: str) -> dict[str, tuple[float, float]]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/records") as answer:
        return json.load(answer)


def _errors(client: str, concurrency: int, *, busy: bool = False) -> _Errors:
    with _server() as base_url:
        result = run(client, base_url, calls=_IN_FLIGHT[concurrency][0], concurrency=concurrency, busy=busy)
        true_s = _true_times(base_url)
    assert not result.lost, f"{client} lost {result.lost} calls"
    errors = []
    for row in result.rows:
        earliest_s, latest_s = true_s[row.prompt]
        error_ms = max(earliest_s - row.ttft_s, row.ttft_s - latest_s, 0.0) * 1e3
        errors.append((error_ms, row.arrival_clock == "process"))
    sizes = sorted(error_ms for error_ms, _ in errors)
    return _Errors(
        median_ms=sizes[len(sizes) // 2],
        p95_ms=sizes[int(len(sizes) * 0.95)],
        unmarked=sum(error_ms > _WRONG_MS and not marked for error_ms, marked in errors),
        marked_share=sum(marked for _, marked in errors) / len(errors),
    )


def measure() -> list[Claim]:
    claims = []
    for concurrency, (_, median_bound, p95_bound) in _IN_FLIGHT.items():
        peers = {peer: _errors(peer, concurrency) for peer in _PEERS}
        against = ", ".join(
            f"{name} {errors.median_ms:.1f} (p95 {errors.p95_ms:.0f})" for name, errors in peers.items()
        )
        for busy in (False, True):
            errors = _errors("ipyllm", concurrency, busy=busy)
            what = f"TTFT of 50 ms, {concurrency} in flight{', busy main thread' if busy else ''}"
            claims += [
                Claim(f"{what}: error, median", errors.median_ms, median_bound, "ms", "" if busy else against),
                Claim("… p95", errors.p95_ms, p95_bound, "ms"),
                Claim(f"… wrong by {_WRONG_MS} ms and not marked", errors.unmarked, 0, "rows"),
                Claim("… marked as not stamped by the kernel", 100 * errors.marked_share, 2, "%"),
            ]
    return claims
