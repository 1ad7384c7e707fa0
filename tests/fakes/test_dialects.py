"""The fake refuses what each provider refuses, with its words, and nothing else."""

import json
import re
from datetime import date
from pathlib import Path

import openai
import pytest

from tests.fakes import FakeLLM, answer, dialects
from tests.fakes.dialects import DIALECTS, Dialect

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
TODAY = date(2026, 11, 26)
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
FLAT_TOOL = {"type": "function", "name": "add", "parameters": {}, "strict": None}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function"}, {"id": "b"}]}
SIGNED = CALLED | {"tool_calls": [{"id": "a", "extra_content": {"google": {"thought_signature": "x"}}}, {"id": "b"}]}
THOUGHT = CALLED | {"reasoning_content": "Hm."}
USER = {"role": "user", "content": "hi"}


def chat(model, **sent):
    return CHAT, {"model": model, "messages": [USER]} | sent


def responses(model, **sent):
    return RESPONSES, {"model": model, "input": "hi"} | sent


REFUSED = [
    # dialect, request, status, a part of the words
    ("openai", chat("gpt-6.1-luna", temprature=0), 400, "Unknown parameter: 'temprature'."),
    ("openai", chat("gpt-6-luna", reasoning={"effort": "low"}), 400, "Unknown parameter: 'reasoning'."),
    ("openai", chat("gpt-6-luna", top_k=5), 400, "Unknown parameter: 'top_k'."),
    ("openai", responses("gpt-6-luna", stop=["x"]), 400, "Unknown parameter: 'stop'."),
    ("openai", responses("gpt-6-luna", seed=1), 400, "Unknown parameter: 'seed'."),
    ("openai", responses("gpt-6-luna", max_tokens=1), 400, "Unknown parameter: 'max_tokens'."),
    ("openai", responses("gpt-6-luna", messages=[USER]), 400, "Unknown parameter: 'messages'."),
    ("openai", chat("gpt-6-luna", max_tokens=5), 400, "Use 'max_completion_tokens' instead."),
    ("openai", chat("gpt-5-mini-2025-08-07", max_tokens=5), 400, "Use 'max_completion_tokens' instead."),
    ("openai", chat("o3", max_tokens=5), 400, "Use 'max_completion_tokens' instead."),
    ("openai", chat("o3", stop="x"), 400, "Unsupported parameter: 'stop'"),
    ("openai", chat("gpt-5-mini", temperature=0), 400, "'temperature' does not support 0 with this model."),
    ("openai", chat("gpt-6-astra", temperature=0.5), 400, "Only the default (1) value is supported."),
    ("openai", chat("gpt-6-luna", temperature=0), 400, "'temperature' does not support 0 with this model."),
    ("openai", responses("gpt-5.5", temperature=0), 400, "'temperature' does not support 0 with this model."),
    ("openai", chat("gpt-5.4", temperature=0, reasoning_effort="low"), 400, "'temperature' does not support 0"),
    ("openai", chat("gpt-6.2-sol", temperature=1), 400, "Unsupported parameter: 'temperature'"),
    ("openai", chat("gpt-5", top_p=0.5), 400, "Unsupported parameter: 'top_p'"),
    ("openai", chat("gpt-6.1-sol", logprobs=True), 400, "Unsupported parameter: 'logprobs'"),
    ("openai", responses("gpt-6.2-sol", top_logprobs=3), 400, "Unsupported parameter: 'top_logprobs'"),
    ("openai", chat("gpt-6.1-terra", presence_penalty=0.5), 400, "Unsupported parameter: 'presence_penalty'"),
    ("openai", chat("gpt-4.1", reasoning_effort="low"), 400, "Unsupported parameter: 'reasoning_effort'"),
    ("openai", responses("gpt-4o-mini", reasoning={"effort": "low"}), 400, "Unsupported parameter: 'reasoning.effort'"),
    ("openai", chat("gpt-6-luna", reasoning_effort="minimal"), 400, "Supported values are: 'none', 'low', 'medium', "),
    (
        "openai",
        responses("gpt-6.1-sol", reasoning={"effort": "none"}),
        400,
        "'reasoning.effort' does not support 'none'",
    ),
    ("openai", chat("gpt-5.4", tools=[TOOL], reasoning_effort="none"), 400, "Please use /v1/responses instead."),
    ("openai", chat("gpt-5.5", tools=[TOOL], reasoning_effort="low"), 400, "not supported for gpt-5.5 in /v1/chat"),
    ("openai", chat("gpt-5.6-terra", tools=[TOOL]), 400, "use /v1/responses or set reasoning_effort to 'none'"),
    ("openai", chat("gpt-6-luna", tools=[TOOL], reasoning_effort="low"), 400, "or set reasoning_effort to 'none'"),
    ("openai", chat("gpt-6.2-sol", tools=[TOOL]), 400, "Please use /v1/responses instead."),
    ("openai", chat("gpt-5.2-codex"), 404, "only supported in v1/responses"),
    ("openai", chat("gpt-5.5-pro"), 404, "only supported in v1/responses"),
    ("openai", chat("gpt-4.1", stream_options={"include_usage": True}), 400, "only allowed when 'stream' is enabled"),
    (
        "openai",
        responses("gpt-6-luna", stream=True, stream_options={"include_usage": True}),
        400,
        "'stream_options.include_usage'",
    ),
    ("openai", responses("gpt-6-luna", tools=[FLAT_TOOL, TOOL]), 400, "parameter: 'tools[1].name'."),
    (
        "openai",
        responses("gpt-6-luna", tool_choice={"type": "function", "function": {}}),
        400,
        "'tool_choice.function'",
    ),
    (
        "openai",
        responses("gpt-6-luna", store=False, input=[{"type": "message"}, {"type": "reasoning", "id": "rs_1"}]),
        404,
        "Items are not persisted when `store` is set to false",
    ),
    ("openai", chat("o4-mini"), 404, "deprecated"),
    ("azure", chat("gpt-5-mini", temperature=0), 400, "Only the default (1) value is supported."),
    ("anthropic", chat("claude-haiku-5-5", temperature=0), 400, "temperature is deprecated for this model."),
    ("anthropic", chat("claude-opus-4-7-20260416", top_p=0.5), 400, "top_p is deprecated for this model."),
    ("anthropic", chat("claude-haiku-5-5", n=2), 400, "n: Input should be 1"),
    ("anthropic", chat("claude-opus-5-5", tools=[TOOL], tool_choice="required"), 400, "forced tool use"),
    ("anthropic", chat("claude-opus-5-5", thinking={"type": "disabled"}), 400, "thinking.type"),
    ("anthropic", chat("claude-sonnet-5", thinking={"budget_tokens": 1024}), 400, "budget_tokens"),
    ("anthropic", (MESSAGES, {"model": "claude-haiku-5-5", "messages": []}), 400, "max_tokens: Field required"),
    ("gemini", chat("gemini-3.5-flash-lite", seed=1), 400, 'Unknown name "seed": Cannot find field.'),
    ("gemini", chat("models/gemini-3.5-flash", frequency_penalty=1), 400, 'Unknown name "frequency_penalty"'),
    ("gemini", chat("gemini-3.8-flash", messages=[USER, SIGNED, CALLED]), 400, "missing a thought_signature"),
    ("gemini", chat("gemini-3.1-pro-preview", reasoning_effort="minimal"), 400, "does not support 'minimal'"),
    ("deepseek", chat("deepseek-flash", tools=[TOOL], messages=[USER, CALLED]), 400, "must be passed back to the API"),
    (
        "deepseek",
        chat("deepseek-flash", tools=[TOOL], messages=[USER, THOUGHT, {"role": "assistant", "content": "Yes."}]),
        400,
        "must be passed back to the API",
    ),
    ("deepseek", chat("deepseek-flash", tool_choice="required"), 400, "does not support this tool_choice"),
    ("deepseek", chat("deepseek-flash", response_format={"type": "json_schema"}), 400, "response_format type"),
    ("deepseek", chat("deepseek-chat"), 400, "Model Not Exist"),
    ("mistral", chat("mistral-small-latest", seed=1), 422, "Extra inputs are not permitted"),
    ("mistral", chat("mistral-small-latest", max_completion_tokens=1), 422, "max_completion_tokens"),
    ("mistral", chat("mistral-small-latest", stream=True, stream_options={}), 422, "stream_options"),
    ("mistral", chat("mistral-small-latest", logprobs=True), 422, "logprobs"),
    ("mistral", chat("mistral-small-latest", messages=[USER, THOUGHT]), 422, "reasoning_content"),
    ("mistral", chat("mistral-medium-3-5", reasoning_effort="low"), 400, "'low'"),
    ("groq", chat("openai/gpt-oss-20b", logprobs=True), 400, "property 'logprobs' is unsupported"),
    ("groq", chat("openai/gpt-oss-20b", n=2), 400, "'n'"),
    ("groq", chat("openai/gpt-oss-20b", messages=[USER | {"name": "Ada"}]), 400, "'messages.0' : property 'name'"),
    ("groq", chat("openai/gpt-oss-20b", messages=[USER, THOUGHT]), 400, "property 'reasoning_content' is unsupported"),
    ("groq", chat("qwen/qwen3-32b", reasoning_format="raw", include_reasoning=True), 400, "include_reasoning"),
    ("groq", chat("qwen/qwen3-32b", reasoning_effort="low"), 400, "'none', 'default'"),
    (
        "xai",
        chat("grok-4.20-0309-reasoning", reasoning_effort="low"),
        400,
        "does not support parameter reasoningEffort",
    ),
    ("xai", chat("grok-4.6", presence_penalty=0), 400, "Model grok-4.6 does not support parameter presencePenalty."),
    ("xai", chat("grok-4.6", frequency_penalty=0), 400, "frequencyPenalty"),
    ("xai", chat("grok-4.7", stop=["x"]), 400, "does not support parameter stop."),
    ("xai", chat("grok-4.5", reasoning_effort="none"), 400, "'none'"),
    ("cerebras", chat("gpt-oss-120b", parallel_tool_calls=True), 400, "parallel_tool_calls"),
    ("cerebras", chat("gpt-oss-120b", messages=[USER, THOUGHT]), 400, "messages.1.assistant.reasoning_content"),
    ("moonshot", chat("kimi-k2.6", messages=[USER, CALLED]), 400, "assistant tool call message at index 1"),
    ("moonshot", chat("kimi-k2.6", thinking={"type": "enabled"}, reasoning_effort="low"), 400, "cannot specify both"),
    ("moonshot", chat("kimi-k2.6", reasoning_effort="none"), 400, "none"),
    ("moonshot", chat("kimi-k2.6", tool_choice="required"), 400, "incompatible with thinking"),
    ("moonshot", chat("kimi-k3.1-pro", thinking={"type": "disabled"}), 400, "cannot be disabled"),
    (
        "fireworks",
        chat("accounts/fireworks/models/kimi-k3p1-pro", thinking={"budget_tokens": 2048}, reasoning_effort="low"),
        400,
        "Only one of",
    ),
    ("zai", chat("GLM-5.3", reasoning_effort="medium"), 400, "'low', 'high', 'max'"),
    ("huggingface", chat("openai/gpt-oss-20b:cheapest", logprobs=True, top_logprobs=6), 400, "between 0 and 5"),
    ("strict", chat("tiny", stream=True, stream_options={"include_usage": True}), 422, "stream_options"),
    ("strict", chat("tiny", max_completion_tokens=5), 422, "max_completion_tokens"),
    ("vllm", responses("tiny", input=[{"type": "reasoning", "encrypted_content": "x"}]), 400, "encrypted_content"),
]

