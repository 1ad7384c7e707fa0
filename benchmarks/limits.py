"""Many concurrent calls through one limiter: to a server without a limit, to one that admits 50, and a single call.

The client is bare aiohttp: with the ``openai`` client, 2000 calls take 2 s of CPU, which would hide the limiter's cost.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from benchmarks.fixtures import fake_server
from benchmarks.report import Claim, median
from ipyllm.pipeline.limiter import Limiter

_CALL_S = 0.2
_BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


@dataclass(frozen=True)
class _Outcome:
    seconds: float
    lost: int
    limiter: Limiter


async def _ask(session: aiohttp.ClientSession, url: str, limiter: Limiter) -> None:
    slot = limiter.slot(estimated_tokens=1)
    while True:
        async with slot, session.post(url, json=_BODY) as reply:
            if reply.status == 429:
                assert slot.rejected(), "refused though nothing else was being served"
                continue
            reply.raise_for_status()
            slot.admitted()
            assert b"[DONE]" in await reply.read()
            slot.succeeded()
            return


async def _ask_all(base_url: str, calls: int, concurrency: int) -> _Outcome:
    limiter, semaphore = Limiter(), asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with semaphore:
                await _ask(session, f"{base_url}/chat/completions", limiter)

        start = time.perf_counter()
        outcomes = await asyncio.gather(*(one() for _ in range(calls)), return_exceptions=True)
        seconds = time.perf_counter() - start
    return _Outcome(seconds, sum(outcome is not None for outcome in outcomes), limiter)


async def _uncontended_slot_us(calls: int = 2000) -> float:
    """Return the median cost of a slot without contention, in microseconds."""
    limiter, times = Limiter(requests_per_minute=1e9, tokens_per_minute=1e12), []
    for _ in range(calls):
        start = time.perf_counter_ns()
        async with limiter.slot(estimated_tokens=100) as slot:
            slot.admitted()
            slot.succeeded(120)
        times.append((time.perf_counter_ns() - start) / 1e3)
    return median(times)


def measure() -> list[Claim]:
    with fake_server("--ttft", str(_CALL_S)) as base_url:
        free = asyncio.run(_ask_all(base_url, calls=2000, concurrency=500))
    with fake_server("--ttft", str(_CALL_S), "--admit", "50") as base_url:
        tight = asyncio.run(_ask_all(base_url, calls=1000, concurrency=200))
    against = f"ideal 0.8 s; the limit rose to {free.limiter.limit}"
    return [
        Claim("2000 calls of 200 ms, 500 tried, no limit", free.seconds, 2.0, "s", against),
        Claim("… lost or refused (HTTP 429)", free.lost + free.limiter.rejections, 0, "calls"),
        Claim("1000 calls of 200 ms, 200 tried, 50 admitted", tight.seconds, 8.0, "s", "ideal 4 s; inspect_ai 13 s"),
        Claim("… refused (HTTP 429)", tight.limiter.rejections, 150, "calls", "inspect_ai 96"),
        Claim("… lost", tight.lost, 0, "calls", "openai 104, litellm 96, threads 152"),
        Claim("a slot without contention", asyncio.run(_uncontended_slot_us()), 10, "µs"),
    ]
