"""The fake's replies on the Responses API are those of the types of the ``openai`` package."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
from openai.types.responses import Response, ResponseStreamEvent

from tests.fakes import answer, content_filter
from tests.fakes.responses import response_events, whole_response

EVENTS = {
    kind: model
    for model in get_args(get_args(ResponseStreamEvent)[0])
    for kind in get_args(model.model_fields["type"].annotation)
}
SCRIPTS = {
    "text": answer("one two three"),
    "reasoning": answer("Yes.", reasoning="Let me think."),
    "refusal": answer(refusal="I can't help with that."),
    "calls": answer("", reasoning="hm", tool_calls=[("add", {"a": 1, "b": "two words"}), ("sub", {})]),
    "text and a call": answer("I'll add.", tool_calls=[("add", {})]),
    "limit": answer("One tw", finish_reason="length"),
    "all reasoning": answer("", reasoning="hm hm", finish_reason="length"),
    "filtered": content_filter("I was about to"),
    "nothing": answer(""),
}


def payloads(script):
    return [json.loads(event.payload.partition("data: ")[2]) for event in response_events(script, "m", 0.0)]


# The types require fields that only a complete response has, and that are of no use here.
REST = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def completed(payload):
    return payload | {"response": payload["response"] | REST} if "response" in payload else payload


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_event_is_one_of_the_api(name):
    sent = payloads(SCRIPTS[name])
    for payload in sent:
        EVENTS[payload["type"]].model_validate(completed(payload))
    assert [payload["sequence_number"] for payload in sent] == list(range(len(sent)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_unstreamed_response_holds_what_the_stream_did(name):
    script = SCRIPTS[name]
    whole = whole_response(script, "m")
    Response.model_validate(whole | REST)
    streamed = payloads(script)[-1]["response"]
    assert whole == streamed


@pytest.mark.parametrize("name", SCRIPTS)
def test_deltas_are_those_of_the_script(name):
    script = SCRIPTS[name]
    tokens = [event for event in response_events(script, "m", 0.0) if event.kind == "token"]
    heads = sum("id" in call for delta in script.deltas for call in delta.get("tool_calls", ()))
    assert len(tokens) == len(script.deltas) - heads


def test_without_a_finish_reason_the_stream_has_no_end():
    assert payloads(replace(answer("one"), finish_reason=None))[-1]["type"] == "response.output_text.delta"
