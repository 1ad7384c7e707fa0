"""The events of the Responses API, as servers send them: captured, or built from the types of the openai package."""

from __future__ import annotations

import json

import pytest

from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.pipeline.response_events import ResponsesAccumulator
from ipyllm.services.responses_input import text_of_items
from ipyllm.transport.wire_times import Arrival

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 16,
}


def delta(kind, text, index=0, part=0, **extra):
    name = "summary_index" if kind == "reasoning_summary_text" else "content_index"
    part = {} if kind == "function_call_arguments" else {name: part}
    return {"type": f"response.{kind}.delta", "item_id": "x", "output_index": index, "delta": text, **part, **extra}


def item(state, index, **fields):
    return {"type": f"response.output_item.{state}", "output_index": index, "item": fields}


def end(status="completed", **fields):
    return {"type": f"response.{status}", "response": {"status": status, "model": "m", "usage": USAGE, **fields}}


def message(*texts, **fields):
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": t} for t in texts],
    } | fields


def read(*chunks):
    got, events = ResponsesAccumulator(sent_ns=0), []
    for number, chunk in enumerate(chunks, 1):
        events += got.feed(chunk, Arrival(number * 1_000))
    return got, events


CREATED = {"type": "response.created", "response": {"status": "in_progress", "model": "m-2026", "usage": None}}


def test_text_its_usage_and_its_items_are_read():
    done = message("Hi there", id="msg_1", status="completed", phase="final_answer")
    got, events = read(
        CREATED,
        item("added", 0, type="message", id="msg_1", content=[]),
        delta("output_text", "Hi", logprobs=[], obfuscation="x7Q"),
        delta("output_text", " there"),
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi there"},
        item("done", 0, **done),
        end(),
    )
    assert [event.text for event in events] == ["Hi", " there"]
    assert (got.finish_reason, got.raw_usage, got.response_model) == ("stop", USAGE, "m-2026")
    assert got.output_items == (done,)
    assert (got.first_token_ns, got.last_token_ns, got.n_chunks, got.streamed) == (3_000, 4_000, 2, True)


def test_a_summary_is_reasoning_that_is_told_from_the_reasoning_itself():
    final = {
        "type": "reasoning",
        "id": "rs",
        "summary": [{"text": "**A**"}, {"text": "**B**"}],
        "encrypted_content": "f",
    }
    got, events = read(
        item("added", 0, type="reasoning", id="rs", summary=[], encrypted_content="begun"),
        delta("reasoning_summary_text", "**A", part=0),
        delta("reasoning_summary_text", "**", part=0),
        delta("reasoning_summary_text", "**B**", part=1),
        item("done", 0, **final),
        delta("output_text", "Yes", index=1),
        item("done", 1, **message("Yes")),
        end(),
    )
    assert [type(event) for event in events] == [ReasoningDelta] * 3 + [TextDelta]
    assert (got.reasoning, got.content, got.summarizes_reasoning) == ("**A**\n\n**B**", "Yes", True)
    assert got.output_items[0]["encrypted_content"] == "f", "that of .added may be incomplete"
    assert got.first_token_ns == 2_000, "an item that begins is no token"


def test_reasoning_in_the_open_is_no_summary():
    got, _ = read(delta("reasoning_text", "Let me"), delta("reasoning_text", " see"), end())
    assert (got.reasoning, got.summarizes_reasoning) == ("Let me see", False)


def call(index, id_, arguments="", status="completed"):
    return {"type": "function_call", "id": f"fc_{index}", "call_id": id_, "name": "add", "arguments": arguments}


def test_parallel_calls_are_told_apart_by_their_index_though_ids_change():
    got, events = read(
        item("added", 0, type="reasoning", summary=[]),
        item("added", 1, **call(1, "call_A")),
        item("added", 2, **call(2, "call_B")),
        delta("function_call_arguments", '{"a":', index=1) | {"item_id": "one"},
        delta("function_call_arguments", '{"a":2}', index=2) | {"item_id": "two"},
        delta("function_call_arguments", "1}", index=1) | {"item_id": "three"},
        item("done", 1, **call(1, "call_A", '{"a":1}')),
        item("done", 2, **call(2, "call_B", '{"a":2}')),
        end(),
    )
    assert [(c.id, c.name, c.arguments) for c in got.tool_calls] == [
        ("call_A", "add", '{"a":1}'),
        ("call_B", "add", '{"a":2}'),
    ]
    assert [(e.index, e.id, e.name, e.arguments) for e in events] == [
        (0, "call_A", "add", '{"a":'),
        (1, "call_B", "add", '{"a":2}'),
        (0, None, None, "1}"),
    ]
    assert got.finish_reason == "tool_calls"


@pytest.mark.parametrize("arguments", ['{"a":1}', {"a": 1}])
def test_arguments_that_come_only_at_the_end_are_read(arguments):
    """As LM Studio sends them, and servers that send an object."""
    got, events = read(
        item("added", 0, **call(0, "call_A")),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": arguments},
        item("done", 0, **call(0, "call_A", arguments)),
        end(),
    )
    assert json.loads(got.tool_calls[0].arguments) == {"a": 1}
    assert [(e.id, e.name) for e in events] == [("call_A", "add")]


def test_the_id_that_joins_a_call_and_its_result_may_come_only_at_the_end():
    head = {"type": "function_call", "id": "fc_1", "name": "add", "arguments": ""}
    done = head | {"call_id": "call_A", "arguments": "{}"}
    got, _ = read(item("added", 0, **head), delta("function_call_arguments", "{}"), item("done", 0, **done), end())
    assert (got.tool_calls[0].id, got.tool_calls[0].arguments) == ("call_A", "{}")


