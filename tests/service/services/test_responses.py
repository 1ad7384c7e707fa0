"""The Responses API: what is sent, what comes back, and what a later turn sends again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from ipyllm import LLMError, OpenAIService, create_llm_service, summarise
from ipyllm.rendering import footer_text
from ipyllm.settings import SettingsError
from tests import fakes
from tests.fakes import answer
from tests.ledger_rows import rows

MODEL = "openai/gpt-6.2-sol"
REFUSAL = "I can't help with that."


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


class City(BaseModel):
    name: str


# ---- the request ---------------------------------------------------------------------------------------


def test_a_request_keeps_nothing_at_the_server_and_asks_for_the_encrypted_reasoning(sol, strict):
    sol.chat("Hi", system="Be brief.", effort="low", verbosity="low", max_tokens=50, prompt_cache_key="nb-7")
    [request] = strict.requests
    assert request.path == "/v1/responses"
    assert request.json == {
        "model": "gpt-6.2-sol",
        "input": [{"role": "user", "content": "Hi"}],
        "instructions": "Be brief.",
        "stream": True,
        "stream_options": {"include_obfuscation": False},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "max_output_tokens": 50,
        "prompt_cache_key": "nb-7",
    }


def test_tools_and_schemas_are_flat(sol, strict):
    strict.default = answer('{"name": "Bern"}')
    response = sol.chat(
        "Where?",
        tools=[add],
        schema=City,
        verbosity="low",
        tool_choice={"type": "function", "function": {"name": "add"}},
    )
    assert response.parsed == City(name="Bern")
    sent = strict.requests[0].json
    [tool] = sent["tools"]
    assert (tool["type"], tool["name"], tool["strict"]) == ("function", "add", False)
    assert set(tool["parameters"]["properties"]) == {"a", "b"}
    assert sent["tool_choice"] == {"type": "function", "name": "add"}
    assert (sent["text"]["verbosity"], sent["text"]["format"]["type"]) == ("low", "json_schema")
    assert (sent["text"]["format"]["name"], sent["text"]["format"]["strict"]) == ("City", True)
    assert "name" in sent["text"]["format"]["schema"]["properties"]


def test_a_tool_that_is_strict_stays_so_and_one_of_the_servers_own_is_sent_as_it_is(sol):
    tools = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}, {"type": "web_search"}]
    request = sol.request("Hi").with_params(tools=tools)
    assert sol.body(request)["tools"] == [
        {"type": "function", "name": "f", "strict": True, "parameters": {}},
        {"type": "web_search"},
    ]


def test_images_and_later_system_messages_are_sent_as_input(sol, strict):
    url = "data:image/png;base64,AAAA"
    sol.chat(
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}],
            },
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]},
        ]
    )
    sent = strict.requests[0].json
    assert sent["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What?"},
                {"type": "input_image", "image_url": url, "detail": "auto"},
            ],
        },
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_image", "image_url": url, "detail": "low"}]},
    ]
    assert "instructions" not in sent


def test_a_system_message_in_parts_is_text(sol, strict):
    parts = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    sol.chat([{"role": "system", "content": parts}, {"role": "user", "content": "Hi"}])
    assert strict.requests[0].json["instructions"] == "Be brief.\nBe kind."


def test_instructions_alone_are_the_input(sol, strict):
    sol.chat([{"role": "system", "content": "Say hello."}])
    assert strict.requests[0].json["input"] == [{"role": "system", "content": "Say hello."}]


def test_logprobs_are_asked_for_by_include(fake):
    service = OpenAIService("gpt-5.6-luna", base_url=fake.base_url)
    service.chat("Hi", effort="none", logprobs=True, top_logprobs=3)
    sent = fake.requests[0].json
    assert (sent["top_logprobs"], "logprobs" in sent) == (3, False)
    assert sent["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]


def test_what_the_call_says_about_storing_and_including_holds(sol, strict):
    sol.chat("Hi", store=True, include=[], extra_body={"reasoning": {"summary": "auto"}}, effort="low")
    sent = strict.requests[0].json
    assert (sent["store"], "include" in sent, sent["reasoning"]) == (True, False, {"effort": "low", "summary": "auto"})


@pytest.mark.parametrize("name", ["stop", "seed", "presence_penalty", "logit_bias"])
def test_what_the_api_does_not_have_is_refused_before_sending(sol, strict, name):
    with pytest.raises(LLMError, match=f"takes no {name}.*; (vary effort: low|leave it out)") as caught:
        sol.chat("Hi", **{name: {"1": 1} if name == "logit_bias" else ["x"] if name == "stop" else 1})
    assert (caught.value.category, strict.requests) == ("bad_request", [])


def test_an_endpoint_is_asked_through_the_api_of_its_settings(fake, own_settings):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\napi = "responses"\n')
    lab = create_llm_service("lab/m")
    assert lab.chat("Hi", temperature=0).content == "Hello from the fake."
    assert (fake.requests[0].path, fake.requests[0].json["temperature"]) == ("/v1/responses", 0)
    with pytest.raises(LLMError, match="lab/m takes no seed on the Responses API"):
        lab.chat("Hi", seed=7)


def test_a_misspelt_api_is_named(own_settings):
    (own_settings / "config.toml").write_text('[endpoints.lab]\nbase_url = "http://h/v1"\napi = "response"\n')
    with pytest.raises(SettingsError, match=r"endpoints\.lab\.api"):
        create_llm_service("lab/m")


# ---- the answer ----------------------------------------------------------------------------------------


def test_reasoning_usage_and_items_come_back(sol, strict):
    strict.default = answer("one two three", reasoning="let me think", cached_tokens=5)
    response = sol.chat("Hi")
    assert (response.content, response.reasoning, response.finish_reason) == ("one two three", "let me think", "stop")
    usage = response.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (10, 5, 6, 3)
    assert usage.visible_tokens == 3
    assert [item["type"] for item in response.output_items] == ["reasoning", "message"]
    assert "gAAA" not in repr(response)


def test_the_rate_leaves_out_a_summary_whose_tokens_are_not_those_counted(sol, strict):
    strict.default = answer("one two three", reasoning="let me think", gap=0.05)
    assert sol.chat("Hi").timing.output_tps is None


def test_an_answer_that_was_all_reasoning_says_so(sol, strict):
    strict.default = answer("", reasoning="let me think", finish_reason="length")
    response = sol.chat("Hi", max_tokens=16)
    assert (response.status, response.finish_reason, response.content) == ("ok", "length", "")
    assert footer_text(response).startswith("stopped at max_tokens before the answer began")


def event(name, **fields):
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n"


def stream_of(*events):
    return fakes.status(200, "".join(events), {"content-type": "text/event-stream"})


DELTA = event("response.output_text.delta", output_index=0, content_index=0, delta="One")
FAILED = {"status": "failed", "usage": {"input_tokens": 9, "output_tokens": 1}}
QUOTA = {
    "type": "insufficient_quota",
    "code": "insufficient_quota",
    "message": "You exceeded your quota.",
    "param": None,
}


@pytest.mark.parametrize(
    ("events", "category"),
    [
        ([event("error", error=QUOTA), event("response.failed", response=FAILED | {"error": QUOTA})], "quota"),
        ([event("error", **{**QUOTA, "type": "error"})], "quota"),
        ([f"data: {json.dumps({**QUOTA, 'type': 'error'})}\n\n"], "quota"),
        (
            [event("response.failed", response=FAILED | {"error": {"code": "server_error", "message": "…"}})],
            "api_error",
        ),
        ([event("response.failed", response=FAILED | {"error": None})], "api_error"),
        (
            [event("response.failed", response=FAILED | {"error": {"code": "rate_limit_exceeded", "message": "…"}})],
            "rate_limit",
        ),
        ([], "truncated"),
    ],
    ids=["nested", "flat", "flat without its name", "failed", "failed without words", "rate limit", "cut off"],
)
@pytest.mark.parametrize("begun", [True, False], ids=["after text", "at once"])
def test_a_failure_after_status_200_is_an_error_and_keeps_what_came(sol, strict, events, category, begun):
    strict.default = stream_of(*([DELTA] if begun else []), *events)
    with pytest.raises(LLMError) as caught:
        sol.chat("Hi")
    assert (caught.value.category, caught.value.partial.content) == (category, "One" if begun else "")
    if events and "response.failed" in events[0]:
        assert caught.value.partial.usage.input_tokens == 9


def test_a_whole_response_that_failed_is_an_error(sol, strict):
    strict.default = fakes.status(
        200, {"object": "response", **FAILED, "error": {"code": "server_error", "message": "Oh"}}
    )
    with pytest.raises(LLMError, match="Oh") as caught:
        sol.chat("Hi")
    assert (caught.value.category, caught.value.partial.usage.output_tokens) == ("api_error", 1)


def test_the_stream_ends_with_the_response_not_with_the_connection(sol, strict):
    done = event("response.completed", response={"status": "completed", "model": "m", "usage": None})
    strict.default = replace(stream_of(DELTA, done, DELTA), ending="hang")
    assert sol.chat("Hi").content == "One"


def test_a_server_that_may_not_have_the_api_is_told_from_one_that_has_it_not(fake):
    fake.default = fakes.error(404, "Not Found", kind=None)
    with pytest.raises(
        LLMError, match=r'If this server has no Responses API, set api = "chat" under \[profiles'
    ) as caught:
        OpenAIService("gpt-6.2-sol", base_url=fake.base_url, max_retries=0).chat("Hi")
    assert (caught.value.category, str(caught.value).count("\n")) == ("not_found", 0)
    with pytest.raises(LLMError) as caught:
        OpenAIService("other-model", base_url=fake.base_url, max_retries=0).chat("Hi")
    assert "Responses API" not in str(caught.value)


# ---- refusals, on both APIs ------------------------------------------------------------------------------


@pytest.fixture(params=["gpt-6.2-sol", "other-model"], ids=["responses", "chat"])
def either(request, fake):
    return OpenAIService(request.param, base_url=fake.base_url, max_retries=0)


def test_a_refusal_is_the_content_is_marked_and_is_counted(either, fake):
    fake.default = answer(refusal=REFUSAL)
    response = either.chat("Hi")
    assert (response.content, response.refused, response.status) == (REFUSAL, True, "ok")
    assert footer_text(response).startswith("refused · ")
    fake.default = answer("Yes")
    assert not either.chat("Hi").refused
    frame = rows()
    assert list(frame.refused) == [True, False]
    assert summarise(frame, by="model").refused.to_list() == [1]


def test_a_refusal_that_was_not_streamed_is_one_too(either, fake):
    fake.default = fakes.ignores_stream(answer(refusal=REFUSAL))
    response = either.chat("Hi")
    assert (response.content, response.refused) == (REFUSAL, True)


def test_with_a_schema_a_refusal_is_an_error_at_once(either, fake):
    fake.default = answer(refusal=REFUSAL)
    with pytest.raises(LLMError, match=f"{either.full_name} refused to answer: {REFUSAL}") as caught:
        either.chat("Hi", schema=City, repairs=3)
    assert (caught.value.category, len(fake.requests)) == ("refusal", 1)
    assert (caught.value.partial.content, caught.value.partial.refused) == (REFUSAL, True)


def test_a_refusal_is_in_the_cache_as_one(either, fake, own_settings):
    fake.default = answer(refusal=REFUSAL)
    either.chat("Hi", cache=True)
    hit = either.chat("Hi", cache=True)
    assert (hit.cache_hit, hit.refused, hit.content) == (True, True, REFUSAL)


# ---- a real server that has both APIs ----------------------------------------------------------------------


@pytest.mark.local_model
def test_llama_cpp_answers_alike_on_both_apis(own_settings):
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    ask = {"conversation_history": history, "system": "Be brief.", "temperature": 0, "max_tokens": 12}
    by_chat = create_llm_service("local/smollm2-135m").chat("Name a colour.", **ask)
    (own_settings / "config.toml").write_text('[profiles."local/*"]\napi = "responses"\n')
    service = create_llm_service("local/smollm2-135m")
    first = service.chat("Name a colour.", **ask)
    assert (first.content, first.usage.output_tokens) == (by_chat.content, by_chat.usage.output_tokens)
    assert first.usage.input_tokens == by_chat.usage.input_tokens
    assert (first.status, first.cost_usd, first.response_model) == ("ok", 0.0, "smollm2-135m")
    assert first.timing.n_chunks > 1
    again = [*history, {"role": "user", "content": "Name a colour."}, first.as_message()]
    assert service.chat("Another.", conversation_history=again, max_tokens=5).status == "ok"


def test_a_request_to_the_responses_api_is_estimated_by_its_items_and_what_the_model_reads():
    from ipyllm.conversations.hidden_tokens import kind_of
    from ipyllm.conversations.tokens import estimate_body

    chat = {"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    items = {
        "model": "m",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream_options": {"include_obfuscation": False},
    }
    assert abs(estimate_body(items) - estimate_body(chat)) <= 4, "the system message has no frame of its own"
    image = {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + "A" * 90_000}]}
    assert 4096 < estimate_body({"input": [image]}) < 4200
    with_effort = {**items, "reasoning": {"effort": "low"}}
    assert kind_of("u", with_effort) != kind_of("u", items) != kind_of("u", {**items, "input": [image]})
