"""What servers really send: each row gives its right answer or error on every way through the transport.

A row is sent as a stream and as a whole answer, plainly (read by the prepared client) and compressed (read by the
``openai`` client).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ipyllm import LLMError, OllamaService, ReasoningDelta, TextDelta, create_llm_service
from ipyllm.runtime.service_thread import service_thread
from ipyllm.transport.wire_times import WireTimes
from tests.fakes import answer, error, status

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
EMOJI = "\N{GRINNING FACE}"


def call(name="add", arguments: Any = '{"x": 1}', **fields):
    return {**fields, "type": "function", "function": {"name": name, "arguments": arguments}}


def delta(finish_reason=None, /, *, index=0, native=None, **fields):
    """Return one chunk."""
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return {"choices": [choice | ({"native_finish_reason": native} if native else {})]}


def message(finish_reason="stop", /, *, native=None, **fields):
    """Return a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish_reason}
    return {"choices": [choice | ({"native_finish_reason": native} if native else {})]}


def events(chunks):
    """Return the bytes of a stream; lone surrogates are written as JSON's escapes."""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


@dataclass
class Row:
    """What a server sends, as chunks and as a whole, and what is right."""

    chunks: list[Any]
    whole: Any = None
    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)  # name, arguments
    ids: list[str] | None = None  # "" for any
    category: str | None = None
    says: str = ""
    finish_reason: str | None = None


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "So "}, {"type": "text", "text": "4."}]}
TWO_CALLS = [("add", '{"x": 1}'), ("mul", "{}")]

