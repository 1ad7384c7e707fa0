"""Tests the fallback from native mode to JSON mode to the prompt, for refused schemas and no other errors."""

from __future__ import annotations

import json

import pytest

from ipyllm import LLMError, OpenAIService
from ipyllm.structured import Schema, SchemaMismatch, next_mode
from tests import fakes
from tests.fakes import answer
from tests.service.structured.kinds import City

BERN = '{"name": "Bern", "people": 3, "nickname": null}'

REFUSALS = {
    "OpenAI, old model": (
        400,
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    ),
    "OpenAI, its limits": (
        400,
        "Invalid schema for response_format 'City': In context=(), 'additionalProperties' is required.",
    ),
    "Azure": (
        400,
        "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later",
    ),
    "DeepSeek": (400, "This response_format type is unavailable now"),
    "Groq": (400, "This model does not support response format `json_schema`."),
    "LM Studio": (400, "'response_format.type' must be 'json_schema' or 'text'"),
    "vLLM": (400, 'Grammar error: Unimplemented keys: ["patternProperties"]'),
    "pydantic": (422, "[{'type': 'extra_forbidden', 'loc': ['body', 'response_format']}]"),
    "llama.cpp": (400, "Failed to initialize samplers: failed to parse grammar"),
    "llama.cpp, its template": (
        400,
        "Unable to generate parser for this template: JSON schema error at #/properties/a",
    ),
    "not implemented": (501, "Structured output is not implemented for this model."),
}


def ask(service, schema, *, mode="native", repairs=1):
    """Ask for a schema as the service layer does, in short."""
    messages = [{"role": "user", "content": "Name a city."}]
    while True:
        system = None if mode == "native" else schema.instructions()
        params = {} if mode == "prompt" else {"response_format": schema.response_format(native=mode == "native")}
        try:
            text = service.chat(messages, system=system, **params).content
        except LLMError as exc:
            lower = next_mode(mode, exc)
            if lower is None:
                raise
            mode = lower
            continue
        try:
            return schema.parse(text), mode
        except SchemaMismatch as exc:
            if not repairs:
                raise
            repairs -= 1
            messages = [*messages, *schema.repair_messages(text, exc)]


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url, max_retries=0)


def format_of(request):
    return request.json.get("response_format", {}).get("type")


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_refuses_the_schema_is_asked_for_json_then_in_words(service, fake, refusal):
    code, message = REFUSALS[refusal]
    fake.on(lambda request: fakes.error(code, message) if format_of(request) == "json_schema" else answer(BERN))
    assert ask(service, Schema.of(City)) == (City(name="Bern", people=3), "json")
    fake.on(lambda request: fakes.error(code, message) if format_of(request) else answer(f"Sure: {BERN}"))
    assert ask(service, Schema.of(City)) == (City(name="Bern", people=3), "prompt")
    assert [format_of(request) for request in fake.requests][-3:] == ["json_schema", "json_object", None]
    assert "JSON" in fake.requests[-1].json["messages"][0]["content"]


@pytest.mark.parametrize(
    "script",
    [
        fakes.unauthorized("sk-wrong-key-0000"),
        fakes.rate_limited(),
        fakes.context_length_exceeded(),
        fakes.bad_json(),
        fakes.server_error(),
        fakes.model_not_found("json_schema-model"),
        fakes.error(400, "Invalid value for 'temperature'"),
        fakes.truncated("one two three", after=2),
    ],
)
def test_other_errors_are_raised_as_they_are(service, fake, script):
    fake.default = script
    with pytest.raises(LLMError):
        ask(service, Schema.of(City))
    assert len(fake.requests) == 1


def test_a_name_of_a_model_is_no_refusal():
    error = LLMError("grammar-7b failed", category="api_error", model="grammar-7b")
    assert next_mode("native", error) is None


def test_a_refusal_that_was_retried_is_still_a_refusal(fake):
    fake.on(lambda request: fakes.error(500, "grammar") if format_of(request) == "json_schema" else answer(BERN))
    service = OpenAIService("m", base_url=fake.base_url, max_retries=1)
    assert ask(service, Schema.of(City))[1] == "json"


def test_a_wrong_answer_is_put_right_when_the_model_is_told(service, fake):
    fake.reply(answer('{"people": "many"}'), answer(BERN))
    assert ask(service, Schema.of(City)) == (City(name="Bern", people=3), "native")
    _, said, correction = fake.requests[-1].json["messages"]
    assert said == {"role": "assistant", "content": '{"people": "many"}'}
    assert "name: Field required" in correction["content"]


def test_an_answer_that_stays_wrong_is_reported(service, fake):
    fake.default = answer("I will not.")
    with pytest.raises(SchemaMismatch, match="no JSON"):
        ask(service, Schema.of(City))
    assert len(fake.requests) == 2


def test_the_instructions_for_servers_without_schemas_end_with_the_schema():
    asked, _, schema = Schema.of(bool).instructions().partition(":\n")
    assert asked.startswith("Answer with one JSON object and nothing else")
    assert json.loads(schema) == Schema.of(bool).json_schema
