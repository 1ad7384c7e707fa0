"""The profiles against the providers' refusals: what passes our checks, the strict fake accepts."""

from __future__ import annotations

import json
from datetime import date

import pytest

from ipyllm import LLMError, create_llm_service
from ipyllm.services.profiles.wire import sent_name
from ipyllm.services.service_rows import service_rows
from tests.fakes.dialects import DIALECTS, Dialect

TODAY = date(2026, 11, 26)
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
MODELS = [
    *("openai/gpt-4o-mini", "openai/gpt-4.1", "openai/gpt-5", "openai/gpt-5-mini", "openai/o3", "openai/gpt-5.1"),
    *("openai/gpt-5.2", "openai/gpt-5.4-mini", "openai/gpt-5.5", "openai/gpt-5.6-sol", "openai/gpt-6-luna"),
    *("openai/gpt-6-sol", "openai/gpt-6-astra", "openai/gpt-6.1-terra", "openai/gpt-6.1-sol", "openai/gpt-6.2-sol"),
    *(f"{name}/{model}" for name, row in service_rows().items() for model in row.models),
    *(
        "azure/gpt-6-luna",
        "anthropic/claude-haiku-4-5",
        "gemini/gemini-2.5-flash",
        "xai/grok-4.20-0309",
        "xai/grok-4.6",
    ),
    *("deepseek/deepseek-flash", "ollama/llama3.2", "ollama/gpt-oss:20b", "vllm/m", "lmstudio/m", "llamacpp/m"),
]
PARAMETERS = {
    "temperature": 0.5, "top_p": 0.5, "presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7, "stop": ["END"],
    "max_tokens": 9, "logprobs": True, "logit_bias": {"5": 1}, "user": "me", "verbosity": "low",
}  # fmt: skip


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def service_and_dialect(full_name, monkeypatch):
    name = full_name.partition("/")[0]
    if name not in DIALECTS:
        pytest.skip(f"the fake has no dialect of {name}")
    service = create_llm_service(full_name, base_url="http://127.0.0.1:9/v1", api_key="sk-0123456789")
    monkeypatch.setattr(type(service), "retirement_note", lambda _: None)
    return service, Dialect.named(name, TODAY)


def refusal(service, dialect, **options):
    """Return the server's refusal of what ``chat`` would send; None if it is accepted, or refused before sending."""
    try:
        request = service.request("Hello", **options)
    except LLMError as error:
        if error.category != "bad_request":
            raise
        return None
    if request.tools:
        request = request.with_params(tools=[tool.as_openai() for tool in request.tools.values()])
    body = service.body(request)
    body.pop("stream_options")  # the transport sends a request again without it where it is refused
    refused = dialect.refusal(PATHS[service.api], body)
    return None if refused is None else json.loads(refused.body)


@pytest.mark.parametrize("name", MODELS)
def test_no_parameter_that_passes_is_refused_by_the_provider(name, monkeypatch):
    service, dialect = service_and_dialect(name, monkeypatch)
    for effort in (None, *(service.profile.efforts or ())):
        for parameter, value in {"effort": effort, **PARAMETERS}.items():
            given = {"effort": effort, parameter: value} if effort else {parameter: value}
            assert refusal(service, dialect, **given) is None, given


@pytest.mark.parametrize("name", MODELS)
def test_tools_that_pass_are_not_refused(name, monkeypatch):
    service, dialect = service_and_dialect(name, monkeypatch)
    for effort in (None, *(service.profile.efforts or ())):
        assert refusal(service, dialect, tools=[add], effort=effort) is None, effort


@pytest.mark.parametrize("name", MODELS)
def test_what_the_provider_accepts_is_not_refused_without_a_reason(name, monkeypatch):
    """A parameter that is refused before sending is refused by the provider too, or is one that it ignores."""
    service, dialect = service_and_dialect(name, monkeypatch)
    profile = service.profile
    for parameter, value in PARAMETERS.items():
        try:
            service.request("Hello", **{parameter: value})
        except LLMError as error:
            is_dropped = " ignores " in str(error) or name.startswith("openrouter/")
            if is_dropped or parameter == "verbosity":
                continue
            reason = str(error)
            sent = sent_name(profile, parameter, {})
            body = service.body(service.request("Hello")) | {sent: value}
            assert dialect.refusal(PATHS[service.api], body) is not None, reason