ACCEPTED = [
    ("openai", chat("gpt-6-luna", max_completion_tokens=5, verbosity="low", service_tier="flex")),
    ("openai", chat("gpt-6-luna", temperature=1)),
    ("openai", chat("gpt-6-luna", temperature=None, top_p=None)),
    ("openai", chat("gpt-6-luna", temperature=0, top_p=0.5, logprobs=True, reasoning_effort="none")),
    ("openai", chat("gpt-5.4", temperature=0)),
    ("openai", chat("gpt-4.1", temperature=0, top_p=0.5, stop="x", seed=1, max_tokens=5, tools=[TOOL])),
    ("openai", chat("gpt-4.1", stream=True, stream_options={"include_usage": True})),
    ("openai", chat("gpt-5.1", tools=[TOOL], reasoning_effort="high")),
    ("openai", chat("gpt-5.4", tools=[TOOL])),
    ("openai", chat("gpt-6-luna", tools=[TOOL], reasoning_effort="none")),
    ("openai", responses("gpt-6.2-sol", tools=[FLAT_TOOL], reasoning={"effort": "low"}, max_output_tokens=5)),
    ("openai", responses("gpt-6-luna", stream=True, stream_options={"include_obfuscation": False})),
    ("openai", responses("gpt-6-luna", store=False, input=[{"type": "reasoning", "encrypted_content": "x"}])),
    ("openai", responses("gpt-6-luna", input=[{"type": "reasoning", "id": "rs_1"}])),
    ("openai", chat("gpt-9.5-nova")),
    ("anthropic", chat("claude-sonnet-4-6", temperature=0, max_tokens=5)),
    ("anthropic", chat("claude-haiku-5-5", n=1, tools=[TOOL], tool_choice="required", seed=1)),
    ("anthropic", (MESSAGES, {"model": "claude-haiku-5-5", "messages": [], "max_tokens": 5})),
    ("gemini", chat("gemini-3.5-flash-lite", temperature=0, max_completion_tokens=5, reasoning_effort="low")),
    ("gemini", chat("gemini-3.8-flash", messages=[USER, SIGNED])),
    ("gemini", chat("gemini-2.5-flash-lite", messages=[USER, CALLED], reasoning_effort="none")),
    ("deepseek", chat("deepseek-flash", tools=[TOOL], messages=[USER, THOUGHT], temperature=0)),
    ("deepseek", chat("deepseek-flash", messages=[USER, CALLED])),
    (
        "deepseek",
        chat(
            "deepseek-flash",
            tools=[TOOL],
            messages=[USER, CALLED],
            thinking={"type": "disabled"},
            tool_choice="required",
        ),
    ),
    ("mistral", chat("mistral-small-latest", random_seed=1, max_tokens=5, tool_choice="any", reasoning_effort="high")),
    ("groq", chat("openai/gpt-oss-20b", n=1, reasoning_effort="low", reasoning_format="parsed")),
    ("xai", chat("grok-4.3", reasoning_effort="none", temperature=0)),
    ("cerebras", chat("gpt-oss-120b", temperature=0)),
    ("moonshot", chat("kimi-k2.6", messages=[USER, THOUGHT])),
    ("moonshot", chat("kimi-k2.6", messages=[USER, CALLED], thinking={"type": "disabled"}, tool_choice="required")),
    ("huggingface", chat("openai/gpt-oss-20b:cheapest", logprobs=True, top_logprobs=5)),
    ("ollama", chat("llama3.2", max_completion_tokens=5, anything=1)),
    ("strict", chat("tiny", stream=True, max_tokens=5)),
    ("vllm", chat("tiny", chat_template_kwargs={})),
]


