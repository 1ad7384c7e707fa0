"""What a model gets back with the results of its tools: its own ids, signatures and reasoning, unchanged."""

from __future__ import annotations

import json

import pytest

from ipyllm import ConversationHistory, LLMError, OllamaService, OpenAIService, create_llm_service
from tests.fakes import answer, status


def now() -> str:
    """Return the time."""
    return "noon"


def add(x: int) -> int:
    """Add one."""
    return x + 1


def stream(*deltas, finish="tool_calls"):
    """Script a stream of these deltas."""
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return status(200, text, {"content-type": "text/event-stream"})


def whole(message, finish="tool_calls"):
    """Script a whole answer with this message."""
    return status(200, {"choices": [{"index": 0, "message": message, "finish_reason": finish}]})


def call(name="now", arguments="{}", **fields):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def sent_back(fake, service, script, **options):
    """Return the assistant's and the tools' messages of the second request."""
    fake.reply(script, answer("done"))
    response = service.chat("Hello", tools=[now, add], **options)
    assert response.content == "done"
    return fake.requests[-1].json["messages"][1:]


@pytest.fixture
def service(fake):
    return OllamaService("m", base_url=fake.base_url, max_retries=0)


@pytest.mark.parametrize("form", [stream, whole])
def test_signatures_of_thoughts_go_back_to_gemini_with_each_call(fake, form):
    service = create_llm_service("gemini/gemini-4-argon", base_url=fake.base_url, api_key="k", max_retries=0)
    signed = {"google": {"thought_signature": "c2lnbmVk+/="}}
    calls = [call(index=0, id="", extra_content=signed), call("add", {"x": 1}, index=1, id="")]
    said, *results = sent_back(fake, service, form({"tool_calls": calls}))
    assert [each.get("extra_content") for each in said["tool_calls"]] == [signed, None]
    assert [each["function"]["arguments"] for each in said["tool_calls"]] == ["{}", '{"x": 1}']
    assert [each["id"] for each in said["tool_calls"]] == [result["tool_call_id"] for result in results]
    assert [result["content"] for result in results] == ["noon", "2"]
    assert "output_items" not in said


def test_calls_of_another_model_reach_gemini_with_the_signature_for_such(fake):
    fake.speak_as("gemini")
    for model, is_signed in (("gemini-4-argon", True), ("gemini-2.5-flash", False)):
        service = create_llm_service(f"gemini/{model}", base_url=fake.base_url, api_key="k", max_retries=0)
        said = {"role": "assistant", "content": None, "tool_calls": [call(id="a"), call("add", '{"x": 1}', id="b")]}
        results = [{"role": "tool", "tool_call_id": id_, "content": "noon"} for id_ in "ab"]
        assert service.chat([{"role": "user", "content": "Hi"}, said, *results]).status == "ok"
        sent = fake.requests[-1].json["messages"][1]["tool_calls"]
        signature = {"google": {"thought_signature": "skip_thought_signature_validator"}} if is_signed else None
        assert [each.get("extra_content") for each in sent] == [signature] * 2


def test_details_of_reasoning_go_back_to_openrouter_joined_as_they_were_cut(fake):
    service = create_llm_service("openrouter/some/model", base_url=fake.base_url, api_key="k", max_retries=0)
    script = stream(
        {"reasoning": "So ", "reasoning_details": [{"type": "reasoning.text", "text": "So ", "index": 0}]},
        {"reasoning": "4.", "reasoning_details": [{"type": "reasoning.text", "text": "4.", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0, "format": "anthropic"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 1}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "b3Ro", "index": 1}]},
        {"tool_calls": [call(index=0, id="a")]},
    )
    said, _ = sent_back(fake, service, script)
    text = {"type": "reasoning.text", "text": "So 4.", "index": 0, "signature": "c2ln", "format": "anthropic"}
    encrypted = [
        {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 1},
        {"type": "reasoning.encrypted", "data": "b3Ro", "index": 1},
    ]
    assert said["reasoning_details"] == [text, *encrypted]
    assert "reasoning_content" not in said


def test_details_of_a_whole_answer_go_back_verbatim(fake):
    service = create_llm_service("openrouter/some/model", base_url=fake.base_url, api_key="k", max_retries=0)
    details = [{"type": "reasoning.summary", "summary": "s", "x": [1]}, {"type": "reasoning.encrypted", "data": "d"}]
    said, _ = sent_back(fake, service, whole({"reasoning_details": details, "tool_calls": [call(id="a")]}))
    assert said["reasoning_details"] == details


