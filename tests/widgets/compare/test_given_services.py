"""Compared models that are services: their names are shown, their keys stay in the kernel."""

from __future__ import annotations

import json

import pytest

from ipyllm import CompareWidget, LLMError, OllamaService, OpenAIService, usage
from tests.widgets.compare.comparing import asked, shown, text_of

KEY = "sk-given-0123456789abcdefghij"


@pytest.fixture
def given(two):
    """Two services of one model at two addresses, with parameters of their own."""
    return [
        OpenAIService("good", base_url=two.base_url, api_key=KEY, temperature=0),
        OpenAIService("good", base_url=two.base_url.replace("127.0.0.1", "localhost"), api_key=KEY, temperature=1),
    ]


@pytest.fixture
def made(given):
    widget = CompareWidget(models=[*given, "openai/bad"], max_tokens=50)
    widget.sent_messages = []
    widget.channel._send = lambda message, buffers: widget.sent_messages.append(message)
    yield widget
    widget.close()


def test_services_are_asked_with_their_own_address_key_and_parameters(two, made):
    asked(made)
    assert [text_of(turn) for turn in shown(made).values()] == ["It is Bern.", "It is Bern.", "It is Basel."]
    by_temperature = {request.json.get("temperature"): request for request in two.requests}
    assert by_temperature.keys() == {0, 1, None}
    assert {request.json["max_tokens"] for request in two.requests} == {50}
    keys = {temperature: request.headers["authorization"] for temperature, request in by_temperature.items()}
    assert keys == {0: f"Bearer {KEY}", 1: f"Bearer {KEY}", None: "Bearer no-key-needed"}
    assert len({turn["label"] for turn in shown(made).values()}) == 3


def test_each_service_has_a_name_that_the_page_may_send_back(two, made, given):
    first, second, third = made.models
    assert (first, third) == ("openai/good", "openai/bad")
    assert second.startswith("openai/good at http://localhost")
    error = made._controller.set(arms=[{"model": second, "params": {"temperature": 0.5}}, {"model": third}])
    assert error is None
    asked(made)
    assert {request.json.get("temperature") for request in two.requests} == {0.5, None}
    made.models = [given[0], third]
    assert made.models == ["openai/good", "openai/bad"]
    assert [arm.model for arm in made.comparison.arms] == ["openai/good", "openai/bad"]


def test_no_key_reaches_the_page_the_file_or_the_ledger(two, made):
    asked(made)
    made.vote("A")
    for place in (
        json.dumps(made.sent_messages),
        json.dumps(made.get_state(), default=str),
        "".join(made._controller.static_content()),
        repr(made),
        repr(made._controller.settings),
        usage().to_csv(),
    ):
        assert KEY not in place


def test_a_parameter_that_a_service_does_not_take_is_refused_at_once(two, given):
    with pytest.raises(LLMError, match="temperature"):
        CompareWidget(models=given, each=[{"temperature": 9}, {}])
    with pytest.raises(LLMError, match="models must be a list of names"):
        CompareWidget(models=given[0])
    with pytest.raises(LLMError, match="models must be a list of names"):
        CompareWidget(models=[given[0], 7])


def test_efforts_are_those_of_the_given_services(two):
    widget = CompareWidget(models=[OllamaService("qwen3"), OpenAIService("gpt-6-luna")])
    assert widget._controller._settings()["models"][:2] == ["ollama/qwen3", "openai/gpt-6-luna"]
    widget.close()


def test_a_cell_that_runs_again_with_another_key_asks_with_it_and_keeps_what_was_set_in_the_page(two, given):
    models = ["openai/bad", given[0]]
    first = CompareWidget(models=models, name="keys")
    first._controller.set(system="Be brief.")
    again = CompareWidget(
        models=["openai/bad", OpenAIService("good", base_url=two.base_url, api_key="sk-other-0123456789")], name="keys"
    )
    asked(again)
    (sent,) = (request for request in two.requests if request.json["model"] == "good")
    assert sent.headers["authorization"] == "Bearer sk-other-0123456789"
    assert sent.json["messages"][0] == {"role": "system", "content": "Be brief."}
    first.close()
    again.close()
