"""Valid arguments, the request that is sent, and refusals before anything is sent."""

from __future__ import annotations

import pickle
import threading

import pytest

from ipyllm import LLMError, OllamaService, OpenAIService
from ipyllm.runtime.service_thread import service_thread, stop_service_thread
from tests.fakes import answer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"temperature": "hot"}, "temperature must be a number between 0 and 2, not 'hot'"),
        ({"temperature": 3}, "between 0 and 2"),
        ({"max_tokens": 0}, "max_tokens must be a whole number of at least 1"),
        ({"max_tokens": 1.5}, "whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"messages": []}, "set by ipyllm"),
        ({"stop": 3}, "stop must be"),
        ({"timeout": 0}, "timeout must be"),
        ({"max_retries": -1}, "max_retries must be"),
        ({"conversation_history": ["Hello"]}, "A message looks like"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(fake, arguments, said):
    with pytest.raises(LLMError, match=said) as caught:
        OpenAIService("m", base_url=fake.base_url).chat("Hello", **arguments)
    assert caught.value.category == "bad_request"
    assert not fake.requests


@pytest.mark.parametrize("prompt", ["", "  \n", []])
def test_an_empty_prompt_is_refused(fake, prompt):
    with pytest.raises(LLMError, match="empty"):
        OllamaService("m", base_url=fake.base_url).chat(prompt)


@pytest.mark.parametrize("prompt", ['{"a": {"b": 1}} %s $HOME', "emoji 🎉 漢字 \u202e", "nul \0 byte", "x" * 1_000_000])
def test_any_text_arrives_as_it_was_written(fake, prompt):
    OllamaService("m", base_url=fake.base_url).chat(prompt)
    assert fake.requests[-1].json["messages"][-1]["content"] == prompt


def test_a_lone_surrogate_is_replaced_for_no_json_can_carry_it(fake):
    OllamaService("m", base_url=fake.base_url).chat("broken \ud800 text")
    assert fake.requests[-1].json["messages"][-1]["content"] == "broken � text"


def test_defaults_of_the_service_and_of_the_call_are_merged(fake):
    service = OpenAIService("m", base_url=fake.base_url, temperature=0, seed=1)
    service.chat("Hello", seed=2, extra_body={"guided": True})
    body = fake.requests[-1].json
    assert (body["temperature"], body["seed"], body["guided"], body["stream"]) == (0, 2, True, True)


@pytest.mark.parametrize(("model", "name"), [("o3", "max_completion_tokens"), ("gpt-6-luna", "max_output_tokens")])
@pytest.mark.filterwarnings("ignore:openai/o3")
def test_openai_itself_gets_the_newer_names_of_max_tokens(model, name):
    service = OpenAIService(model, api_key="sk-" + "x" * 20)
    body = service.body(service.request("Hello", max_tokens=5))
    assert {key: value for key, value in body.items() if "max" in key} == {name: 5}
    other = OpenAIService("m", base_url="http://127.0.0.1:1/v1")
    assert other.body(other.request("Hello", max_tokens=5))["max_tokens"] == 5


def test_an_address_without_scheme_is_refused():
    with pytest.raises(LLMError, match="not a URL"):
        OpenAIService("m", base_url="localhost:8000/v1").chat("Hello")


def test_an_error_survives_pickling_with_its_fields(fake):
    fake.close()
    with pytest.raises(LLMError) as caught:
        OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.category, again.partial.status) == (str(caught.value), "connection", "error")


def test_calls_from_many_threads_share_one_service_thread(fake):
    before = set(threading.enumerate())  # with those that tests of stuck threads have given up
    stop_service_thread()
    fake.default = answer("one two", ttft=1000)
    service, results = OllamaService("m", base_url=fake.base_url), []
    threads = [threading.Thread(target=lambda: results.append(service.chat("Hello").content)) for _ in range(16)]
    for thread in threads:
        thread.start()
    fake.wait_for(lambda: fake.in_flight == 16)
    fake.skip_pauses()
    for thread in threads:
        thread.join()
    assert results == ["one two"] * 16
    assert sum(thread.name == "ipyllm-service" for thread in set(threading.enumerate()) - before) == 1


def test_a_blocking_call_on_the_service_thread_is_refused_instead_of_hanging(fake):
    service = OllamaService("m", base_url=fake.base_url)

    async def wrong():
        return service.chat("Hello")

    with pytest.raises(RuntimeError, match="achat"):
        service_thread().submit(wrong()).result(60)


def test_cost_is_known_for_known_models_only():
    from datetime import UTC, datetime

    from ipyllm import Usage
    from ipyllm.services.prices import cost_of

    counted = Usage(1_000_000, 0, source="server")
    cost, source = cost_of(counted, provider="openai", model="gpt-4o", at=datetime.now(UTC))
    assert cost == pytest.approx(2.5)
    assert source.startswith("genai-prices ")
    assert cost_of(counted, provider="openai", model="nobody", at=datetime.now(UTC)) == (None, None)
    guessed = Usage(1, 1, source="estimated")
    assert cost_of(guessed, provider="openai", model="gpt-4o", at=datetime.now(UTC)) == (None, None)
