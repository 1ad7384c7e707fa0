"""Many calls through one client in a separate process: ipyllm, ``AsyncOpenAI``, or bare aiohttp with a minimal parser.

Each client has a fresh process, so imports, threads and memory of one do not affect another. Where there are two cores,
server and client run on different ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fixtures import fake_server
from benchmarks.report import median

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["CLIENTS", "Calls", "Row", "on_first_core", "on_last_core", "run", "run_module", "server_on_own_core"]

_ROOT = Path(__file__).resolve().parent.parent
_KEY = "sk-benchmark-0123456789"


@dataclass(frozen=True)
class Row:
    """One call that succeeded."""

    prompt: str
    ttft_s: float
    arrival_clock: str | None  # None for clients that do not say what stamped it
    chunks: int


@dataclass(frozen=True)
class Calls:
    """The results of many calls."""

    seconds: float
    cpu_s: float
    lost: int
    rows: list[Row] = field(repr=False)

    @property
    def chunks(self) -> int:
        return sum(row.chunks for row in self.rows)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def _on(cores: list[int]):
    """Start processes within the block on these cores."""
    before = _cores()
    if cores:
        os.sched_setaffinity(0, cores)  # children inherit it
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, before)


def on_first_core():
    """Start processes within the block on the first core, which the clients do not use."""
    return _on(_cores()[:1])


def on_last_core():
    """Start processes within the block on the last core, where the clients run."""
    return _on(_cores()[-1:])


@contextmanager
def server_on_own_core(*options: str):
    """Run the fake server on the first core, and yield its base URL."""
    with ExitStack() as stack:
        with on_first_core():
            base_url = stack.enter_context(fake_server(*options))
        yield base_url


def run_module(module: str, *arguments: object) -> dict:
    """Run ``python -m module`` on the last core with a separate ledger, and return the JSON it prints."""
    with tempfile.TemporaryDirectory() as home, on_last_core():
        settings = {"IPYLLM_LEDGER": f"{home}/ledger.sqlite", "IPYLLM_CONFIG": f"{home}/config.toml"}
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=_ROOT,
            env=os.environ | settings,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def run(client: str, base_url: str, *, calls: int, concurrency: int, ramp_s: float = 0.0, busy: bool = False) -> Calls:
    """Make ``calls`` calls, ``concurrency`` in flight, after one warm-up call.

    With ``ramp_s`` the first calls start evenly spread over that time. Without it they start together and, because all
    answers of the fake server take equally long, stay synchronised. With ``busy`` the main thread computes in Python
    meanwhile, as a cell may do, and the calls are made in another thread.
    """
    result = run_module("benchmarks.clients", client, base_url, calls, concurrency, ramp_s, int(busy))
    return Calls(**result | {"rows": [Row(*row) for row in result["rows"]]})


class _Ours:
    """``service.events()``, read on the caller's event loop, with the ledger on."""

    model = "fake-model"

    def __init__(self, base_url: str) -> None:
        from ipyllm import OpenAIService

        self._service = OpenAIService(self.model, base_url=base_url, api_key=_KEY)

    async def ask(self, prompt: str) -> tuple[float, str | None, int]:
        stream = self._service.events(prompt)
        async for _ in stream:
            pass
        timing = stream.outcome().timing
        return timing.ttft_s, getattr(timing, "arrival_clock", None), timing.n_chunks

    async def aclose(self) -> None:
        from ipyllm.ledger import current_ledger

        assert current_ledger().flush(30)


class _OursOnResponses(_Ours):
    """The same for a model that is asked through the Responses API."""

    model = "gpt-6-luna"


class _Unstamped(_Ours):
    """The same over ordinary sockets, where arrivals are timed when they are read."""

    def __init__(self, base_url: str) -> None:
        from ipyllm.transport import timed_session

        timed_session.stamped_socket = None
        super().__init__(base_url)


class _OpenAI:
    """The official client on its faster transport, with typed chunks and its own retries."""

    def __init__(self, base_url: str) -> None:
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=_KEY, http_client=openai.DefaultAioHttpClient(trust_env=False)
        )

    async def ask(self, prompt: str) -> tuple[float, None, int]:
        start, first, chunks = time.perf_counter(), 0.0, 0
        stream = await self._client.chat.completions.create(
            model="fake-model",
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter()
                chunks += 1
        return first - start, None, chunks

    async def aclose(self) -> None:
        await self._client.close()


class _Bare:
    """aiohttp, lines and JSON, without retries: the lower bound."""

    def __init__(self, base_url: str) -> None:
        import aiohttp

        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._url = f"{base_url}/chat/completions"

    async def ask(self, prompt: str) -> tuple[float, None, int]:
        body = {
            "model": "fake-model",
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        start, first, chunks, buffer = time.perf_counter(), 0.0, 0, b""
        async with self._session.post(self._url, json=body, headers={"Authorization": f"Bearer {_KEY}"}) as reply:
            reply.raise_for_status()
            async for data in reply.content.iter_any():
                at = time.perf_counter()
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        chunk = json.loads(line[6:])
                        if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                            first = first or at
                            chunks += 1
        return first - start, None, chunks

    async def aclose(self) -> None:
        await self._session.close()


CLIENTS = {
    "ipyllm": _Ours,
    "ipyllm on Responses": _OursOnResponses,
    "ipyllm unstamped": _Unstamped,
    "AsyncOpenAI": _OpenAI,
    "bare aiohttp": _Bare,
}


async def _run_calls(name: str, base_url: str, calls: int, concurrency: int, ramp_s: float) -> dict:
    client = CLIENTS[name](base_url)
    await client.ask("warm up")
    rows, lost, semaphore = [], 0, asyncio.Semaphore(concurrency)

    async def one(number: int) -> None:
        nonlocal lost
        async with semaphore:
            if number < concurrency:
                await asyncio.sleep(ramp_s * number / concurrency)
            prompt = f"call {number}"
            try:
                rows.append((prompt, *await client.ask(prompt)))
            except Exception:
                lost += 1

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(calls)))
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    await client.aclose()
    return {"seconds": seconds, "cpu_s": cpu_s, "lost": lost, "rows": rows}


def _run_beside_a_busy_main_thread(calls: Coroutine[None, None, dict]) -> dict:
    with ThreadPoolExecutor(1) as pool:
        running, number = pool.submit(asyncio.run, calls), 0
        while not running.done():
            for _ in range(1000):
                number += 1
        return running.result()


if __name__ == "__main__":
    _name, _base_url, _calls, _concurrency, _ramp_s, _busy = sys.argv[1:]
    _running = _run_calls(_name, _base_url, int(_calls), int(_concurrency), float(_ramp_s))
    print(json.dumps(_run_beside_a_busy_main_thread(_running) if int(_busy) else asyncio.run(_running)))


def beside_aiohttp(module: str, calls: int, concurrency: int, *, runs: int = 3) -> tuple[float, float, list[dict]]:
    """Run a module and a bare loop in turn, at a server that takes 0.2 s.

    Returns the ratio of their seconds (median of the pairs), the bare loop's seconds, and what each run of the module
    printed.
    """
    bare_s, ours = [], []
    for _ in range(runs):
        with server_on_own_core("--ttft", "0.2") as base_url:
            result = run("bare aiohttp", base_url, calls=calls, concurrency=concurrency)
        assert not result.lost, result
        bare_s.append(result.seconds)
        with server_on_own_core("--ttft", "0.2") as base_url:
            ours.append(run_module(module, base_url, calls, concurrency))
    ratio = median(one["seconds"] / bare for one, bare in zip(ours, bare_s, strict=True))
    return ratio, median(bare_s), ours
