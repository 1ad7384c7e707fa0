"""A plain chunk is read in a short way, with the same result as in the long one."""

from __future__ import annotations

import copy

import pytest

from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.provider import ReasoningFormat
from ipyllm.transport.plain_chunks import plain_text
from ipyllm.transport.wire_times import Arrival

PLAIN = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "service_tier": None,
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}],
    "usage": None,
}


def changed(*path, to):
    chunk = copy.deepcopy(PLAIN)
    place = chunk
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return chunk


OTHERS = {
    "finish reason": changed("choices", 0, "finish_reason", to="stop"),
    "native finish reason": changed("choices", 0, "native_finish_reason", to="network_error"),
    "usage": changed("usage", to={"prompt_tokens": 3, "completion_tokens": 1}),
    "usage of the choice": changed("choices", 0, "usage", to={"prompt_tokens": 3}),
    "usage of Groq": changed("x_groq", to={"usage": {"prompt_tokens": 3}}),
    "error": changed("error", to={"message": "no"}),
    "error of the choice": changed("choices", 0, "error", to={"message": "no"}),
    "message": changed("choices", 0, "message", to={"content": "all of it"}),
    "reasoning": changed("choices", 0, "delta", "reasoning_content", to="hm"),
    "reasoning details": changed("choices", 0, "delta", "reasoning_details", to=[{"text": "hm"}]),
    "refusal": changed("choices", 0, "delta", "refusal", to="no"),
    "tool call": changed("choices", 0, "delta", "tool_calls", to=[{"index": 0, "id": "a", "function": {"name": "f"}}]),
    "not ASCII": changed("choices", 0, "delta", "content", to="é"),
    "half a character": changed("choices", 0, "delta", "content", to="\ud83d"),
    "parts": changed("choices", 0, "delta", "content", to=[{"type": "text", "text": "a"}]),
    "no text": changed("choices", 0, "delta", "content", to=""),
    "null": changed("choices", 0, "delta", "content", to=None),
    "number": changed("choices", 0, "delta", "content", to=3),
    "two choices": changed("choices", to=PLAIN["choices"] * 2),
    "no choice": changed("choices", to=[]),
    "choices null": changed("choices", to=None),
    "choices as a dict": changed("choices", to={"a": 1}),
    "choice as text": changed("choices", to=["text"]),
    "delta null": changed("choices", 0, "delta", to=None),
    "delta as text": changed("choices", 0, "delta", to="text"),
    "empty": {},
}
SPECIAL = {
    "other index": changed("choices", 0, "index", to=1),
    "tier": changed("service_tier", to="flex"),
    "tier as a list": changed("service_tier", to=["flex"]),
    "index as a list": changed("choices", 0, "index", to=[0]),
}


def test_a_plain_chunk_has_its_text():
    assert plain_text(PLAIN) == "word "
    assert plain_text({"choices": [{"delta": {"content": "a"}}]}) == "a"


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_chunk_is_read_in_full(name):
    assert plain_text(OTHERS[name]) is None


def read(chunks, tag, text_of=plain_text):
    received = ChatAccumulator(0, ReasoningFormat(tag))
    events = [
        received.feed(chunk, Arrival(at_ns, 0, by_kernel=True), text_of(chunk)) for at_ns, chunk in enumerate(chunks, 1)
    ]
    state = {name: getattr(received, name) for name in ChatAccumulator.__dataclass_fields__ if not name.startswith("_")}
    state.pop("reasoning_format", None)
    return [*events, received.close()], state, received.content, received.reasoning, received.tool_calls


def test_the_model_is_taken_from_a_plain_chunk_if_those_before_do_not_name_it():
    unnamed = {name: value for name, value in PLAIN.items() if name != "model"}
    state = read([unnamed, unnamed, PLAIN], None)[1]
    assert state["response_model"] == "m"


@pytest.mark.parametrize("tag", [None, "think"])
@pytest.mark.parametrize("name", [*OTHERS, *SPECIAL])
def test_both_ways_of_reading_give_the_same(name, tag):
    opening = changed("choices", 0, "delta", "content", to="<think>why</think>Well, ")
    chunks = [opening, PLAIN, PLAIN, (OTHERS | SPECIAL)[name], PLAIN, changed("choices", 0, "finish_reason", to="stop")]
    assert read(chunks, tag) == read(chunks, tag, text_of=lambda _: None)
