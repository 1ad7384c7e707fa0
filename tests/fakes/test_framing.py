"""How the fake server cuts a stream into lines and segments, and when it sends them."""

import time
import zlib
from contextlib import closing

import pytest

from tests import fakes
from tests.fakes import answer, render
from tests.fakes.raw_client import ask, chunks, client_of, connect, create, exchange, text_of


def test_split_utf8_ends_a_read_inside_a_character(fake, monkeypatch):
    monkeypatch.setattr(render, "_SPLIT_PAUSE_S", 0.1)  # this reader may be slow to wake on a busy machine
    fake.default = fakes.split_utf8(answer("ß🙂", chunks=2, gap=0.2))
    broken, received = 0, b""
    with closing(connect(fake)) as connection:
        ask(connection)
        while b"[DONE]" not in received:
            part = connection.recv(1 << 16)
            received += part
            broken += part.endswith((b"\xc3\r\n", b"\xf0\r\n"))
    assert broken == 2
    fake.reply(fake.default)
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
    fake.reply(*[fakes.gzipped(answer("one two", gap=0.1))] * 3, fakes.gzipped("one"))
    _, headers, body, complete = exchange(fake)
    assert headers["content-encoding"] == "gzip"
    assert complete
    unzip = zlib.decompressobj(wbits=31)
    assert b"[DONE]" in unzip.decompress(body)
    assert unzip.eof
    with client_of(fake) as client:
        arrivals = [(time.perf_counter(), c) for c in create(client, stream=True)]
        assert arrivals[2][0] - arrivals[1][0] > 0.025
        create(client)
        assert create(client).choices[0].message.content == "one"


def test_pace_does_not_drift(fake):
    fake.default = answer("x" * 100, chunks=100, ttft=0.05, gap=0.005)
    chunks(fake)
    request = fake.requests[0]
    lateness = [(sent - request.arrived_ns) / 1e9 - 0.05 - k * 0.005 for k, sent in enumerate(request.sent_ns)]
    assert min(lateness) > -0.001
    assert sorted(lateness)[50] < 0.02
    assert sorted(lateness[-20:])[10] < 0.03  # a millisecond lost at each chunk would make it 0.1


def test_a_role_chunk_comes_before_the_first_token_and_a_tail_after_the_last(fake):
    fake.default = answer("one", ttft=0.1, tail=0.1)
    with client_of(fake) as client:
        start = time.perf_counter()
        times = [time.perf_counter() - start for _ in create(client, stream=True)]
    role, token, finish = times
    assert token - role > 0.03
    assert finish - token > 0.03


def test_a_burst_of_2000_chunks_takes_milliseconds(fake):
    fake.default = answer("hello" * 2000, chunks=2000)
    exchange(fake)
    exchange(fake)
    assert len(fake.requests[1].sent_ns) == 2000
    assert fake.requests[1].finished_ns - fake.requests[1].arrived_ns < 50e6