@pytest.mark.parametrize(("dialect", "request_", "status", "words"), REFUSED)
def test_what_a_provider_refuses(dialect, request_, status, words):
    refusal = Dialect.named(dialect, TODAY).refusal(*request_)
    assert refusal is not None
    assert refusal.status == status
    assert words in json.dumps(json.loads(refusal.body), ensure_ascii=False).replace('\\"', '"')


@pytest.mark.parametrize(("dialect", "request_"), ACCEPTED)
def test_what_a_provider_accepts(dialect, request_):
    assert Dialect.named(dialect, TODAY).refusal(*request_) is None


def test_each_rule_is_met_by_a_request():
    met = set()
    for name, request, *_ in REFUSED:
        dialect = Dialect.named(name, TODAY)
        parameters = dialect.parameters(*request)
        met |= {(name, i) for i, rule in enumerate(dialect.rules) if rule.finding(parameters) is not None}
    own = {(name, rule) for name in DIALECTS for rule in range(len(dialects.TABLE[name].get("rules", ())))}
    assert own - met - {("azure", 0)} == set()  # that of Azure is about the address


def test_each_rule_names_its_source():
    lines = (Path(dialects.__file__).with_name("dialects.toml")).read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if re.match(r"\[\[\w+\.rules\]\]", line)]
    assert len(rules) > 40
    assert [line for line in rules if not re.search(r"\]\] # \S+", line)] == []


