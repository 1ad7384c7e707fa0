"""The time from interrupting a streaming cell to an idle kernel, and to a closed connection."""

from __future__ import annotations

import time

from benchmarks.fixtures import fake_server, kernel, requests_of
from benchmarks.report import Claim, median

_RUNS = 11


def measure() -> list[Claim]:
    idle, sent = [], []
    with (
        fake_server("--markdown", "100000", "--chunks", "20000", "--gap", "0.005") as base_url,
        kernel(base_url) as live,
    ):
        for _ in range(_RUNS + 1):
            request = live.start("%%llm --no-history\nHello")
            live.collect(request, until=lambda ran: len(ran.outputs) > 1)
            time.sleep(0.3)
            sent.append(time.perf_counter())
            live.interrupt()
            ran = live.collect(request)
            assert ran.status == "error", ran
            idle.append(ran.messages[-1]["received"] - sent[-1])
        time.sleep(0.2)
        closed = [request["closed_at_ns"] / 1e9 - at for request, at in zip(requests_of(base_url), sent, strict=True)]
    return [
        Claim("interrupt → kernel idle, median", median(idle[1:]) * 1e3, 20, "ms", "peers 472-1730 ms"),
        Claim("interrupt → connection closed, median", median(closed[1:]) * 1e3, 20, "ms"),
    ]
