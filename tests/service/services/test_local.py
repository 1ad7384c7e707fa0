"""The embedded model meets the contract of every service, with a real model."""

from __future__ import annotations

import asyncio

import pytest

from ipyllm import LLMError, LocalService, TextDelta, create_llm_service
from tests.ledger_rows import rows

pytestmark = pytest.mark.local_model


def test_it_answers_counts_and_costs_nothing():
    response = LocalService().chat("Say hello.", max_tokens=12, temperature=0)
    assert response.content.strip()
    assert response.usage.source == "server"
    assert 0 < response.usage.output_tokens <= 12
    assert (response.cost_usd, response.price_source) == (0.0, "local")
    assert response.timing.ttft_s < response.timing.e2e_s
    assert response.response_model == "smollm2-135m", "no path of the machine"
    row = rows().iloc[-1]
    assert (row.status, row.service, row.output_tokens) == ("ok", "local", response.usage.output_tokens)


def test_greedy_answers_repeat_and_a_second_one_uses_the_prompt_cache():
    service = LocalService(temperature=0, max_tokens=10)
    first, second = service.chat("Name three colours."), service.chat("Name three colours.")
    assert first.content == second.content
    assert second.usage.cached_tokens > 0
    assert not second.cold


def test_every_way_to_read_gives_the_same_answer():
    service = create_llm_service("local/smollm2-135m", temperature=0, max_tokens=12)

    async def read():
        pieces = [text async for text in service.chat_stream("Count to three.")]
        events = [event async for event in service.events("Count to three.")]
        return "".join(pieces), "".join(event.text for event in events if isinstance(event, TextDelta))

    plain = service.chat("Count to three.").content
    assert asyncio.run(read()) == (plain, plain)
    assert "".join(service.stream("Count to three.")) == plain


def test_max_tokens_is_told_as_the_finish_reason():
    response = LocalService().chat("Write a long story.", max_tokens=5)
    assert (response.status, response.finish_reason) == ("ok", "length")


def test_a_cancelled_answer_stops_the_generation():
    service = LocalService()
    call = service.call(service.request("Write a very long story.", max_tokens=4000, extra_body={"ignore_eos": True}))
    assert not call.done.wait(1.0)
    call.cancel()
    assert call.done.wait(60)
    assert call.response.status == "cancelled"
    assert service.chat("Hi.", max_tokens=3).status == "ok"


def test_a_conversation_that_is_too_long_says_so():
    with pytest.raises(LLMError) as caught:
        LocalService().chat("word " * 20_000)
    assert caught.value.category == "context_length"


def test_parameters_the_server_refuses_are_a_sentence():
    with pytest.raises(LLMError) as caught:
        LocalService().chat("Hi", response_format={"type": "nonsense"})
    assert caught.value.category == "bad_request"


def test_a_file_that_is_no_model_is_a_sentence(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 500)
    for name in (broken, tmp_path / "missing.gguf"):
        with pytest.raises(LLMError) as caught:
            LocalService(str(name)).chat("Hi")
        assert str(name.name) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(rows().status) == ["error", "error"]


def test_a_name_that_is_not_pulled_says_how_to_pull_it(monkeypatch, tmp_path):
    monkeypatch.setenv("IPYLLM_MODELS_DIR", str(tmp_path))
    with pytest.raises(LLMError, match="%llm_models pull smollm2-135m") as caught:
        LocalService().chat("Hi")
    assert caught.value.category == "not_found"