ROWS = {
    "a list of parts": Row(
        [delta(content=[THINKING]), delta("stop", content=[{"type": "text", "text": "Four"}, "."])],
        message(content=[THINKING, {"type": "text", "text": "Four"}, "."]),
        text="Four.",
        reasoning="So 4.",
    ),
    "one part that is not in a list": Row(
        [delta("stop", content={"type": "text", "text": "Four."})],
        message(content={"type": "output_text", "text": "Four."}),
        text="Four.",
    ),
    "reasoning as a list of parts": Row(
        [delta(reasoning=[{"type": "text", "text": "So"}]), delta("stop", content="4")],
        message(reasoning_content=[{"text": "So"}], content="4"),
        text="4",
        reasoning="So",
    ),
    "a flat error after text": Row(
        [delta(content="Fo"), {"object": "error", "message": "CUDA out of memory", "code": 500}],
        {"object": "error", "message": "CUDA out of memory", "code": 500},
        text="Fo",
        category="api_error",
        says="CUDA out of memory",
    ),
    "an error that only its words tell": Row(
        [delta(content="Fo"), {"detail": "the worker died"}],
        {"detail": "the worker died"},
        text="Fo",
        category="api_error",
        says="the worker died",
    ),
    "an error in the choice": Row(
        [delta(content="Fo"), {"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "upstream"}}]}],
        {"choices": [{"index": 0, "error": {"code": 502, "message": "upstream"}}]},
        text="Fo",
        category="api_error",
        says="upstream",
    ),
    **{
        f"finish reason {reason}": Row(
            [delta(content="Fo"), delta(reason)],
            message(reason, content="Fo"),
            text="Fo",
            category="api_error",
            says=f"broke off its answer.*{reason}",
        )
        for reason in ("error", "abort", "insufficient_system_resource")
    },
    "a native finish reason without text": Row(
        [delta("stop", native="network_error")],
        message("stop", native="network_error", content=""),
        category="api_error",
        says="network_error",
    ),
    "calls of one index, told apart by their ids": Row(
        [
            delta(tool_calls=[call(index=0, id="a", arguments='{"x"')]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
            delta("tool_calls", tool_calls=[call("mul", "{}", index=0, id="b")]),
        ],
        message("tool_calls", content=None, tool_calls=[call(index=0, id="a"), call("mul", "{}", index=0, id="b")]),
        calls=TWO_CALLS,
        ids=["a", "b"],
    ),
    "calls without an index, in chunks of their own": Row(
        [delta(tool_calls=[call(id="a")]), delta("tool_calls", tool_calls=[call("mul", "{}", id="b")])],
        message("tool_calls", tool_calls=[call(id="a"), call("mul", "{}", id="b")]),
        calls=TWO_CALLS,
        ids=["a", "b"],
    ),
    "calls without index and id": Row(
        [delta(tool_calls=[call()]), delta("tool_calls", tool_calls=[call("mul", "{}")])],
        message("stop", tool_calls=[call(), call("mul", "{}")]),
        calls=TWO_CALLS,
        ids=["", ""],
    ),
    "a call with another id in each piece": Row(
        [
            delta(tool_calls=[call(index=0, id="a", arguments='{"x"')]),
            delta("tool_calls", tool_calls=[{"index": 0, "id": "z", "function": {"arguments": ": 1}"}}]),
        ],
        calls=TWO_CALLS[:1],
        ids=["a"],
    ),
    "a call that repeats its id and name in each piece": Row(
        [
            delta(tool_calls=[call(index=0, id="a", arguments='{"x"')]),
            delta("tool_calls", tool_calls=[call(index=0, id="a", arguments=": 1}")]),
        ],
        calls=TWO_CALLS[:1],
        ids=["a"],
    ),
    "arguments as an object": Row(
        [delta("tool_calls", tool_calls=[call(index=0, id="a", arguments={"x": 1})])],
        message("tool_calls", tool_calls=[call(id="a", arguments={"x": 1})]),
        calls=TWO_CALLS[:1],
    ),
    "no arguments, in three forms": Row(
        [
            delta(tool_calls=[call("now", None, index=0, id="a"), call("now", "null", index=1, id="b")]),
            delta("tool_calls", tool_calls=[call("now", "", index=2, id="c")]),
        ],
        message("stop", tool_calls=[call("now", None, id="a"), call("now", "null", id="b"), call("now", "", id="c")]),
        calls=[("now", "{}")] * 3,
    ),
    "ids that are empty, or the same": Row(
        [delta("stop", tool_calls=[call(index=0, id=""), call("mul", "{}", index=1, id="k"), call(index=2, id="k")])],
        message("stop", tool_calls=[call(id=""), call("mul", "{}", id="k"), call(id="k")]),
        calls=[*TWO_CALLS, TWO_CALLS[0]],
        ids=["", "k", ""],
    ),
    "the whole text again in the last chunk": Row(
        [
            delta(reasoning="So"),
            delta(content="Fo"),
            delta(content="ur"),
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {},
                        "message": {"content": "Four", "reasoning": "So"},
                        "finish_reason": "stop",
                    }
                ]
            },
        ],
        text="Four",
        reasoning="So",
    ),
    "calls that come only in the message of the last chunk": Row(
        [
            delta(content="Fo"),
            {
                "choices": [
                    {"delta": {}, "message": {"content": "Fo", "tool_calls": [call()]}, "finish_reason": "tool_calls"}
                ]
            },
        ],
        text="Fo",
        calls=TWO_CALLS[:1],
    ),
    "a character in two halves": Row(
        [
            delta(reasoning="Hm \ud83d"),
            delta(reasoning="\ude00"),
            delta(content="Hi \ud83d"),
            delta(content="\ude00!"),
            delta(tool_calls=[call(index=0, id="a", arguments='{"x": "\ud83d')]),
            delta("stop", tool_calls=[{"index": 0, "function": {"arguments": '\ude00"}'}}]),
        ],
        message(
            reasoning="Hm \ud83d\ude00",
            content="Hi \ud83d\ude00!",
            tool_calls=[call(id="a", arguments='{"x": "\ud83d\ude00"}')],
        ),
        text=f"Hi {EMOJI}!",
        reasoning=f"Hm {EMOJI}",
        calls=[("add", f'{{"x": "{EMOJI}"}}')],
    ),
    "half a character at the end": Row(
        [delta("stop", content="Hi \ud83d")], message(content="Hi \ud83d"), text="Hi \N{REPLACEMENT CHARACTER}"
    ),
    "a second half without a first": Row(
        [delta("stop", content="\ude00Hi")], message(content="\ude00Hi"), text="\N{REPLACEMENT CHARACTER}Hi"
    ),
    "reasoning in a tag": Row(
        [delta(content="<th"), delta(content="ink>\nSo 4."), delta(content="</thi"), delta("stop", content="nk>\n\n4")],
        message(content="<think>\nSo 4.</think>\n\n4"),
        text="4",
        reasoning="So 4.",
    ),
    "reasoning in a tag that never ends": Row(
        [delta(content="<think>So </"), delta("length")],
        message("length", content="<think>So </"),
        reasoning="So </",
    ),
    "a tag later in the text": Row(
        [delta(content="Write <think>"), delta("stop", content="so</think>.")],
        message(content="Write <think>so</think>."),
        text="Write <think>so</think>.",
    ),
    "the beginning of a tag that is none": Row(
        [delta(content="<th"), delta("stop", content="ead>")], message(content="<thead>"), text="<thead>"
    ),
    "two choices": Row(
        [
            delta(content="A"),
            delta(index=1, content="B"),
            {"choices": [delta(index=1, content="b")["choices"][0], delta(content="a")["choices"][0]]},
            delta("stop", index=1),
            delta("stop"),
        ],
        {"choices": [message(content="Aa")["choices"][0], {"index": 1, "message": {"content": "Bb"}}]},
        text="Aa",
    ),
    "an empty finish reason before the end": Row(
        [delta("", content="Hi"), delta("stop")], message("stop", content="Hi"), text="Hi", finish_reason="stop"
    ),
    "Mistral's name for a full window": Row(
        [delta("model_length", content="Hi")], message("model_length", content="Hi"), text="Hi", finish_reason="length"
    ),
}