@pytest.mark.parametrize(
    ("dialect", "request_", "body"),
    [
        (
            "openai",
            chat("gpt-5", temperature=0.5),
            {
                "error": {
                    "message": "Unsupported value: 'temperature' does not support 0.5 with this model. "
                    "Only the default (1) value is supported.",
                    "type": "invalid_request_error",
                    "param": "temperature",
                    "code": "unsupported_value",
                }
            },
        ),
        (
            "gemini",
            chat("gemini-3.5-flash", seed=1),
            [
                {
                    "error": {
                        "code": 400,
                        "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
                        "status": "INVALID_ARGUMENT",
                        "details": [
                            {
                                "@type": "type.googleapis.com/google.rpc.BadRequest",
                                "fieldViolations": [
                                    {
                                        "description": 'Invalid JSON payload received. Unknown name "seed": '
                                        "Cannot find field."
                                    }
                                ],
                            }
                        ],
                    }
                }
            ],
        ),
        (
            "mistral",
            chat("mistral-small-latest", max_completion_tokens=32000),
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "max_completion_tokens"],
                            "msg": "Extra inputs are not permitted",
                            "input": 32000,
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
        (
            "xai",
            chat("grok-4.20-0309-reasoning", reasoning_effort="low"),
            {
                "code": "invalid-argument",
                "error": "Model grok-4.20-0309-reasoning does not support parameter reasoningEffort.",
            },
        ),
    ],
)
def test_error_bodies_are_those_that_were_reported(dialect, request_, body):
    assert json.loads(Dialect.named(dialect, TODAY).refusal(*request_).body) == body