def test_another_model_does_not_get_them(service, fake):
    items = [{"type": "chat_fields", "reasoning_details": [{"type": "x"}], "extra_content": {"a": {"s": 1}}}]
    said = {"role": "assistant", "content": None, "tool_calls": [call(id="a")]}
    result = {"role": "tool", "tool_call_id": "a", "content": "noon"}
    for model, gets in (("gemini/other", False), ("ollama/m", True)):
        service.chat([said | {"output_items": {"model": model, "items": items}}, result])
        sent = fake.requests[-1].json["messages"][0]
        assert ("reasoning_details" in sent, "extra_content" in sent["tool_calls"][0]) == (gets, gets)
        assert "output_items" not in sent


def test_ids_go_back_as_they_came_and_missing_ones_are_told_apart(service, fake):
    said, *results = sent_back(fake, service, stream({"tool_calls": [call(id="D681PevKs"), call(id="9xYz1aBcD")]}))
    assert [each["id"] for each in said["tool_calls"]] == ["D681PevKs", "9xYz1aBcD"]
    assert [result["tool_call_id"] for result in results] == ["D681PevKs", "9xYz1aBcD"]
    said, *results = sent_back(fake, service, stream({"tool_calls": [call(), call()]}))
    ids = [each["id"] for each in said["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == ids
    assert len(set(ids)) == 2
    assert all(len(id_) == 9 and id_.isalnum() for id_ in ids)


def test_two_calls_of_one_index_both_run(service, fake):
    script = stream(
        {"tool_calls": [call("add", '{"x": 1}', index=0, id="a")]},
        {"tool_calls": [call("add", '{"x": 2}', index=0, id="b")]},
    )
    _, *results = sent_back(fake, service, script)
    assert [result["content"] for result in results] == ["2", "3"]


def test_a_function_without_parameters_takes_null(service, fake):
    for arguments in (None, "null", ""):
        said, result = sent_back(fake, service, stream({"tool_calls": [call(arguments=arguments, index=0, id="a")]}))
        assert result["content"] == "noon"
        assert said["tool_calls"][0]["function"]["arguments"] == "{}"


def test_kimi_gets_its_reasoning_back_and_others_do_not(fake, service):
    kimi = create_llm_service("moonshot/kimi-k2.6", base_url=fake.base_url, api_key="k", max_retries=0)
    script = stream({"reasoning_content": "Hm."}, {"tool_calls": [call(index=0, id="a")]})
    assert sent_back(fake, kimi, script)[0]["reasoning_content"] == "Hm."
    assert "reasoning_content" not in sent_back(fake, service, script)[0]


@pytest.mark.parametrize("effort", [None, "none"])
def test_deepseek_gets_the_reasoning_of_earlier_turns_beside_tools(fake, effort):
    """Of every earlier answer; it refuses a message without, so one of another model has a blank."""
    fake.speak_as("deepseek")
    options = {} if effort is None else {"effort": effort}
    service = create_llm_service("deepseek/deepseek-flash", base_url=fake.base_url, max_retries=0, **options)
    fake.reply(
        answer("", chunks=[], reasoning="First.", tool_calls=[("add", {"x": 1})]),
        answer("2", reasoning="Second."),
        answer("Hi", reasoning="Third."),
    )
    history = ConversationHistory()
    history.add_message("user", "Add.")
    history.extend([service.chat("Add.", tools=[add]).as_message(), {"role": "user", "content": "Hello"}])
    history.extend([service.chat("Hello").as_message(), {"role": "user", "content": "Good day"}])
    history.extend([{"role": "assistant", "content": "from another model"}])
    earlier = history.get_messages()
    assert service.chat("And?", tools=[add], conversation_history=earlier).status == "ok"
    said = [message for message in fake.requests[-1].json["messages"] if message["role"] == "assistant"]
    blank = {} if effort == "none" else {"reasoning_content": " "}
    assert said == [
        {"role": "assistant", "content": "2", "reasoning_content": "Second."},
        {"role": "assistant", "content": "Hi", "reasoning_content": "Third."},
        {"role": "assistant", "content": "from another model"} | blank,
    ]
    service.chat("And?", conversation_history=earlier)
    fake.speak_as("ollama")
    create_llm_service("ollama/m", base_url=fake.base_url).chat("And?", tools=[add], conversation_history=earlier)
    for request in fake.requests[-2:]:
        assert all(message.keys() == {"role", "content"} for message in request.json["messages"])


# ---- tool_choice ---------------------------------------------------------------------------------------

NAMED = {"type": "function", "function": {"name": "now"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
CHOICES = {
    "required": "auto",
    "any": "auto",
    "auto": "auto",
    "none": "none",
}


@pytest.fixture
def endpoint(fake, own_settings):
    """Return a service of which nothing is known, so that it takes every parameter."""
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n')
    return create_llm_service("lab/m", max_retries=0)


@pytest.mark.parametrize(
    ("choice", "then"),
    [*CHOICES.items(), (NAMED, "auto"), (ALLOWED, {**ALLOWED, "allowed_tools": {"mode": "auto", "tools": [NAMED]}})],
    ids=str,
)
def test_a_call_is_required_in_the_first_round_only(endpoint, fake, choice, then):
    fake.reply(stream({"tool_calls": [call(id="a")]}), stream({"tool_calls": [call(id="b")]}), answer("done"))
    assert endpoint.chat("Hello", tools=[now], tool_choice=choice).content == "done"
    assert [request.json["tool_choice"] for request in fake.requests] == [choice, then, then]


# ---- tags ----------------------------------------------------------------------------------------------


def test_the_tag_around_reasoning_is_that_of_the_profile(fake, own_settings):
    def asked(service, text):
        fake.default = answer(text, chunks=7)
        response = service.chat("Hello")
        return response.reasoning, response.content

    think, thought = "<think>\nHm.\n</think>\n\nFour.", "<thought>Hm.</thought>Four."
    gemini = create_llm_service("gemini/gemini-4-argon", base_url=fake.base_url, api_key="k")
    assert asked(gemini, thought) == ("Hm.", "Four.")
    assert asked(gemini, think) == ("", think)
    openai = OpenAIService("m", base_url=fake.base_url, api_key="k")
    assert asked(openai, think) == ("", think)
    (own_settings / "config.toml").write_text(
        f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n[profiles."lab/raw*"]\nreasoning_tag = ""\n'
        '[profiles."lab/odd*"]\nreasoning_tag = "scratch_pad"\n'
    )
    assert asked(create_llm_service("lab/m"), think) == ("Hm.\n", "Four.")
    assert asked(create_llm_service("lab/raw"), think) == ("", think)
    assert asked(create_llm_service("lab/odd"), "<scratch_pad>Hm.</scratch_pad> 4") == ("Hm.", "4")


@pytest.mark.parametrize("chunks", [1, 3, 40])
def test_reasoning_whose_opening_tag_is_part_of_the_prompt_is_read_where_the_profile_says_so(fake, chunks):
    def asked(model, text, **options):
        fake.reply(answer(text, chunks=min(chunks, len(text)), **options))
        effort = {"effort": "none"} if model.endswith("~") else {}
        response = create_llm_service(f"vllm/{model.rstrip('~')}", base_url=fake.base_url).chat("Hello", **effort)
        return response.reasoning, response.content

    opened, closed = "Qwen/Qwen3-4B-Thinking-2507", "Qwen/Qwen3-4B"
    assert asked(opened, "2 + 2 is <4.\n</think>\n\nFour.") == ("2 + 2 is <4.\n", "Four.")
    assert asked(opened, "<think>\nHm.</think>Four.") == ("Hm.", "Four.")
    assert asked(opened, "Four. </think>?", reasoning="Hm.") == ("Hm.", "Four. </think>?")
    assert asked(opened, "Hm, so", finish_reason="length") == ("Hm, so", "")
    assert asked(opened, "It is four.") == ("", "It is four.")
    assert asked(f"{opened}~", "Hm.</think>Four.") == ("", "Hm.</think>Four.")
    assert asked(closed, "Hm.</think>Four.") == ("", "Hm.</think>Four.")


def test_an_answer_without_the_end_of_its_reasoning_is_shown_and_timed_as_text(fake):
    fake.default = answer("It is four.", gap=0.01)
    service = create_llm_service("vllm/deepseek-r1", base_url=fake.base_url)
    assert "".join(service.stream("Hello")) == "It is four."
    timing = service.chat("Hello").timing
    assert timing.ttfo_s == timing.ttft_s
    assert timing.thinking_s is None


def test_a_user_says_that_the_opening_tag_is_part_of_the_prompt(fake, own_settings):
    (own_settings / "config.toml").write_text(
        f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n[profiles."lab/*"]\nreasoning_tag_opened = true\n'
    )
    fake.default = answer("Hm.</think>Four.")
    response = create_llm_service("lab/m").chat("Hello")
    assert (response.reasoning, response.content) == ("Hm.", "Four.")


def test_what_is_sent_back_is_bounded_because_empty_lists_take_much_memory(fake):
    service = OllamaService("m", base_url=fake.base_url)
    lists = [[]] * 60_000
    for what, deltas in {
        "values in the details of its reasoning": [{"reasoning_details": [{"data": lists}]}] * 2,
        "values beside its function calls": [
            {"tool_calls": [call(index=n, extra_content={"a": lists})]} for n in (0, 1)
        ],
    }.items():
        fake.reply(stream(*deltas))
        with pytest.raises(LLMError, match=f"m sent 12.* {what}"):
            service.chat("Hello", tools=[now])