@pytest.fixture
def ask(fake):
    """Have the server send these bytes, plainly or compressed; return the answer."""

    def ask(body, headers, compressed=False, **options):
        fake.default = replace(status(200, body, headers), gzip=compressed)
        return OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello", **options)

    return ask


def check(row, ask, body, headers, compressed, *, streamed):
    if row.category is not None:
        with pytest.raises(LLMError, match=row.says) as caught:
            ask(body, headers, compressed)
        assert caught.value.category == row.category
        assert "\n" not in str(caught.value)
        # A whole error has no text.
        assert caught.value.partial.content == (row.text if streamed or '"content"' in body else "")
        return
    response = ask(body, headers, compressed)
    assert (response.content, response.reasoning) == (row.text, row.reasoning)
    assert [(got.name, got.arguments) for got in response.tool_calls] == row.calls
    ids = [got.id for got in response.tool_calls]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    for got, wanted in zip(ids, row.ids or (), strict=False):
        assert got == wanted or (not wanted and len(got) == 9)
    assert response.timing.streamed is streamed
    assert row.finish_reason is None or response.finish_reason == row.finish_reason


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_stream_is_read_rightly(row, ask, compressed):
    check(row, ask, events(row.chunks), SSE, compressed, streamed=True)


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.whole], ids=[n for n in ROWS if ROWS[n].whole])
def test_a_whole_answer_is_read_rightly(row, ask, compressed):
    check(row, ask, json.dumps(row.whole), JSON, compressed, streamed=False)


# ---- labels ------------------------------------------------------------------------------------------

