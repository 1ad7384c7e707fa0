"""The fake server sends what its scripts say, as seen by raw sockets, the openai client and aiohttp."""

import asyncio
import email.utils
import gc
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import openai
import psutil
import pytest

from tests import fakes
from tests.fakes import FakeLLM, answer, refusals, render

CHAT = "/v1/chat/completions"
ROOT = Path(__file__).parents[2]


def connect(fake):
    port = int(fake.url.rsplit(":", 1)[1])
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, *, method="POST", path=CHAT, stream=True, close=True, **body):
    """Send one request by hand."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    if stream:
        asked["stream_options"] = {"include_usage": True}
    data = json.dumps(asked | body).encode() if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\n"
    head += f"Content-Length: {len(data)}\r\n" + ("Connection: close\r\n" if close else "")
    connection.sendall(head.encode() + b"\r\n" + data)


def read_to_end(connection):
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def exchange(fake, **options):
    """Make one request on one connection: (status, headers, decoded body, whether it was complete)."""
    with closing(connect(fake)) as connection:
        ask(connection, **options)
        head, _, rest = read_to_end(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", len(rest)))
        return int(first.split()[1]), headers, rest, len(rest) == length
    body, complete = b"", False
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest, complete = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :], int(size, 16) == 0
    return int(first.split()[1]), headers, body, complete


def stream_lines(fake, **options):
    """Return the data lines of a streamed reply."""
    return [line[6:] for line in exchange(fake, **options)[2].decode().split("\n") if line.startswith("data: ")]


def chunks(fake, **options):
    return [json.loads(line) for line in stream_lines(fake, **options) if line != "[DONE]"]


def text_of(found):
    return "".join((c["choices"][0].get("delta") or {}).get("content") or "" for c in found if c.get("choices"))


def client_of(fake, **options):
    return openai.OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0, timeout=5, **options)


def create(client, **options):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **options)


def post(fake, session):
    """Ask for a stream with aiohttp."""
    return session.post(f"{fake.base_url}/chat/completions", json={"model": "m", "stream": True, "messages": []})


# Honest answers


def test_a_stream_is_what_openai_sends(fake):
    fake.default = answer("one two three")
    lines = stream_lines(fake)
    role, *tokens, finish, usage = [json.loads(line) for line in lines[:-1]]
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [t["choices"][0]["delta"]["content"] for t in tokens] == ["one", " two", " three"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3
    assert usage["model"] == "m"
    assert lines[-1] == "[DONE]"


def test_the_openai_client_reads_streams_and_completions(fake):
    fake.default = answer("one two", reasoning="let me think", tool_calls=[("square", {"x": 3})])
    with client_of(fake) as client:
        whole = create(client)
        deltas = [c.choices[0].delta for c in create(client, stream=True) if c.choices]
    message = whole.choices[0].message
    assert message.content == "one two" == "".join(d.content or "" for d in deltas)
    assert message.reasoning_content == "let me think"
    assert "".join(getattr(d, "reasoning_content", "") for d in deltas) == "let me think"
    calls = [call for d in deltas for call in d.tool_calls or ()]
    assert message.tool_calls[0].function.name == "square" == calls[0].function.name
    assert json.loads("".join(c.function.arguments for c in calls)) == {"x": 3}
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage.completion_tokens_details.reasoning_tokens == 3
    assert not any(r.closed_by_client for r in fake.requests)


def test_chunks_can_be_counted_or_given(fake):
    fake.reply(answer("abcdefg", chunks=3), answer(chunks=["a", "", "b"]))
    assert text_of(chunks(fake)) == "abcdefg"
    assert len(fake.requests[0].sent_ns) == 3
    assert text_of(chunks(fake)) == "ab"
    assert len(fake.requests[1].sent_ns) == 3
    with pytest.raises(ValueError, match="cannot be cut into 9"):
        answer("abc", chunks=9)


@pytest.mark.parametrize("script", [answer(" \n"), answer("a  b\n\nc\n"), answer(" x ")])
def test_words_keep_all_white_space(script):
    assert "".join(d["content"] for d in script.deltas) == script.message["content"]


def test_parts_of_the_protocol_can_be_left_out(fake):
    fake.default = answer("a", usage=False, finish_reason=None, done=False, role_chunk=False)
    assert [c["choices"][0]["delta"] for c in chunks(fake)] == [{"content": "a"}]
    fake.default = answer("a", finish_reason=None)
    assert stream_lines(fake)[-1] == "[DONE]"


def test_usage_comes_only_if_asked_unless_told_otherwise(fake):
    assert not any("usage" in c for c in chunks(fake, stream_options=None))
    fake.default = answer("a", usage={"total_tokens": 7}, usage_unasked=True)
    assert chunks(fake, stream_options=None)[-1]["usage"] == {"total_tokens": 7}


def test_deepseek_counts_its_cache_in_the_finish_chunk(fake):
    fake.default = fakes.deepseek("a b", hit=6, miss=4)
    last = chunks(fake, stream_options=None)[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["prompt_cache_hit_tokens"] == 6
    assert last["usage"]["prompt_tokens"] == 10


# Who gets which reply


def test_decisions_come_before_the_queue_and_the_queue_before_the_default(fake):
    fake.default = answer("default")
    fake.reply(fakes.unavailable(), answer("queued"))
    fake.on(lambda request: answer("decided") if request.prompt == "choose" else None)
    assert text_of(chunks(fake, messages=[{"role": "user", "content": "choose"}])) == "decided"
    assert exchange(fake)[0] == 503
    assert text_of(chunks(fake)) == "queued"
    assert text_of(chunks(fake)) == "default"


def test_an_error_in_a_decision_is_raised_when_the_fake_is_left():
    with pytest.raises(ZeroDivisionError), FakeLLM() as fake:  # noqa: PT012
        fake.on(lambda _: 1 / 0)
        assert exchange(fake)[0] == 500


def test_a_wrong_key_is_half_echoed_as_openai_does():
    with FakeLLM(api_key="right") as fake, client_of(fake) as client:
        with pytest.raises(openai.AuthenticationError, match=r"provided: sk-test\*+test") as caught:
            create(client)
        assert caught.value.code == "invalid_api_key"
        with client.with_options(api_key="right") as right:
            assert create(right).choices


def test_an_unknown_model_is_not_found():
    with FakeLLM(models=["tiny"]) as fake, client_of(fake) as client:
        with pytest.raises(openai.NotFoundError, match="`m` does not exist") as caught:
            create(client)
        assert caught.value.code == "model_not_found"
        assert [m.id for m in client.models.list()] == ["tiny"]


def test_other_paths_are_served(fake):
    def get(path):
        code, _, body, _ = exchange(fake, method="GET", path=path)
        return code, body

    assert json.loads(get("/api/tags")[1])["models"][0]["name"] == "fake-model"
    assert "version" in json.loads(get("/api/version?x=1")[1])
    assert get("/") == (200, b"Ollama is running")
    assert get("/v1/nothing")[0] == 404
    fake.serve("/api/pull", fakes.status(200, "pulled"))
    assert get("/api/pull") == (200, b"pulled")
    assert fake.max_in_flight == 0


# Refusals


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (fakes.rate_limited(), 429, "rate_limit_exceeded"),
        (fakes.insufficient_quota(), 429, "insufficient_quota"),
        (fakes.insufficient_balance(), 402, "invalid_request_error"),
        (fakes.context_length_exceeded(), 400, "context_length_exceeded"),
        (fakes.prompt_filtered(), 400, "content_filter"),
        (fakes.bad_json(), 400, None),
        (fakes.unauthorized(), 401, "invalid_api_key"),
        (fakes.unauthorized(None), 401, None),
        (fakes.forbidden(), 403, "unsupported_country_region_territory"),
        (fakes.model_not_found(), 404, "model_not_found"),
        (fakes.server_error(), 500, None),
        (fakes.unavailable(), 503, "overloaded"),
    ],
)
def test_refusals_carry_their_status_and_code(fake, script, status, code):
    fake.default = script
    with client_of(fake) as client, pytest.raises(openai.APIStatusError) as caught:
        create(client, stream=True)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert fake.requests[0].status == status


def test_retry_after_is_seconds_or_a_date(fake):
    fake.reply(fakes.rate_limited(1.5), fakes.rate_limited(timedelta(seconds=30)))
    assert exchange(fake)[1]["retry-after"] == "1.5"
    date = email.utils.parsedate_to_datetime(exchange(fake)[1]["retry-after"])
    assert 20 < (date - datetime.now(UTC)).total_seconds() <= 30


def test_html_comes_with_any_status(fake):
    fake.reply(fakes.html(), fakes.html(502))
    for status in (200, 502):
        code, headers, body, _ = exchange(fake)
        assert (code, headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert body.startswith(b"<html>")


def test_redirects_are_followed_to_the_answer(fake):
    fake.reply(fakes.redirect(fake.base_url + "/chat/completions"), answer("here"))
    with client_of(fake, http_client=openai.DefaultHttpxClient(follow_redirects=True)) as client:
        assert create(client).choices[0].message.content == "here"
    assert [r.status for r in fake.requests] == [307, 200]


def test_content_filter_ends_an_answer(fake):
    fake.default = fakes.content_filter()
    assert chunks(fake)[-2]["choices"][0]["finish_reason"] == "content_filter"


# Streams that break


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
        fake.wait_for(lambda: fake.requests)
        time.sleep(0.1)
        assert fake.in_flight == 1
        connection.setblocking(False)
        if sends_token:
            received = connection.recv(1 << 16)
            assert b'"one"' in received
            assert b"two" not in received
        else:
            with pytest.raises(BlockingIOError):
                connection.recv(1)
        left_ns = time.perf_counter_ns()
    request = fake.requests[0]
    fake.wait_for(lambda: request.closed_by_client)
    assert 0 <= request.closed_at_ns - left_ns < 1e9
    assert request.finished_ns is None
    assert fake.in_flight == 0


def test_drip_outlives_a_client_that_has_no_deadline(fake):
    fake.default = fakes.drip(every=0.02)
    with closing(connect(fake)) as connection:
        ask(connection)
        fake.wait_for(lambda: fake.requests and len(fake.requests[0].sent_ns) >= 10)
    fake.wait_for(lambda: fake.requests[0].closed_by_client)
    sent = fake.requests[0].sent_ns
    assert 0.17e9 < sent[9] - sent[0] < 0.5e9


def test_slow_headers_come_after_the_status_line(fake):
    fake.default = fakes.slow_headers("one", seconds=0.1)
    with closing(connect(fake)) as connection:
        start = time.perf_counter()
        ask(connection)
        assert connection.recv(100) == b"HTTP/1.1 200 OK\r\n"
        assert b"content-type" in connection.recv(1 << 16)
        assert time.perf_counter() - start >= 0.09


# Streams that lie


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


# Streams oddly written


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


def test_faults_combine(fake):
    fake.default = fakes.crlf(fakes.truncated(fakes.pings("one two three"), after=2))
    body = exchange(fake)[2]
    assert body.count(b": ping\r\n\r\n") == 3
    assert b"three" not in body


def test_a_fault_behind_the_last_chunk_is_refused():
    with pytest.raises(ValueError, match="cannot stop after 3"):
        fakes.reset("one two", after=3)


# Clock and records


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
    fake.default = answer("one two three", gap=10)

    async def run():
        async with openai.AsyncOpenAI(
            base_url=fake.base_url, api_key="k", http_client=openai.DefaultAioHttpClient()
        ) as client:

            async def read():
                async for _ in await create(client, stream=True):
                    pass

            task = asyncio.create_task(read())
            await asyncio.to_thread(fake.wait_for, lambda: fake.requests and fake.requests[0].sent_ns)
            cancelled_ns = time.perf_counter_ns()
            task.cancel()
            await asyncio.to_thread(fake.wait_for, lambda: fake.requests[0].closed_by_client)
            return cancelled_ns

    cancelled_ns = asyncio.run(run())
    assert 0 < fake.requests[0].closed_at_ns - cancelled_ns < 0.5e9


def test_skip_pauses_sends_the_rest_of_running_replies_that_have_an_end(fake):
    fake.reply(answer("one two three", gap=30), fakes.drip("word ", every=0.05))

    async def run():
        async with aiohttp.ClientSession() as session, post(fake, session) as slow, post(fake, session) as endless:
            await asyncio.to_thread(fake.wait_for, lambda: all(r.sent_ns for r in fake.requests))
            fake.skip_pauses()
            body = await asyncio.wait_for(slow.read(), 20)  # with its pauses it takes a minute
            sent = len(fake.requests[1].sent_ns)
            await asyncio.to_thread(fake.wait_for, lambda: len(fake.requests[1].sent_ns) > sent)
            endless.close()
            return body

    body = asyncio.run(run())
    assert body.endswith(b"data: [DONE]\n\n")
    assert b"three" in body
    assert len(fake.requests[1].sent_ns) < 100
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


# Load


def stream_all(fake, n):
    """Return statuses and texts of `n` concurrent streams, read by aiohttp."""

    async def one(session):
        async with post(fake, session) as response:
            return response.status, await response.read()

    async def run():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(one(session) for _ in range(n)))

    return asyncio.run(run())


def test_500_streams_at_once(fake):
    fake.default = answer("x" * 32, chunks=32, ttft=0.5, gap=0.02)
    results = stream_all(fake, 500)
    assert {status for status, _ in results} == {200}
    assert all(body.endswith(b"data: [DONE]\n\n") for _, body in results)
    assert fake.max_in_flight == 500
    assert all(len(r.sent_ns) == 32 for r in fake.requests)


def test_admit_rejects_what_is_above_the_limit(fake):
    fake.default = answer("one", ttft=0.3)
    fake.admit(5, fakes.rate_limited(1))
    statuses = sorted(status for status, _ in stream_all(fake, 20))
    assert statuses == [200] * 5 + [429] * 15
    assert fake.max_in_flight == 5
    assert sum(r.admitted for r in fake.requests) == 5
    fake.wait_for(lambda: fake.in_flight == 0)
    fake.admit(None)
    assert exchange(fake)[0] == 200


# Life


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
        assert process.wait(5) == 0


def test_every_public_name_exists():
    assert all(hasattr(fakes, name) for name in fakes.__all__)
    assert refusals.__all__ == sorted(refusals.__all__)
