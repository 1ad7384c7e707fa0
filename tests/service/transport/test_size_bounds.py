"""Bounds on what a server may send: whatever it is, the call ends with one sentence, and keeps what came before."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from ipyllm import LLMError, OllamaService, create_llm_service
from ipyllm.runtime.service_thread import service_thread
from ipyllm.settings import SettingsError, get_settings
from ipyllm.timeout import Timeout
from tests.fakes import answer, status
from tests.fakes.flood import ENDLESS, LARGE, Flood, bomb, event_stream, head, plain, token, zipped
from tests.hostile_client import ask

SSE = {"content-type": "text/event-stream"}
WHOLE = b'{"choices": [{"message": {"content": "', b'"}, "finish_reason": "stop"}]}'
ENCODINGS = ["gzip", "deflate", "br", "zstd"]
_MODULES = {"br": "brotli", "zstd": "backports.zstd"}
measures_memory = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def bounds(monkeypatch):
    """Set the bounds, in MB."""

    def set_bounds(**bounds_mb):
        for name, mb in bounds_mb.items():
            monkeypatch.setenv(f"IPYLLM_MAX_{name.upper()}_MB", str(mb))
        get_settings()  # the service thread uses what the user's thread has read

    return set_bounds


def failure(base_url, **options):
    with pytest.raises(LLMError) as caught:
        OllamaService("m", base_url=base_url, max_retries=2).chat("Hello", **{"timeout": 100} | options)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    return caught.value


def require(encoding):
    if encoding in _MODULES:
        pytest.importorskip(_MODULES[encoding])


# ---- what never ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [lambda reply: reply, zipped], ids=["fast", "client"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_is_read_up_to_the_bound(kind, pack, bounds):
    hostile = ENDLESS[kind]
    bounds(answer=6 if "event" in hostile.says else 0.5, event=0.2, error=0.05)
    with Flood(pack(hostile.reply)) as flood:
        error = failure(flood.base_url, timeout=100)
    assert hostile.says in str(error)
    assert hostile.category in {error.category, error.cause}
    assert error.partial.content.startswith(hostile.content)
    assert len(error.partial.content) < 100_000
    assert flood.sent < 40_000_000  # in the buffers of all connections
    is_error = kind.startswith("an error")
    assert is_error or error.attempts == 1


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "word "}], "word w"),
        (
            [
                {
                    "type": "response.output_item.added",
                    "output_index": 0,
                    "item": {"type": "function_call", "name": "f"},
                },
                {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "word "},
            ],
            "",
        ),
        ([{"type": "response.in_progress"}], ""),
    ],
    ids=["text", "arguments", "nothing"],
)
def test_so_it_is_on_the_responses_api(events, content, bounds, own_settings):
    bounds(answer=0.5)
    reply = event_stream(*(b"data: %b\n\n" % json.dumps(event).encode() for event in events))
    with Flood(reply) as flood:
        (own_settings / "config.toml").write_text(
            f'[endpoints.lab]\nbase_url = "{flood.base_url}"\napi = "responses"\n'
        )
        with pytest.raises(LLMError, match=r"lab/m sent more than 0\.5 MB in one answer") as caught:
            create_llm_service("lab/m").chat("Hello", timeout=100)
    assert (caught.value.category, caught.value.attempts) == ("api_error", 1)
    assert caught.value.partial.content.startswith(content)


# ---- what inflates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_answer_is_inflated_up_to_the_bound(encoding, bounds):
    require(encoding)
    bounds(answer=3, event=2)
    with Flood(bomb(encoding, *WHOLE, megabytes=20)) as flood:
        assert "more than 3 MB in one answer" in str(failure(flood.base_url))
    rest = token(content="one ")
    with Flood(bomb(encoding, token(content="Hi"), b"", megabytes=20, rest=rest)) as flood:
        error = failure(flood.base_url)
    assert "more than 3 MB in one answer" in str(error)
    assert error.partial.content.startswith("Hione one")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_is_inflated_up_to_the_bound_and_told_by_its_status(encoding, bounds):
    require(encoding)
    bounds(error=0.1)
    with Flood(bomb(encoding, b'{"error": {"message": "', b'"}}', status=401, megabytes=20)) as flood:
        error = failure(flood.base_url)
    assert error.category == "authentication"
    assert "HTTP 401" in str(error)


@pytest.mark.parametrize("encoding", ["", *ENCODINGS])
def test_a_list_of_models_is_read_up_to_the_bound(encoding, bounds):
    require(encoding)
    bounds(event=2)
    beginning, end = b'{"data": [{"id": "', b'"}]}'
    body = plain(head(200, "application/json") + beginning, b"0123456789", 20, end)
    with Flood(bomb(encoding, beginning, end, megabytes=20) if encoding else body) as flood:
        service = OllamaService("m", base_url=flood.base_url)
        with pytest.raises(LLMError, match=r"more than 2 MB in one list of models") as caught:
            service_thread().submit(service.models(timeout_s=60)).result(100)
    assert caught.value.category == "api_error"


def test_a_list_of_models_that_drips_ends_at_the_time_limit():
    closed = threading.Event()

    def drip():
        yield head(200, "application/json")
        while not closed.wait(0.05):
            yield b" "

    with Flood(drip) as flood:
        service = OllamaService("m", base_url=flood.base_url)
        with pytest.raises(LLMError, match=r"did not list its models within 0\.5 s") as caught:
            service_thread().submit(service.models(timeout_s=0.5)).result(30)
        closed.set()
    assert caught.value.category == "timeout"


def test_a_time_limit_holds_while_an_answer_is_inflated_and_read(bounds):
    bounds(answer=100_000)
    with Flood(bomb("gzip", b"", b"", megabytes=60, rest=token(content="one "))) as flood:
        error = failure(flood.base_url, timeout=Timeout(total=1))
    assert (error.category, error.limit) == ("timeout", "total")
    assert error.partial.content.startswith("one one")


# ---- names and parts ---------------------------------------------------------------------------------


def stream(*chunks):
    return status(200, "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), SSE)


def call_chunk(**fields):
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}} | fields
    return {"choices": [{"delta": {"content": "Hi", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (call_chunk(function={"name": "f" * 1_001}), "sent 1,001 characters as the name of a function"),
        (call_chunk(id="i" * 100_001), "sent 100,001 characters as the id of a function call"),
        ({"choices": [{"delta": {"tool_calls": [{}] * 10_001}}]}, "sent 10,001 pieces of function calls at once"),
        ({"choices": [{"delta": {"content": ["a"] * 10_001}}]}, "sent 10,001 parts of its text at once"),
        ({"choices": [{"delta": {"reasoning_details": [{}] * 10_001}}]}, "sent 10,001 details of its reasoning"),
    ],
    ids=["name", "id", "calls", "parts", "details"],
)
def test_what_is_longer_than_in_any_answer_is_an_error_in_one_sentence(fake, chunk, says):
    fake.reply(stream({"choices": [{"delta": {"content": "Hi"}}]}, chunk))
    error = failure(fake.base_url)
    assert f"ollama/m {says}" in str(error)
    assert (error.category, error.attempts) == ("api_error", 1)
    assert error.partial.content.startswith("Hi")


def test_calls_that_come_one_by_one_are_counted_too(fake):
    chunks = [{"choices": [{"delta": {"tool_calls": [{"index": n, "id": str(n)}]}}]} for n in range(10_001)]
    fake.reply(stream(*chunks))
    assert "sent 10,001 function calls in one answer" in str(failure(fake.base_url))


def test_white_space_is_held_back_before_a_tag_of_reasoning_for_a_while_only(fake):
    service = OllamaService("m", base_url=fake.base_url)
    for n_spaces, text in [(100, "So"), (2_000, " " * 2_000 + "<think>Hm</think>So")]:
        chunks = [{"choices": [{"delta": {"content": " "}}]}] * n_spaces
        fake.reply(
            stream(*chunks, {"choices": [{"delta": {"content": "<think>Hm</think>So"}, "finish_reason": "stop"}]})
        )
        assert service.chat("Hello").content == text


def test_names_of_models_and_reasons_are_cut(fake):
    long = "n" * 5_000
    chunk = {"model": long, "service_tier": long, "choices": [{"delta": {"content": "Hi"}, "finish_reason": long}]}
    fake.reply(stream(chunk))
    response = OllamaService("m", base_url=fake.base_url).chat("Hello")
    assert response.content == "Hi"
    assert response.response_model == response.finish_reason == "n" * 1_000


def test_long_words_of_a_server_are_cut_after_they_are_masked(fake):
    key = "sk-own-a9Xq2LmT7vB4zP0w"
    for padding in (0, 9_950, 9_990, 30_000):
        said = " " * padding + "\x1b[0m" * padding + f"{key} is wrong " + "a " * 50_000
        for script in (status(400, {"error": {"message": said}}), stream({"error": {"message": said}})):
            fake.reply(script)
            sentence = str(failure(fake.base_url, max_retries=0))
            assert "[key hidden] is wrong" in sentence
            assert key[7:12] not in sentence


# ---- the bounds --------------------------------------------------------------------------------------


def test_what_is_within_the_bounds_arrives_whole(fake, bounds):
    text = "0123456789" * 150_000
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)
    fake.default = answer(text, chunks=1)
    bounds(event=1)
    with pytest.raises(LLMError, match="IPYLLM_MAX_EVENT_MB to allow more"):
        service.chat("Hello")
    bounds(event=2)
    assert service.chat("Hello").content == text
    bounds(answer=1)
    with pytest.raises(LLMError, match="IPYLLM_MAX_ANSWER_MB to allow more"):
        service.chat("Hello")
    bounds(answer=2)
    assert service.chat("Hello").content == text


@pytest.mark.parametrize("mb", ["0", "-1", "nan", "inf", "much"])
def test_a_bound_that_is_none_is_refused(mb, monkeypatch):
    monkeypatch.setenv("IPYLLM_MAX_ERROR_MB", mb)
    with pytest.raises(SettingsError, match="max_error_mb"):
        get_settings()


# ---- memory ------------------------------------------------------------------------------------------


def check_growth(reply, says, category, content="", max_mb=300, **options):
    with Flood(reply) as flood:
        outcome = ask(flood.base_url, **options)
    assert says in outcome.sentence
    assert (outcome.category, outcome.status) == (category, "error")
    assert outcome.content.startswith(content)
    assert outcome.grown_mb < max_mb


@pytest.mark.thorough
@measures_memory
def test_an_error_that_inflates_to_hundreds_of_megabytes_takes_a_few():
    reply = bomb("gzip", b'{"error": {"message": "', b'"}}', status=500, megabytes=200)
    check_growth(reply, "HTTP 500", "api_error", max_mb=60)


@measures_memory
@pytest.mark.thorough
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("what", ["answer", "error", "stream"])
def test_what_inflates_to_half_a_gigabyte_takes_a_few_times_the_bound(what, encoding):
    require(encoding)
    if what == "error":
        check_growth(bomb(encoding, b'{"error": {"message": "', b'"}}', status=500), "HTTP 500", "api_error", max_mb=60)
    elif what == "answer":
        check_growth(bomb(encoding, *WHOLE), "more than 64 MB in one answer", "api_error", max_mb=192)
    else:
        reply = bomb(encoding, b"", b"", rest=token(content="one " * 500))
        check_growth(reply, "more than 64 MB in one answer", "api_error", "one one", max_mb=480, timeout_s=200)


@measures_memory
@pytest.mark.thorough
def test_an_answer_of_tiny_parts_takes_a_few_times_the_bound():
    reply = bomb("gzip", b"", b"", rest=token(content=["ab"] * 9_000))
    check_growth(reply, "more than 64 MB in one answer", "api_error", "abab", max_mb=256, timeout_s=200)


@measures_memory
@pytest.mark.thorough
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_takes_less_than_four_times_the_bound(kind):
    hostile = ENDLESS[kind]
    check_growth(
        hostile.reply,
        hostile.says,
        hostile.category,
        hostile.content,
        max_mb=64,
        timeout_s=200,
        IPYLLM_MAX_ANSWER_MB="16",
        IPYLLM_MAX_EVENT_MB="4",
    )


@measures_memory
@pytest.mark.thorough
@pytest.mark.parametrize("kind", LARGE)
def test_what_is_large_takes_some_hundred_megabytes_at_most(kind):
    hostile = LARGE[kind]
    timeout_s = 3 if hostile.category == "timeout" else 200
    check_growth(hostile.reply, hostile.says, hostile.category, hostile.content, timeout_s=timeout_s)
