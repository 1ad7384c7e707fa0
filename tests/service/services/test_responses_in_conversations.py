"""Reasoning, calls and results of the Responses API go back with the next question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm import ConversationHistory, OpenAIService
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.messages import begin_of_last_answer, text_of
from ipyllm.services.responses_input import input_items
from tests.fakes import answer

MODEL = "openai/gpt-6.2-sol"


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_items_go_back_unchanged_and_in_place_with_the_results_of_tools(sol, strict):
    strict.reply(answer("", reasoning="hm", tool_calls=[("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]))
    response = sol.chat("Add.", tools=[add])
    items = response.steps[0].output_items
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call"]
    assert strict.requests[1].json["input"] == [
        {"role": "user", "content": "Add."},
        *items,
        {"type": "function_call_output", "call_id": "call_0", "output": "3"},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ]


def conversation_of(response, question="Hi"):
    history = ConversationHistory()
    history.add_message("user", question)
    history.extend([response.as_message()])
    return history


def test_the_next_turn_of_the_same_model_sends_its_items_and_of_another_the_text(sol, strict):
    strict.default = answer("Hello", reasoning="hm")
    first = sol.chat("Hi")
    history = conversation_of(first)
    sol.chat("And?", conversation_history=history.get_messages())
    assert strict.requests[-1].json["input"][1:3] == list(first.output_items)
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    OpenAIService("gpt-6-luna", base_url=strict.base_url).chat("And?", conversation_history=history.get_messages())
    assert strict.requests[-1].json["input"][1] == text
    OpenAIService("other-model", base_url=strict.base_url).chat("And?", conversation_history=history.get_messages())
    assert strict.requests[-1].json["messages"][1] == {"role": "assistant", "content": "Hello"}


def test_a_conversation_that_was_saved_still_has_its_items(sol, strict, tmp_path):
    strict.default = answer("Hello", reasoning="hm")
    response = sol.chat("Hi")
    encrypted = "sk-0123456789abcdefghijklmnop"  # what a key looks like, by chance
    response.output_items[0]["encrypted_content"] = encrypted
    conversation_of(response).save(tmp_path / "talk.json")
    [_, loaded] = ConversationHistory.load(tmp_path / "talk.json").get_messages()
    assert input_items([loaded], MODEL) == list(response.output_items)


@pytest.mark.parametrize("edit", [{"content": "Good day"}, {"tool_calls": [{"id": "c", "function": {"name": "add"}}]}])
def test_an_answer_that_was_edited_is_sent_as_edited(sol, strict, edit):
    strict.default = answer("Hello", reasoning="hm")
    message = sol.chat("Hi").as_message() | edit
    sent = input_items([message], MODEL)
    assert [item["type"] for item in sent] == ["message", *["function_call"] * ("tool_calls" in edit)]
    assert sent[0]["content"] == [{"type": "output_text", "text": text_of(message)}]


def test_reasoning_that_cannot_be_read_again_is_left_out():
    """By its id alone, a server that stored nothing cannot find it."""
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    for reasoning, kept in (({"summary": []}, 0), ({"encrypted_content": "f"}, 1), ({"content": [{"text": "hm"}]}, 1)):
        items = [{"type": "reasoning", "id": "rs", **reasoning}, message]
        answered = {"role": "assistant", "content": "Hi", "output_items": {"model": MODEL, "items": items}}
        assert len(input_items([answered], MODEL)) == 1 + kept


@pytest.mark.parametrize("kept", [None, [], {"model": MODEL}, {"model": MODEL, "items": [None]}, {"items": []}])
def test_items_that_are_none_are_no_obstacle(kept):
    [item] = input_items([{"role": "assistant", "content": "Hi", "output_items": kept}], MODEL)
    assert item["content"][0]["text"] == "Hi"


def test_after_tools_the_next_turn_sends_the_calls_their_results_and_all_reasoning(sol, strict):
    calls = [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]
    strict.reply(
        answer("Let me see.", reasoning="one", tool_calls=calls),
        answer("", reasoning="two", tool_calls=[("add", {"a": 5, "b": 6})]),
        answer("All sums.", reasoning="three"),
    )
    response = sol.chat("Add.", tools=[add])
    history = conversation_of(response, "Add.")
    sol.chat("And?", conversation_history=history.get_messages())
    first, second, last = (list(step.output_items) for step in response.steps)
    outputs = [
        {"type": "function_call_output", "call_id": result.call_id, "output": result.output}
        for result in response.tool_results
    ]
    assert [output["output"] for output in outputs] == ["3", "7", "11"]
    question = {"role": "user", "content": "Add."}
    sent = [question, *first, *outputs[:2], *second, outputs[2], *last, {"role": "user", "content": "And?"}]
    assert strict.requests[-1].json["input"] == sent
    assert sum(item.get("type") == "reasoning" for item in sent) == 3
    assert strict.requests[-1].status == 200
    OpenAIService("gpt-6-luna", base_url=strict.base_url).chat("And?", conversation_history=history.get_messages())
    assert [item.get("type", item["role"]) for item in strict.requests[-1].json["input"]] == ["user", "message", "user"]
    [_, message] = history.get_messages()
    assert [item["type"] for item in input_items([message | {"content": "No sums."}], MODEL)] == ["message"]


def test_a_turn_whose_steps_are_of_two_models_goes_back_as_text(sol, strict):
    strict.reply(answer("", reasoning="hm", tool_calls=[("add", {"a": 1, "b": 2})]), answer("3", reasoning="so"))
    response = sol.chat("Add.", tools=[add])
    first, last = response.steps
    assert "output_items" in response.as_message()
    for step in (replace(first, model="openai/other"), replace(first, output_items=())):
        assert "output_items" not in replace(response, steps=(step, last)).as_message()


def test_the_calls_and_results_of_a_turn_count_in_estimates(sol, strict):
    strict.reply(answer("", reasoning="hm", tool_calls=[("add", {"a": 1, "b": 2})]))
    message = sol.chat("Add.", tools=[add]).as_message()
    begin = begin_of_last_answer(message["output_items"]["items"])
    alone = message | {"output_items": {"model": MODEL, "items": message["output_items"]["items"][begin:]}}
    assert estimate_messages([message]) - estimate_messages([alone]) > 20


def test_a_hit_of_the_cache_has_the_items(sol, strict):
    strict.default = answer("Hello", reasoning="hm")
    first, hit = sol.chat("Hi", cache=True), sol.chat("Hi", cache=True)
    assert (hit.cache_hit, hit.output_items) == (True, first.output_items)


def test_the_two_apis_share_no_answers_of_the_cache(strict, own_settings):
    ask = {"base_url": strict.base_url, "max_retries": 0}
    OpenAIService("gpt-6-luna", **ask).chat("Hi", cache=True)
    (own_settings / "config.toml").write_text('[profiles."openai/gpt-6*"]\napi = "chat"\n')
    assert not OpenAIService("gpt-6-luna", **ask).chat("Hi", cache=True).cache_hit


def test_reasoning_that_is_sent_back_counts_in_estimates_and_its_copy_of_the_text_does_not(sol, strict):
    from ipyllm.conversations.tokens import estimate_messages

    strict.default = answer("Hello " * 500, reasoning="hm")
    message = sol.chat("Hi").as_message()
    plain = {"role": "assistant", "content": message["content"]}
    assert 0 < estimate_messages([message]) - estimate_messages([plain]) < 100
