"""The tool calls of past answers are found in the requests that sent their results, however these are stored."""

from __future__ import annotations

import logging

import pytest

from ipyllm.conversations.transcript import Turn
from ipyllm.ledger import Ledger
from ipyllm.pipeline.stored_tool_calls import stored_tool_calls

QUESTION = {"role": "user", "content": "1 + 2, and that + 4?"}


def called(call_id, arguments, output):
    call = {"id": call_id, "type": "function", "function": {"name": "add", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": output},
    ]


def item(call_id, arguments, output):
    """Return the same on the Responses API."""
    return [
        {"type": "reasoning", "encrypted_content": "…"},
        {"type": "function_call", "call_id": call_id, "name": "add", "arguments": arguments},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


EARLIER = [{"role": "user", "content": "Hi"}, *item("c0", "{}", "0")]
TURN = Turn(call_id="03", step_ids=("01", "02"))


def found(*requests, step="tools"):
    """Return what is found of three requests with these contents, None for none."""
    with Ledger("sqlite://") as ledger:
        for number, request in enumerate(requests, 1):
            if request != "deleted":
                row = {"call_id": f"0{number}", "step": step if number < 3 else None, "request": request}
                ledger.put(row)
        return stored_tool_calls([TURN, Turn(call_id="09"), Turn()], ledger=ledger)


def whole(messages, field="messages"):
    return {"body": {"model": "m", field: messages}}


@pytest.mark.parametrize(("field", "shape"), [("messages", called), ("input", item)])
@pytest.mark.parametrize("stored", ["whole", "in part", "mixed"])
def test_every_call_of_the_turn_is_found_once_and_those_of_earlier_turns_are_not(field, shape, stored):
    first, second = shape("c1", '{"a":1}', "3"), shape("c2", '{"a":3}', "7")
    begin = [*EARLIER, QUESTION]
    n = len(begin)
    parts = [
        whole([QUESTION], field) | {"after": "00", "shared": n - 1},
        whole(first, field) | {"after": "01", "shared": n},
    ]
    last = whole(second, field) | {"after": "02", "shared": n + len(first)}
    requests = {
        "whole": [whole(begin, field), whole([*begin, *first], field), whole([*begin, *first, *second], field)],
        "in part": [*parts, last],
        "mixed": [*parts, whole([*begin, *first, *second], field)],
    }
    (calls,) = found(*requests[stored]).values()
    assert [(call.name, call.arguments, call.output) for call in calls] == [
        ("add", '{"a":1}', "3"), ("add", '{"a":3}', "7"),
    ]  # fmt: skip


def test_calls_of_two_rounds_with_the_same_id_have_their_own_results():
    first, second = called("call_0", "{}", "3"), called("call_0", "{}", "7")
    (calls,) = found(whole([QUESTION]), whole([QUESTION, *first]), whole([QUESTION, *first, *second])).values()
    assert [call.output for call in calls] == ["3", "7"]


def test_a_call_without_a_result_has_none():
    (calls,) = found(whole([QUESTION]), whole([QUESTION]), whole([QUESTION, called("c1", "{}", "")[0]])).values()
    assert [call.output for call in calls] == [None]


@pytest.mark.parametrize("missing", [None, "deleted"])
def test_what_the_ledger_does_not_have_is_unknown(missing):
    assert found(missing, whole([QUESTION]), whole([QUESTION, *called("c1", "{}", "3")])) == {"03": None}


def test_an_answer_that_was_repaired_without_its_text_in_the_ledger_called_nothing():
    assert found(None, None, None, step="repair") == {"03": ()}


@pytest.mark.parametrize(
    "spoiled", [[], {}, {"body": {}}, {"body": {"messages": 7}}, {"body": {"messages": ["x"]}},
                {"body": {"messages": [QUESTION, {"tool_calls": [{}]}]}}, {"body": {"messages": []}, "shared": "x"}],
)  # fmt: skip
def test_a_damaged_request_is_unknown_and_logged(spoiled, caplog):
    with caplog.at_level(logging.DEBUG):
        assert found(whole([]), whole([]), spoiled) == {"03": None}
    assert "damaged" in caplog.text


def test_rows_are_read_in_as_many_queries_as_the_database_needs(monkeypatch):
    first, second = called("c1", "{}", "3"), called("c2", "{}", "7")
    requests = whole([QUESTION]), whole([QUESTION, *first]), whole([QUESTION, *first, *second])
    at_once = found(*requests)
    monkeypatch.setattr("ipyllm.pipeline.stored_responses._IDS_AT_ONCE", 2)
    assert found(*requests) == at_once
    assert [call.output for call in at_once["03"]] == ["3", "7"]
