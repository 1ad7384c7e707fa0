"""Copies, pickles and JSON of what calls return."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from ipyllm import ConversationHistory, conversation
from ipyllm.errors import LLMError, bad_request
from ipyllm.response import ChatResponse, ToolCall, ToolResult, Usage
from ipyllm.services.openai import OpenAIService
from ipyllm.timing import Timing
from tests.fakes import answer

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda value, protocol=protocol: pickle.loads(pickle.dumps(value, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


class City(pydantic.BaseModel):
    name: str
    founded: date


@dataclass
class Point:
    x: Decimal
    labels: set[str]


def response(parsed: Any = None) -> ChatResponse:
    step = ChatResponse(content="lone \ud800", tool_calls=(ToolCall("1", "f", "{}"),), model="openai/m")
    return ChatResponse(
        content="Hi",
        usage=Usage(input_tokens=3, output_tokens=2, source="server"),
        timing=Timing(ttft_s=0.25),
        started_at=datetime(2026, 11, 1, tzinfo=UTC),
        cost_usd=0.5,
        tool_results=(ToolResult("1", "f", "{}", "7", None, 0.1),),
        steps=(step,),
        output_items=({"type": "message", "n": [1, None]},),
        parsed=parsed,
    )


PARSED = {
    "none": None,
    "dict": {"a": [1, 2.5, True]},
    "model": City(name="Bern", founded=date(1191, 1, 1)),
    "models": [City(name="Bern", founded=date(1191, 1, 1))],
    "dataclass": Point(Decimal("1.5"), {"a"}),
    "number": 7,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("parsed", PARSED)
def test_a_response_can_be_copied_and_pickled(how, parsed):
    original = response(PARSED[parsed])
    assert COPIES[how](original) == original


@pytest.mark.parametrize("parsed", PARSED)
def test_a_response_is_json(parsed):
    original = response(PARSED[parsed])
    read = json.loads(json.dumps(dict(original)))
    assert read == {name: original[name] for name in original}
    assert read["usage"]["input_tokens"] == original.usage.input_tokens == original["usage"].input_tokens == 3
    assert read["timing"]["ttft_s"] == 0.25
    assert read["started_at"] == "2026-11-01T00:00:00Z"
    assert read["steps"][0]["tool_calls"] == [{"id": "1", "name": "f", "arguments": "{}"}]
    assert read["steps"][0]["content"] == "lone \ud800"
    with pytest.raises(AttributeError, match="There is no 'nothing'; there is input_tokens, "):
        _ = original["usage"].nothing


def test_what_a_schema_returned_is_plain_by_key():
    assert response(PARSED["model"])["parsed"] == {"name": "Bern", "founded": "1191-01-01"}
    assert response(PARSED["dataclass"])["parsed"] == {"x": "1.5", "labels": ["a"]}
    assert math.isnan(response(float("nan"))["parsed"])


@pytest.mark.parametrize("how", COPIES)
def test_an_error_can_be_copied_and_pickled(how):
    original = LLMError("Gone.", category="connection", model="m", status_code=502, partial=response(), attempts=2)
    original.add_note("a note")
    again = COPIES[how](original)
    assert (str(again), type(again), vars(again)) == (str(original), LLMError, vars(original))
    assert again.partial == original.partial
    assert vars(COPIES[how](bad_request("No.")))["category"] == "bad_request"


@pytest.mark.parametrize("how", COPIES)
def test_a_conversation_can_be_copied_and_pickled(how):
    original = ConversationHistory(max_messages=8, max_tokens=100)
    original.set_system("Be brief.")
    original.add_message("user", "one")
    original.add_message("assistant", "ONE")
    seen = []
    original.observe(lambda: seen.append(None))
    again = COPIES[how](original)
    assert again.to_json() == original.to_json()
    assert (again.max_messages, again.max_tokens) == (8, 100)
    again.add_message("user", "two")
    again.set_system(None)
    assert (len(original), seen) == (3, []), "they are independent"
    original.add_message("user", "three")
    assert ([turn.messages[0]["content"] for turn in again.turns], len(seen)) == (["one", "two"], 1)


def test_a_copy_of_a_named_conversation_has_no_name():
    named = conversation("copied")
    named.add_message("user", "one")
    copy.deepcopy(named).add_message("user", "two")
    assert len(conversation("copied")) == 1
    named.clear()


@pytest.mark.parametrize("how", COPIES)
def test_what_a_call_returns_can_be_copied_and_pickled(fake, how):
    fake.reply(answer('{"name": "Bern", "founded": "1191-01-01"}'))
    service = OpenAIService("m", api_key="test-key-1234567890abcd", base_url=fake.base_url)
    got = service.chat("Where?", schema=City)
    assert COPIES[how](got) == got
    assert json.loads(json.dumps(dict(got)))["parsed"] == {"name": "Bern", "founded": "1191-01-01"}