def test_a_call_without_arguments_is_one_event():
    got, events = read(item("added", 0, **call(0, "c")), item("done", 0, **call(0, "c")), end())
    assert events == [ToolCallDelta(0, "c", "add", "", 2_000)]
    assert got.tool_calls[0].arguments == ""


def test_without_an_index_items_are_told_apart_by_their_id():
    """As llama.cpp sends them; a function call there has no id, but events name its call_id."""

    def without_index(chunk, item_id=None):
        chunk = {name: value for name, value in chunk.items() if name != "output_index"}
        return chunk | ({"item_id": item_id} if item_id else {})

    got, _ = read(
        without_index(delta("reasoning_text", "hm"), "rs_1"),
        without_index(item("done", 0, type="reasoning", id="rs_1", summary=[], content=[{"text": "hm"}])),
        without_index(item("added", 0, type="function_call", call_id="fc_A", name="add")),
        without_index(delta("function_call_arguments", "{}"), "fc_A"),
        without_index(item("added", 0, type="function_call", call_id="fc_B", name="sub")),
        without_index(delta("function_call_arguments", "[]"), "fc_B"),
        without_index(item("done", 0, type="function_call", call_id="fc_A", name="add", arguments="{}")),
        without_index(item("done", 0, type="function_call", call_id="fc_B", name="sub", arguments="[]")),
        end(),
    )
    assert [(c.id, c.name, c.arguments) for c in got.tool_calls] == [("fc_A", "add", "{}"), ("fc_B", "sub", "[]")]
    assert (got.reasoning, [i["type"] for i in got.output_items]) == ("hm", ["reasoning", *["function_call"] * 2])


def test_a_refusal_is_the_content_and_is_marked():
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "I can't."}]}
    got, events = read(delta("refusal", "I "), delta("refusal", "can't."), item("done", 0, **refusal), end())
    assert (got.content, got.refused, got.finish_reason) == ("I can't.", True, "refusal")
    assert [event.text for event in events] == ["I ", "can't."]


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("steered", "steered"),
        (None, "incomplete"),
    ],
)
def test_an_incomplete_answer_says_why_and_its_items_are_not_sent_back(reason, finish_reason):
    got, _ = read(
        delta("output_text", "One tw"),
        item("done", 0, **message("One tw", status="incomplete")),
        end("incomplete", incomplete_details={"reason": reason} if reason else None),
    )
    assert (got.content, got.finish_reason, got.output_items, got.raw_usage) == ("One tw", finish_reason, (), USAGE)


def test_an_answer_that_was_all_reasoning_is_empty_and_stopped_by_its_limit():
    got, events = read(
        item("done", 0, type="reasoning", summary=[], encrypted_content="f"),
        end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert (got.content, got.finish_reason, got.has_tokens, events) == ("", "length", False, [])


WHOLE = {
    "object": "response",
    "status": "completed",
    "error": None,
    "model": "m",
    "usage": USAGE,
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        message("Hi"),
        call(2, "call_A", '{"a":1}'),
    ],
}


def test_a_response_that_was_not_streamed_is_read():
    got, events = read(WHOLE)
    assert [type(event) for event in events] == [ReasoningDelta, TextDelta, ToolCallDelta]
    assert (got.content, got.reasoning, got.finish_reason, got.streamed) == ("Hi", "hm", "tool_calls", False)
    assert (got.raw_usage, len(got.output_items)) == (USAGE, 3)


def test_a_stream_of_nothing_but_its_end_is_read():
    got, events = read(CREATED, end(output=WHOLE["output"]))
    assert (got.content, len(events), got.streamed) == ("Hi", 3, True)


def test_two_messages_are_two_paragraphs_as_in_their_items():
    items = [message("First", ", still"), message("Second")]
    got, events = read(
        delta("output_text", "First", 0, 0),
        delta("output_text", ", still", 0, 1),
        item("done", 0, **items[0]),
        item("done", 1, **items[1]),
        end(),
    )
    assert got.content == "First, still\n\nSecond" == text_of_items(got.output_items)
    assert "".join(event.text for event in events) == got.content


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"type": None},
        {"type": ["response.completed"]},
        {"type": "response.web_search_call.searching", "output_index": 0},
        {"type": "response.output_text.delta", "delta": None},
        {"type": "response.output_text.delta", "delta": "", "output_index": 0},
        {"type": "response.output_item.done", "item": "…"},
        {"type": "response.output_item.done", "item": {"type": "message", "content": [None, "x"]}},
        {"type": "response.output_item.done", "item": {"type": "reasoning", "summary": None}},
        {"type": "response.created", "response": None},
        {"type": "response.output_text.done", "text": "x"},
    ],
    ids=str,
)
def test_what_holds_nothing_is_passed_over(chunk):
    got, events = read(chunk)
    assert (events, got.content, got.has_tokens) == ([], "", False)


def test_a_failed_response_has_no_finish_reason_and_keeps_its_usage():
    got, _ = read(delta("output_text", "Hi"), end("failed", error={"code": "server_error", "message": "…"}))
    assert (got.content, got.finish_reason, got.raw_usage, got.output_items) == ("Hi", None, USAGE, ())


def test_items_that_the_server_left_out_are_counted():
    removed = [{"id": "rs_1", "action": "removed", "reason": "prefix_mismatch"}, {"id": "rs_2", "action": "kept"}]
    got, _ = read(end(input_transformations=removed))
    assert got.removed_inputs == 1