LABELS = ["text/plain", "application/octet-stream", "text/event-stream", "application/json", "text/html", None]
PIECES = [delta(content="Hi"), delta("stop", content="!")]
BODIES = {
    "an event stream": (events(PIECES), True),
    "an event stream after empty lines": (f"\n\n{events(PIECES)}", True),
    "JSON lines": ("".join(f"{json.dumps(chunk)}\n" for chunk in PIECES), True),
    "JSON lines without the last end": ("\n".join(json.dumps(chunk) for chunk in PIECES), True),
    "a whole answer": (json.dumps(message(content="Hi!")), False),
    "a whole answer on a line": (f"{json.dumps(message(None, content='Hi!'))}\n", False),
    "a whole answer on many lines": (json.dumps(message(None, content="Hi!"), indent=2), False),
    "a whole answer on many lines after empty ones": (
        f"\ufeff\n\n{json.dumps(message(content='Hi!'), indent=2)}",
        False,
    ),
    "a whole answer after empty lines": (f"\ufeff\n\n \n{json.dumps(message(content='Hi!'))}", False),
    "a whole answer after comments": (f": keep-alive\n\n{json.dumps(message(content='Hi!'))}\n", False),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_is_read_by_what_it_is_whatever_its_label(ask, body, label, compressed):
    text, streamed = body
    response = ask(text, {"content-type": label} if label else {}, compressed)
    assert (response.content, response.timing.streamed) == ("Hi!", streamed)


ERRORS = [
    {"error": {"message": "No such luck"}},
    {"error": "No such luck"},
    {"error": {"msg": "No such luck"}},
    {"errors": [{"message": "No such luck"}]},
    {"msg": "No such luck"},
    {"Message": "No such luck"},
    {"title": "No such luck"},
    {"reason": "No such luck"},
    {"detail": "No such luck"},
    [{"error": {"code": 400, "message": "No such luck"}}],
    {"object": "error", "message": "No such luck"},
    {"code": 500, "message": "No such luck"},
]


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", ["application/json", "text/plain", "text/event-stream"])
@pytest.mark.parametrize("body", ERRORS, ids=str)
def test_an_error_with_status_200_is_told_in_the_server_s_words(ask, body, label, compressed):
    for text in (json.dumps(body), json.dumps(body, indent=1), f"data: {json.dumps(body)}\n\n"):
        with pytest.raises(LLMError, match="No such luck") as caught:
            ask(text, {"content-type": label}, compressed)
        assert caught.value.category in {"api_error", "bad_request"}
        assert not caught.value.partial.content


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("label", LABELS)
def test_what_is_no_answer_at_all_is_an_error_of_one_line(ask, label, compressed):
    headers = {"content-type": label} if label else {}
    for body, says in [
        ("<!DOCTYPE html>\n<p>Log in", "web page"),
        ("no healthy\nupstream", r'not a model.s response \("no healthy upstream"\)'),
        ("[" * 100_000 + "]" * 100_000, "invalid JSON"),
        (f"data: {'[' * 100_000}\n\n", "invalid JSON"),
        ("{" * 10 + "\n", "invalid JSON"),
    ]:
        with pytest.raises(LLMError, match=says) as caught:
            ask(body, headers, compressed)
        assert caught.value.category == "api_error"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("depth", [300, 900, 5_000])
def test_deep_json_anywhere_in_an_answer_is_read_or_an_error_of_one_line(ask, depth, compressed):
    deep: Any = json.dumps("x")
    deep = "[" * depth + deep + "]" * depth
    for place in (
        f'{{"choices": [{{"delta": {{"content": {deep}}}, "finish_reason": "stop"}}]}}',
        f'{{"choices": [{{"delta": {{"tool_calls": [{{"function": {{"name": "f", "arguments": {deep}}}}}]}}}}]}}',
        f'{{"choices": [{{"delta": {{"content": "Hi"}}, "finish_reason": "stop"}}], "usage": {{"a": {deep}}}}}',
        f'{{"error": {deep}}}',
    ):
        failure = None
        try:
            ask(f"data: {place}\n\ndata: [DONE]\n\n", SSE, compressed)
        except LLMError as exc:  # not for each depth
            failure = exc
        assert failure is None or (failure.category, "\n" in str(failure)) == ("api_error", False)


def test_a_refusal_with_status_200_is_not_sent_again(fake):
    said = {
        "object": "error",
        "type": "invalid_request_error",
        "message": {"detail": [{"loc": ["seed"], "msg": "Extra"}]},
    }
    fake.default = status(200, said)
    with pytest.raises(LLMError, match="seed: Extra") as caught:
        OllamaService("m", base_url=fake.base_url, max_retries=2).chat("Hello")
    assert (caught.value.category, len(fake.requests)) == ("bad_request", 1)


@pytest.mark.parametrize("raw", ["the worker died", '{"error": {"message": "the worker died"}}'])
def test_the_words_of_the_provider_behind_openrouter_are_told(ask, raw):
    said = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": raw}}}
    with pytest.raises(LLMError, match='Provider returned error: the worker died"'):
        ask(events([delta(content="Fo"), said]), SSE)


def test_an_error_between_events_is_read(ask):
    """Ollama writes its own errors into the stream as a line of JSON."""
    text = f"data: {json.dumps(delta(content='Fo'))}\n\n" + '{"error": "model runner has stopped"}\n'
    with pytest.raises(LLMError, match="model runner has stopped") as caught:
        ask(text, SSE)
    assert caught.value.partial.content == "Fo"


def test_the_model_is_named_by_the_first_chunk_that_names_one(ask):
    first = {"choices": [], "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
    chunks = [first, delta(content="Hi") | {"model": "gpt-6-luna-2026"}, delta("stop") | {"model": "gpt-6-luna-2026"}]
    response = ask(events(chunks), SSE)
    assert (response.content, response.response_model) == ("Hi", "gpt-6-luna-2026")


def test_a_stream_of_the_responses_api_that_ends_early_is_truncated_whatever_its_last_event(fake, own_settings):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\napi = "responses"\n')
    last = {"type": "response.metadata", "message": "not an error", "sequence_number": 2}
    text = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Fo"}
    fake.serve("/v1/responses", status(200, "".join(f"data: {json.dumps(each)}\n\n" for each in (text, last)), SSE))
    with pytest.raises(LLMError) as caught:
        create_llm_service("lab/m", max_retries=0).chat("Hello")
    assert (caught.value.category, caught.value.partial.content) == ("truncated", "Fo")


def test_deep_json_in_a_refusal_or_in_the_text_of_an_answer_is_an_error_of_one_line(fake):
    deep = "[" * 100_000 + "]" * 100_000
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)
    for script, options, category in [
        (status(400, f'{{"error": {deep}}}', JSON), {}, "bad_request"),
        (answer(deep), {"schema": list[int], "repairs": 0}, "api_error"),
    ]:
        fake.default = script
        with pytest.raises(LLMError) as caught:
            service.chat("Hello", **options)
        assert caught.value.category == category
        assert "\n" not in str(caught.value)


def test_deep_json_in_the_arguments_of_a_call_is_told_to_the_model(fake):
    def add(x: list) -> int:
        """Add."""
        return len(x)

    deep = "[" * 100_000 + "]" * 100_000
    fake.reply(answer("", tool_calls=[("add", f'{{"x": {deep}}}')]), answer("done"))
    response = OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello", tools=[add])
    assert response.content == "done"
    assert "not valid JSON" in response.tool_results[0].error


# ---- errors before text are sent again ----------------------------------------------------------------


@pytest.mark.parametrize("reason", ["abort", "insufficient_system_resource"])
def test_a_broken_off_answer_is_asked_for_again_unless_text_was_shown(fake, reason):
    service = OllamaService("m", base_url=fake.base_url, max_retries=1)
    fake.reply(status(200, events([delta(reason)]), SSE))
    assert service.chat("Hello").content == "Hello from the fake."
    fake.reply(status(200, events([delta(content="Fo"), delta(reason)]), SSE))
    with pytest.raises(LLMError) as caught:
        list(service.stream("Hello"))
    assert (caught.value.partial.content, len(fake.requests)) == ("Fo", 3)


# ---- what is shown and timed --------------------------------------------------------------------------


def test_no_empty_text_is_shown_and_what_is_held_back_has_arrived(fake):
    chunks = [delta(content="<think>"), delta(content="So</think>"), delta(content="\ud83d"), delta("stop")]
    fake.default = status(200, events(chunks), SSE)

    async def listen():
        return [event async for event in OllamaService("m", base_url=fake.base_url).events("Hello")]

    got = asyncio.run(listen())
    assert [(type(event), event.text) for event in got[:-1]] == [
        (ReasoningDelta, "So"),
        (TextDelta, "\N{REPLACEMENT CHARACTER}"),
    ]
    assert got[-1].response.timing.n_chunks == 3


# ---- stream_options ------------------------------------------------------------------------------------

REFUSALS = {
    "OpenAI's form": error(400, "Unknown parameter: 'stream_options'."),
    "Mistral's form": status(
        422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}
    ),
    "Google's form": status(400, [{"error": {"code": 400, "message": 'Unknown name "stream_options"'}}]),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_stream_options_that_are_refused_are_left_out_from_then_on(fake, refusal, compressed):
    fake.on(lambda request: replace(refusal, gzip=compressed) if "stream_options" in request.json else None)
    service = OllamaService("m", base_url=fake.base_url, max_retries=0)
    first, second = service.chat("Hello"), service.chat("Hello")
    assert [response.content for response in (first, second)] == ["Hello from the fake."] * 2
    assert ["stream_options" in request.json for request in fake.requests] == [True, False, False]
    assert (first.timing.attempts, first.usage.source) == (1, "estimated")
    other = OllamaService("other", base_url=fake.base_url, max_retries=0)
    other.chat("Hello")
    assert ["stream_options" in request.json for request in fake.requests[3:]] == [True, False]


def test_the_time_of_a_refusal_of_stream_options_is_not_latency(fake):
    refusal = replace(REFUSALS["OpenAI's form"], ttft=0.3)
    fake.on(lambda request: refusal if "stream_options" in request.json else None)
    timing = OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello").timing
    assert timing.ttft_s < 0.25
    assert timing.client_lag_s < 0.25


def test_times_that_begin_again_are_those_of_the_second_request():
    times = WireTimes()
    times.connecting()
    times.connected()
    times.wrote()
    earlier_ns = times.ready_ns
    times.begin_again()
    assert (times.connect_ns, times.sent_ns, times.send_delay_ns) == (None, None, None)
    assert times.ready_ns > earlier_ns


def test_another_refusal_is_not_sent_again(fake):
    fake.default = error(400, "Unknown parameter: 'seed'.")
    with pytest.raises(LLMError):
        OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello")
    assert len(fake.requests) == 1


# ---- several answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True], ids=["fast", "client"])
def test_the_end_of_another_answer_is_not_the_end_of_this_one(ask, compressed):
    pieces = [delta(content="One"), delta("stop", index=1, content="B"), delta(content=" two")]
    broken = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in pieces)
    with pytest.raises(LLMError) as caught:
        ask(broken, SSE, compressed)
    assert (caught.value.category, caught.value.partial.content) == ("truncated", "One two")
    both = {"choices": [delta("stop", index=1)["choices"][0], delta("length")["choices"][0]]}
    response = ask(broken + f"data: {json.dumps(both)}\n\n", SSE, compressed)
    assert (response.content, response.finish_reason) == ("One two", "length")


# ---- HTTP ----------------------------------------------------------------------------------------------


def only_the_client(address):
    """Have only the ``openai`` client send requests to ``address``."""

    async def switch():
        connection = await service_thread().transport.connection(address)
        connection.prepared.usable = False

    service_thread().submit(switch()).result(60)


@pytest.mark.parametrize("by_client", [False, True])
@pytest.mark.parametrize(
    "wire",
    [
        b"\xff\xfe\x00garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\xff\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: \xffabc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\xff\r\n",
    ],
)
def test_a_response_that_is_not_http_is_an_error_of_one_line(wire, by_client):
    import socket
    import threading

    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(wire)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        service = OllamaService("m", base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1", max_retries=0)
        if by_client:
            only_the_client(service.address())
        with pytest.raises(LLMError, match=r"^ollama/m at 127\.0\.0\.1:\d+ sent a response that is not HTTP") as caught:
            service.chat("Hello")
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
    assert caught.value.category == "api_error"
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert "400" not in str(caught.value)
