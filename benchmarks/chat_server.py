"""The chat server between clients and a model server: what it adds to the time to first token, and 200 sockets.

Direct calls and those through the server take turns, so that both meet the same machine. Each socket gets 20 chunks a
second for two minutes; a client counts what it lacks at the end, and the process is watched from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import psutil

from benchmarks.report import Claim, median
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS

_ROOT = Path(__file__).resolve().parent.parent
_TOKEN = {"Authorization": f"Bearer {TOKENS['ana']}"}
_OPTIONS = (
    "--ChatServer.calls_per_user=1000", "--ChatServer.sockets_per_user=1000", "--ServerApp.log_level=ERROR",
)  # fmt: skip
_ALONE, _TOGETHER, _ROUNDS, _EACH = 60, 100, 2, 4
_STREAM_S, _GAP_S = 2.0, 0.05
_SOCKETS, _PER_S = 200, 20
_SECONDS = float(os.environ.get("CHAT_SERVER_SECONDS", "120"))
_WARM_S, _SAMPLE_S, _WARM_UP_S = 20.0, 2.0, 5.0
_MB = 1e6
_TOKEN_TEXT = "token "


@contextmanager
def _model_server(*options: str):
    command = [sys.executable, "-m", "benchmarks.stamped_server", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@contextmanager
def _servers(*options: str):
    """Yield the address of a model server, and a chat server in front of it."""
    with _model_server(*options) as base_url, ChatServerProcess(SimpleNamespace(base_url=base_url), *_OPTIONS) as chat:
        yield base_url, chat


async def _first_token_s(session: aiohttp.ClientSession, base_url: str, prompt: str) -> float:
    body = {"model": "lab/tiny", "messages": [{"role": "user", "content": prompt}], "stream": True}
    begun = time.perf_counter()
    first = None
    async with session.post(f"{base_url}/chat/completions", json=body, headers=_TOKEN) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            if first is None and b'"content":"token' in line.replace(b'": "', b'":"'):
                first = time.perf_counter() - begun
    assert first is not None, "no token came"
    return first


async def _in_flight(session: aiohttp.ClientSession, url: str) -> list[float]:
    """Keep 100 streams going, begun one after the other; return the times of all but the first of each."""

    async def one_after_another(place: int) -> list[float]:
        await asyncio.sleep(_STREAM_S * place / _TOGETHER)
        times = [await _first_token_s(session, url, f"{place}-{n}") for n in range(_EACH)]
        return times[1:]

    found = await asyncio.gather(*map(one_after_another, range(_TOGETHER)))
    return [time_s for times in found for time_s in times]


async def _added_alone_ms(direct: str, through: str) -> tuple[float, float]:
    """Return the median time that the server adds to one stream, and how much longer its very first one takes."""
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(_WARM_UP_S)  # the server has just begun to listen
        very_first = await _first_token_s(session, through, "first")
        times: dict[str, list[float]] = {direct: [], through: []}
        for n in range(_ALONE):
            for url in (direct, through):
                times[url].append(await _first_token_s(session, url, f"{n}"))
    usual = median(times[through])
    return 1e3 * (usual - median(times[direct])), 1e3 * (very_first - usual)


async def _added_in_flight_ms(direct: str, through: str) -> float:
    """Return the median time that the server adds to each of 100 streams that run at a time."""
    times: dict[str, list[float]] = {direct: [], through: []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for _ in range(_ROUNDS):
            for url in (direct, through):
                times[url] += await _in_flight(session, url)
    return 1e3 * (median(times[through]) - median(times[direct]))


@dataclass(frozen=True)
class _Load:
    """What 200 sockets took; ``grown_mb`` is from the first quarter of the samples to the last."""

    lost: int
    grown_mb: float
    rss_mb: float
    cpu_percent: float
    late_ms: float


async def _listen(session: aiohttp.ClientSession, url: str, expected: str, late: list[float]) -> int:
    """Ask one question over a socket; return how many chunks are missing, or come twice."""
    async with session.ws_connect(f"{url}/ipyllm/ws?token={TOKENS['ana']}", max_msg_size=0) as socket:
        await socket.send_json({"type": "ask", "id": "q", "message": "Count", "model": "lab/tiny"})
        pieces, at, before = [], 0, None
        async for frame in socket:
            now = time.perf_counter()
            for line in frame.data.split("\n"):
                message = json.loads(line)
                if message["type"] == "text":
                    pieces.append(message["text"])
                    at += len(message["text"])
                    assert message["at"] == at, "a piece is missing, or came twice"
                    if before is not None:
                        late.append(now - before - 1 / _PER_S)
                    before = now
                elif message["type"] == "done":
                    assert message["status"] == "ok", message
                    text = "".join(pieces)
                    return abs(expected.count(" ") - text.count(" ")) + (text != expected)
                elif message["type"] == "error":
                    return expected.count(" ")
    return expected.count(" ")  # it was closed


async def _watch(process: psutil.Process, samples: list[int]) -> None:
    await asyncio.sleep(min(_WARM_S, _SECONDS / 4))
    while True:
        samples.append(process.memory_info().rss)
        await asyncio.sleep(_SAMPLE_S)


async def _load(url: str, process: psutil.Process, chunks: int) -> _Load:
    samples: list[int] = []
    late: list[float] = []
    expected = _TOKEN_TEXT * chunks
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        watching = asyncio.create_task(_watch(process, samples))
        before, begun = sum(process.cpu_times()[:2]), time.perf_counter()
        lost = await asyncio.gather(*[_listen(session, url, expected, late) for _ in range(_SOCKETS)])
        cpu = (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - begun)
        watching.cancel()
    quarter = max(1, len(samples) // 4)
    grown = median(samples[-quarter:]) - median(samples[:quarter])
    late.sort()
    return _Load(sum(lost), grown / _MB, samples[-1] / _MB, 100 * cpu, 1e3 * late[int(0.99 * len(late))])


def measure() -> list[Claim]:
    with _servers("--ttft", "0.05", "--gap", "0.01", "--chunks", "8") as (base_url, chat):
        one, first = asyncio.run(_added_alone_ms(base_url, f"{chat.url}/ipyllm/v1"))
    with _servers("--ttft", "0.05", "--gap", str(_GAP_S), "--chunks", str(round(_STREAM_S / _GAP_S))) as (
        base_url,
        chat,
    ):
        hundred = asyncio.run(_added_in_flight_ms(base_url, f"{chat.url}/ipyllm/v1"))
    chunks = round(_SECONDS * _PER_S)
    with _servers("--ttft", "1", "--gap", str(1 / _PER_S), "--chunks", str(chunks)) as (_, chat):
        load, again = (asyncio.run(_load(chat.url, psutil.Process(chat.process.pid), chunks)) for _ in range(2))
    text_mb = _SOCKETS * len(_TOKEN_TEXT) * chunks / _MB
    what = f"{_SOCKETS} sockets, {_PER_S} chunks/s, {_SECONDS:.0f} s"
    told = f"the answers are {text_mb:.1f} MB; RSS {load.rss_mb:.0f} MB, p99 of a chunk's delay {load.late_ms:.0f} ms"
    return [
        Claim("chat server: added time to first token, 1 stream", one, 3, "ms", "median, against the model server"),
        Claim("… 100 streams in flight", hundred, 15, "ms", "median, against the model server"),
        Claim("… the first request of a server", first, 100, "ms", "more than later ones"),
        Claim(f"{what}, twice: lost chunks", load.lost + again.lost, 0, "chunks"),
        Claim("… memory grows with the answers", load.grown_mb, 10, "MB", told),
        Claim("… memory at the end of the second round, more than of the first", again.rss_mb - load.rss_mb, 5, "MB"),
        Claim("… CPU of the server", load.cpu_percent, 100, "% of a core"),
    ]
