"""Faults of the fake server: replies that end early, hang, or are not what the protocol asks for."""

import json
from contextlib import closing

import openai
import pytest

from tests import fakes
from tests.fakes.raw_client import ask, chunks, client_of, connect, create, exchange, stream_lines, text_of


@pytest.mark.parametrize("framing", ["close", "chunked"])
def test_a_truncated_stream_has_no_end(fake, framing):
    fake.default = fakes.truncated("one two three", after=2, framing=framing)
    _, _, body, complete = exchange(fake, close=False)
    assert body.endswith(b"\n\n")
    assert b" two" in body
    assert b"three" not in body
    assert b"[DONE]" not in body
    assert complete is (framing == "close")
    assert not fake.requests[0].closed_by_client


def test_truncation_passes_for_success_unless_http_itself_is_cut(fake):
    fake.reply(fakes.truncated("one two three"), fakes.truncated("one two three", framing="chunked"))
    with client_of(fake) as client:
        assert len(list(create(client, stream=True))) == 3
        with pytest.raises(openai.APIConnectionError):
            list(create(client, stream=True))


def test_a_truncated_body_is_shorter_than_announced(fake):
    fake.default = fakes.truncated("one two three")
    assert not exchange(fake, stream=False)[3]


def test_half_line_ends_inside_a_line(fake):
    fake.default = fakes.half_line("one two three", after=1)
    body = exchange(fake)[2]
    assert body.count(b"\n\n") == 2
    assert body.rsplit(b"\n\n", 1)[1].startswith(b'data: {"id"')


def test_reset_is_an_rst_after_the_chunks_arrived(fake):
    fake.default = fakes.reset("one two three", after=1)
    with closing(connect(fake)) as connection:
        ask(connection)
        received = []
        with pytest.raises(ConnectionResetError):
            received.extend(iter(lambda: connection.recv(1 << 16), b""))
    assert b'"one"' in b"".join(received)
    assert b"two" not in b"".join(received)


@pytest.mark.parametrize(("how", "outcome"), [("fin", b""), ("rst", ConnectionResetError)])
def test_refuse_closes_without_a_word(fake, how, outcome):
    fake.default = fakes.refuse(how)
    with closing(connect(fake)) as connection:
        ask(connection)
        if outcome == b"":
            assert connection.recv(1) == b""
        else:
            with pytest.raises(outcome):
                connection.recv(1)
    assert fake.requests[0].status is None


@pytest.mark.parametrize(("script", "sends_token"), [(fakes.stall("one two", 1), True), (fakes.never_answers(), False)])
def test_a_hang_lasts_until_the_client_leaves(fake, script, sends_token):
    fake.default = script
    with closing(connect(fake)) as connection:
        ask(connection)
        received = b""
        while sends_token and b'"one"' not in received:
            received += connection.recv(1 << 16)
        assert b"two" not in received
        fake.wait_for(lambda: fake.requests)
        fake.send_next()  # there is nothing else to send
        assert fake.in_flight == 1
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    request = fake.requests[0]
    fake.wait_for(lambda: request.closed_by_client)
    assert request.finished_ns is None
    assert fake.in_flight == 0


def test_drip_outlives_a_client_that_has_no_deadline(fake):
    fake.default = fakes.drip(every=0.02)
    with closing(connect(fake)) as connection:
        ask(connection)
        fake.wait_for(lambda: fake.requests and len(fake.requests[0].sent_ns) >= 10)
    fake.wait_for(lambda: fake.requests[0].closed_by_client)
    sent = fake.requests[0].sent_ns
    assert all(at - fake.requests[0].arrived_ns > k * 0.02e9 - 0.01e6 for k, at in enumerate(sent))


def test_slow_headers_come_after_the_status_line(fake):
    fake.default = fakes.slow_headers("one", seconds=100)
    with closing(connect(fake)) as connection:
        ask(connection)
        assert connection.recv(100) == b"HTTP/1.1 200 OK\r\n"
        fake.send_next()
        assert b"content-type" in connection.recv(1 << 16)


def test_malformed_json_in_a_stream_and_in_a_body(fake):
    fake.default = fakes.malformed("one two three", after=1)
    lines = stream_lines(fake)
    for k in (0, 1, 3, 4):
        json.loads(lines[k])
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[2])
    _, headers, body, complete = exchange(fake, stream=False)
    assert complete
    assert headers["content-type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_an_error_inside_a_stream_has_a_code(fake):
    fake.default = fakes.error_in_stream("one two three", after=1, code=502)
    lines = stream_lines(fake)
    assert text_of(json.loads(line) for line in lines) == "one"
    assert json.loads(lines[-1])["error"]["code"] == 502
    with client_of(fake) as client, pytest.raises(openai.APIError, match="Upstream"):
        list(create(client, stream=True))
    assert json.loads(exchange(fake, stream=False)[2])["error"]["code"] == 502


def test_an_error_event_passes_for_a_chunk_without_choices(fake):
    fake.default = fakes.error_event("one two", after=1)
    assert b'\n\nevent: error\ndata: {"code"' in exchange(fake)[2]
    with client_of(fake) as client:
        assert list(create(client, stream=True))[-1].choices is None


@pytest.mark.parametrize("how", ["choices missing", "choices null", "choices empty", "delta missing", "delta null"])
def test_odd_chunks_stand_between_good_ones(fake, how):
    fake.default = fakes.odd_chunks("one two", how)
    found = chunks(fake)
    assert text_of(found) == "one two"
    what, state = how.split()
    owners = found if what == "choices" else [c["choices"][0] for c in found if c["choices"]]
    odd = [o for o in owners if not o.get(what) and (what == "delta" or "usage" not in o or not o["usage"])]
    assert all((what in o) is (state != "missing") for o in odd)
    assert len(odd) == (3 if what == "delta" else 2)  # "delta": also the finish chunk


def test_a_server_may_ignore_stream(fake):
    fake.default = fakes.ignores_stream("one two")
    _, headers, body, _ = exchange(fake)
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["choices"][0]["message"]["content"] == "one two"


def test_faults_combine(fake):
    fake.default = fakes.crlf(fakes.truncated(fakes.pings("one two three"), after=2))
    body = exchange(fake)[2]
    assert body.count(b": ping\r\n\r\n") == 3
    assert b"three" not in body


def test_a_fault_behind_the_last_chunk_is_refused():
    with pytest.raises(ValueError, match="cannot stop after 3"):
        fakes.reset("one two", after=3)
