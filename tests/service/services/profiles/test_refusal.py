"""A server's refusal of a parameter becomes one sentence, and is not asked for twice."""

from __future__ import annotations

import json

import pytest

from ipyllm import LLMError, OpenAIService
from tests import fakes

BODIES = {
    # as OpenAI, Google, Mistral, vLLM and Groq answer
    "unsupported parameter": (
        400,
        {"error": {"message": "Unsupported parameter: 'top_k' is not supported with this model.",
                   "type": "invalid_request_error", "param": "top_k", "code": "unsupported_parameter"}},
    ),
    "unknown name": (
        400,
        [{"error": {"code": 400, "status": "INVALID_ARGUMENT",
                    "message": 'Invalid JSON payload received. Unknown name "top_k": Cannot find field.'}}],
    ),
    "extra_forbidden": (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]},
    ),
    "unrecognized argument": (
        400,
        {"error": {"message": "Unrecognized request argument supplied: top_k", "type": "invalid_request_error"}},
    ),
    "not supported": (400, {"error": {"message": "property 'top_k' is unsupported", "type": "invalid_request_error"}}),
}  # fmt: skip


@pytest.fixture
def service(fake):
    return OpenAIService("new-model", base_url=fake.base_url, max_retries=0)


def refuse(status, body):
    return fakes.status(status, json.dumps(body))


@pytest.mark.parametrize("kind", BODIES)
def test_a_refused_parameter_is_named_with_what_to_vary_and_not_sent_again(service, fake, kind):
    fake.reply(refuse(*BODIES[kind]))
    with pytest.raises(LLMError, match=r"^openai/new-model takes no top_k; vary temperature \(HTTP 4") as first:
        service.chat("Hello", top_k=5, temperature=0)
    with pytest.raises(LLMError) as again:
        service.chat("Hello", top_k=6)
    assert (str(again.value), again.value.category) == (str(first.value), "bad_request")
    assert len(fake.requests) == 1
    assert service.chat("Hello").status == "ok"
    other = OpenAIService("other-model", base_url=fake.base_url)
    assert other.chat("Hello", top_k=5).status == "ok", "another model may take it"


def test_a_refused_value_leaves_other_values(service, fake):
    message = (
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) is supported."
    )
    fake.reply(refuse(400, {"error": {"message": message, "param": "temperature", "code": "unsupported_value"}}))
    with pytest.raises(LLMError, match=r"takes no temperature 0\.5; vary temperature"):
        service.chat("Hello", temperature=0.5)
    with pytest.raises(LLMError, match=r"takes no temperature 0\.5"):
        service.chat("Hello", temperature=0.5)
    assert service.chat("Hello", temperature=1).status == "ok"
    assert service.chat("Hello", temperature=0.5, effort="none").status == "ok", "another effort may take it"
    assert len(fake.requests) == 3


def test_a_refused_effort_is_refused_under_its_own_name(service, fake):
    fake.reply(refuse(400, {"error": {"message": "Unsupported value: 'reasoning_effort' does not support 'max'."}}))
    with pytest.raises(LLMError, match="takes no effort 'max'; vary temperature"):
        service.chat("Hello", effort="max")
    with pytest.raises(LLMError, match="takes no effort 'max'"):
        service.chat("Hello", effort="max")
    assert service.chat("Hello", effort="high").status == "ok"


def test_a_hint_that_the_server_refused_is_left_out_from_then_on(service, fake):
    from ipyllm.request import CallOptions

    fake.reply(refuse(*BODIES["unsupported parameter"]))
    hint = CallOptions({"top_k": 5})
    with pytest.raises(LLMError, match="takes no top_k"):
        service.chat("Hello", notebook_options=hint)
    assert service.chat("Hello", notebook_options=hint).not_applied == ("top_k",)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The prompt is not supported in your language."}},  # names no parameter
        {"error": {"message": "temperature must be at most 1"}},  # a bad value, not an unsupported one
        {"error": {"message": "Unsupported parameter: 'logit_bias'"}},  # one that was not sent
    ],
)
def test_other_refusals_stay_as_the_server_said_them(service, fake, body):
    fake.reply(refuse(400, body))
    with pytest.raises(LLMError, match="refused the request") as caught:
        service.chat("Hello", temperature=2)
    assert body["error"]["message"] in str(caught.value)
    assert service.chat("Hello", temperature=2).status == "ok"