def test_models_retire_on_their_day():
    request = chat("gpt-5-mini")
    assert Dialect.named("openai", date(2026, 12, 10)).refusal(*request) is None
    assert Dialect.named("openai", date(2026, 12, 11)).refusal(*request).status == 404


def test_azure_takes_no_api_version():
    refusal = Dialect.named("azure", TODAY).refusal(CHAT, {"model": "mine", "messages": []}, "api-version=2026-01-01")
    assert "api-version" in json.loads(refusal.body)["error"]["message"]


def test_the_server_speaks_a_dialect_until_it_is_told_otherwise():
    with FakeLLM() as fake, openai.OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        fake.default = answer("Hello")
        fake.speak_as("openai", TODAY)

        def ask(**options):
            return (
                client.chat.completions.create(model="gpt-6-luna", messages=[USER], **options)
                .choices[0]
                .message.content
            )

        with pytest.raises(openai.BadRequestError, match="Only the default") as refused:
            ask(temperature=0)
        assert (refused.value.param, refused.value.code) == ("temperature", "unsupported_value")
        assert ask() == "Hello"
        fake.speak_as("mistral")
        with pytest.raises(openai.UnprocessableEntityError):
            ask(seed=1)
        fake.speak_as(None)
        assert ask(temperature=0, seed=1) == "Hello"
        assert len(fake.requests) == 4


def test_other_paths_are_not_refused():
    with FakeLLM() as fake, openai.OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        fake.speak_as("openai", TODAY)
        assert [model.id for model in client.models.list()] == ["fake-model"]
