"""How the fake server cuts a stream into lines and segments, and when it sends them."""

import asyncio
import zlib
from contextlib import closing

import pytest

from tests import fakes
from tests.fakes import answer, render
from tests.fakes.connection import Connection
from tests.fakes.raw_client import ask, chunks, client_of, connect, create, exchange, read_to_end, text_of


def test_split_utf8_ends_a_read_inside_a_character(fake, monkeypatch):
    monkeypatch.setattr(render, "_SPLIT_PAUSE_S", 100)
    fake.default = fakes.split_utf8(answer("ß🙂", chunks=2))
    with closing(connect(fake)) as connection:
        ask(connection)
        for first_half in (b"\xc3\r\n", b"\xf0\r\n"):
            received = b""
            while not received.endswith(first_half):
                received += connection.recv(1 << 16) or pytest.fail("there is no such half")
            fake.send_next()
        assert b"[DONE]" in read_to_end(connection)
    monkeypatch.setattr(render, "_SPLIT_PAUSE_S", 0.005)
    fake.reply(fakes.split_utf8(answer("ß🙂", chunks=2)))
    assert text_of(chunks(fake)) == "ß🙂"
    assert len(fake.requests[0].sent_ns) == 2


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_lines_may_end_otherwise(fake, newline):
    fake.default = fakes.crlf("one two", newline)
    body = exchange(fake)[2].decode()
    assert body.endswith(f"data: [DONE]{newline}{newline}")
    assert body.count(newline * 2) == 6
    assert "\n" not in body.replace(newline, "")


def test_tight_lines_have_no_space(fake):
    fake.default = fakes.tight("one")
    body = exchange(fake)[2]
    assert b'data:{"id"' in body
    assert body.endswith(b"data:[DONE]\n\n")


def test_pings_are_comments_between_events(fake):
    fake.default = fakes.pings(answer("one two", ttft=0.1), comment=": hold on", every=0.03)
    body = exchange(fake)[2].decode()
    assert body.count(": hold on\n\n") == 3 + 6
    with client_of(fake) as client:
        assert len(list(create(client, stream=True))) == 4


def test_one_segment_holds_all_events(fake):
    fake.default = fakes.one_segment(answer("one two three", ttft=0.02, gap=0.02))
    with closing(connect(fake)) as connection:
        ask(connection)
        assert connection.recv(1 << 16).endswith(b"\r\n\r\n")
        events = connection.recv(1 << 16)
    assert b'"role"' in events
    assert b"[DONE]" in events


def test_coalescing_can_be_switched_off(fake):
    fake.default = answer("x" * 50, chunks=50, coalesce=False)
    chunks(fake)
    assert len(set(fake.requests[0].sent_ns)) == 50


def test_a_huge_chunk_arrives_whole(fake):
    fake.default = fakes.huge(3_000_001)
    assert len(text_of(chunks(fake))) == 3_000_001
    assert len(fake.requests[0].sent_ns) == 1


def test_gzipped_streams_can_be_read_event_by_event(fake):
    fake.reply(*[fakes.gzipped("one two")] * 2, fakes.gzipped(answer("one two", gap=100)), fakes.gzipped("one"))
    _, headers, body, complete = exchange(fake)
    assert headers["content-encoding"] == "gzip"
    assert complete
    unzip = zlib.decompressobj(wbits=31)
    assert b"[DONE]" in unzip.decompress(body)
    assert unzip.eof
    with client_of(fake) as client:
        assert create(client).choices[0].message.content == "one two"
        stream = create(client, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "one"]
        fake.send_next()
        assert [chunk.choices[0].delta.content for chunk in stream] == [" two", None]
        assert create(client).choices[0].message.content == "one"


class LateLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while it runs, and jumps to 3 ms after the next timer where it would wait."""

    def __init__(self):
        super().__init__()
        self._now = 0.0

    def time(self):
        return self._now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when() + 0.003)
        super()._run_once()


class Written:
    """A transport that remembers when each chunk was written."""

    def __init__(self, loop):
        self._loop, self.at = loop, []

    def is_closing(self):
        return False

    def write(self, data):
        self.at += [self._loop.time()] * data.count(b"data: ")

    def close(self):
        self._loop.stop()


def test_pace_does_not_drift():
    loop = LateLoop()
    plan = render.render(answer("x" * 100, chunks=100, ttft=0.05, gap=0.005), render.RenderOptions("m", True, False))
    transport = Written(loop)

    def ask_on_the_loop():
        connection = Connection(lambda request: plan, lambda request: None, set())
        connection.connection_made(transport)
        connection.data_received(b"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\n\r\n")

    loop.call_soon(ask_on_the_loop)
    loop.run_forever()
    loop.close()
    late = [at - 0.05 - k * 0.005 for k, at in enumerate(transport.at[1:101])]
    assert len(late) == 100
    assert max(late) < 0.0031, "each chunk is as late as the clock, and no later for those before it"
    assert min(late) > -1e-5


def test_a_role_chunk_comes_before_the_first_token_and_a_tail_after_the_last(fake):
    fake.default = answer("one", ttft=100, tail=100)
    with client_of(fake) as client:
        stream = create(client, stream=True)
        assert next(stream).choices[0].delta.role == "assistant"
        assert fake.requests[0].sent_ns == []
        fake.send_next()
        assert next(stream).choices[0].delta.content == "one"
        assert fake.requests[0].finished_ns is None
        fake.send_next()
        assert [chunk.choices[0].finish_reason for chunk in stream] == ["stop"]


def test_a_burst_of_2000_chunks_is_one_write(fake):
    fake.default = answer("hello" * 2000, chunks=2000)
    exchange(fake)
    assert len(fake.requests[0].sent_ns) == 2000
    assert len(set(fake.requests[0].sent_ns)) == 1
