"""The fake server: what it records, many connections at once, its start and its end."""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path

import aiohttp
import openai
import psutil
import pytest

from tests import fakes
from tests.fakes import FakeLLM, answer, refusals
from tests.fakes.raw_client import (
    CHAT,
    ask,
    connect,
    create,
    exchange,
    post,
    read_to_end,
    stream_lines,
)

ROOT = Path(__file__).parents[2]


def test_records_tell_what_was_asked_and_in_which_order(fake):
    with closing(connect(fake)) as connection:
        ask(connection, path=CHAT + "?api-version=1", close=False)
        ask(connection, close=True, temperature=0.5)  # pipelined: answered in turn
        read_to_end(connection)
    first, second = fake.requests
    assert (first.method, first.path, first.query) == ("POST", CHAT, "api-version=1")
    assert first.headers["authorization"] == "Bearer sk-test"
    assert second.json["temperature"] == 0.5
    assert first.arrived_ns <= first.sent_ns[0] <= first.finished_ns <= second.arrived_ns
    assert not first.closed_by_client


def test_a_body_may_arrive_in_pieces(fake):
    with closing(connect(fake)) as connection:
        for part in (b"POST /v1/chat/comp", b"letions HTTP/1.1\r\nContent-Len", b"gth: 2\r\n\r\n{", b"}"):
            connection.sendall(part)
            time.sleep(0.01)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_cancelling_a_task_closes_the_connection_and_is_recorded(fake):
    fake.default = answer("one two three", gap=100)

    async def run():
        async with openai.AsyncOpenAI(
            base_url=fake.base_url, api_key="k", http_client=openai.DefaultAioHttpClient()
        ) as client:

            async def read():
                async for _ in await create(client, stream=True):
                    pass

            task = asyncio.create_task(read())
            await asyncio.to_thread(fake.wait_for, lambda: fake.requests and fake.requests[0].sent_ns)
            assert fake.requests[0].closed_at_ns is None
            task.cancel()
            await asyncio.to_thread(fake.wait_for, lambda: fake.requests[0].closed_by_client)

    asyncio.run(run())
    assert fake.requests[0].closed_at_ns is not None


def test_skip_pauses_sends_the_rest_of_running_replies_that_have_an_end(fake):
    fake.reply(answer("one two three", gap=100), fakes.drip("word ", every=0.05))

    async def run():
        async with aiohttp.ClientSession() as session, post(fake, session) as slow, post(fake, session) as endless:
            await asyncio.to_thread(fake.wait_for, lambda: all(r.sent_ns for r in fake.requests))
            fake.skip_pauses()
            body = await asyncio.wait_for(slow.read(), 60)  # with its pauses it takes 200 s
            sent = len(fake.requests[1].sent_ns)
            await asyncio.to_thread(fake.wait_for, lambda: len(fake.requests[1].sent_ns) > sent)
            endless.close()
            return body

    body = asyncio.run(run())
    assert body.endswith(b"data: [DONE]\n\n")
    assert b"three" in body
    endless = fake.requests[1]
    assert all(at - endless.arrived_ns > k * 0.05e9 - 0.01e6 for k, at in enumerate(endless.sent_ns))
    fake.default = answer("one two", gap=0.2)
    began = time.monotonic()
    stream_lines(fake)
    assert time.monotonic() - began >= 0.2, "replies that begin later have their pauses"


def test_wait_for_says_what_it_saw(fake):
    exchange(fake)
    with pytest.raises(TimeoutError, match=r"1 requests, 0 open"):
        fake.wait_for(lambda: False, timeout=0.01)
    fake.clear()
    assert fake.requests == []


def stream_all(fake, n):
    """Return statuses and texts of `n` concurrent streams, which go on when all have been asked for."""

    async def one(session):
        async with post(fake, session) as response:
            return response.status, await response.read()

    async def run():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            streams = asyncio.gather(*(one(session) for _ in range(n)))
            await asyncio.to_thread(fake.wait_for, lambda: len(fake.requests) == n)
            fake.skip_pauses()
            return await streams

    return asyncio.run(run())


def test_500_streams_at_once(fake):
    fake.default = answer("x" * 32, chunks=32, ttft=100, gap=0.02)
    results = stream_all(fake, 500)
    assert {status for status, _ in results} == {200}
    assert all(body.endswith(b"data: [DONE]\n\n") for _, body in results)
    assert fake.max_in_flight == 500
    assert all(len(r.sent_ns) == 32 for r in fake.requests)


def test_what_is_held_is_released_when_its_test_fails_first(fake):
    with pytest.raises(ValueError, match="the test's own"), fake.held_until(2):
        raise ValueError("the test's own")
    assert exchange(fake)[0] == 200


def test_too_few_requests_for_what_is_held_are_told(fake, monkeypatch):
    monkeypatch.setattr(fake, "wait_for", partial(fake.wait_for, timeout=0.1))
    with pytest.raises(TimeoutError, match="1 requests, 1 open"), fake.held_until(2):
        assert [exchange(fake)[0] for _ in range(2)] == [200, 200]


def test_admit_rejects_what_is_above_the_limit(fake):
    fake.default = answer("one", ttft=100)
    fake.admit(5, fakes.rate_limited(1))
    statuses = sorted(status for status, _ in stream_all(fake, 20))
    assert statuses == [200] * 5 + [429] * 15
    assert fake.max_in_flight == 5
    assert sum(r.admitted for r in fake.requests) == 5
    fake.wait_for(lambda: fake.in_flight == 0)
    fake.admit(None)
    fake.default = answer("one")
    assert exchange(fake)[0] == 200


def test_nothing_is_left_over():
    process = psutil.Process()
    gc.collect()
    before = threading.active_count(), process.num_fds()
    for _ in range(5):
        with FakeLLM() as fake:
            fake.default = fakes.stall()
            open_connections = [connect(fake) for _ in range(20)]
            for connection in open_connections[:15]:
                ask(connection)
            fake.wait_for(lambda fake=fake: fake.in_flight == 15)
            open_connections += [connect(fake) for _ in range(20)]  # perhaps not accepted yet
        for connection in open_connections:
            connection.close()
        assert not any(r.closed_by_client for r in fake.requests)
    gc.collect()
    assert threading.active_count() <= before[0]
    assert process.num_fds() <= before[1]


def test_a_port_in_use_is_an_error_and_not_a_hang(fake):
    port = int(fake.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        FakeLLM(port=port).start()


def test_start_and_close_may_be_repeated():
    fake = FakeLLM()
    assert fake.start().start() is fake
    fake.close()
    fake.close()


def test_it_runs_in_a_process_of_its_own():
    options = ["--markdown", "5000", "--chunks", "100", "--ttft", "0.01", "--model", "m"]
    command = [sys.executable, "-m", "tests.fakes", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            described = json.loads(process.stdout.readline())
            with openai.OpenAI(base_url=described["base_url"], api_key="k") as client:
                asked_ns = time.perf_counter_ns()
                said = [c.choices[0].delta.content or "" for c in create(client, stream=True) if c.choices]
            assert len("".join(said)) == 5000
            with urllib.request.urlopen(described["url"] + "/_fake/requests") as response:
                [record] = json.load(response)
            assert asked_ns < record["arrived_ns"] < record["sent_ns"][0] < time.perf_counter_ns()
        finally:
            process.terminate()
        assert process.wait(60) == 0


def test_every_public_name_exists():
    assert all(hasattr(fakes, name) for name in fakes.__all__)
    assert refusals.__all__ == sorted(refusals.__all__)
