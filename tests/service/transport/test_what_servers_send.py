"""What servers really send: each row gives its right answer or error on every way through the transport.

A row is sent as a stream and as a whole answer, plainly (read by the prepared client) and compressed (read by the
``openai`` client).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from ipyllm import LLMError, OllamaService, ReasoningDelta, TextDelta, ToolCallDelta
from tests.fakes import status
from tests.service.transport.chunks import EMOJI, JSON, SSE, call, delta, events, message


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


@pytest.mark.parametrize(
    "name", ["a call with another id in each piece", "a call that repeats its id and name in each piece"]
)
def test_events_have_the_id_and_the_name_of_a_call_once(fake, name):
    fake.default = status(200, events(ROWS[name].chunks), SSE)

    async def collect():
        return [event async for event in OllamaService("m", base_url=fake.base_url).events("Hello")]

    calls = [event for event in asyncio.run(collect()) if isinstance(event, ToolCallDelta)]
    assert [(call.id, call.name, call.arguments) for call in calls] == [("a", "add", '{"x"'), (None, None, ": 1}")]


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
