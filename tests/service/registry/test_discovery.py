"""Asking all servers at once for their models: within the time limit, independently, without leaking keys."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, create_llm_service
from ipyllm.conversations.export import export_conversation
from ipyllm.conversations.history import ConversationHistory, Turn
from ipyllm.registry.discovery import probe
from tests.fakes import FakeLLM
from tests.fakes.script import status
from tests.stalls import again_if_stalled

KEY = "sk-reach-0123456789abcdef"


@pytest.fixture
def servers(own_settings, fake):
    """Two endpoints that answer and one that does not run."""
    with FakeLLM(models=["big", "small"]) as other:
        (own_settings / "config.toml").write_text(
            f'[endpoints.one]\nbase_url = "{fake.base_url}"\napi_key = "{KEY}"\n'
            f'[endpoints.two]\nbase_url = "{other.base_url}"\n'
            '[endpoints.gone]\nbase_url = "http://127.0.0.1:9/v1"\n'
        )
        yield fake, other


def test_each_server_says_what_it_has_and_one_that_is_gone_is_an_entry_of_its_own(servers):
    one, gone, two = probe(["one", "gone", "two"], timeout_s=20)
    assert one.models == ("fake-model",)
    assert two.models == ("big", "small")
    assert gone.models == ()
    assert gone.error.category == "connection"


@again_if_stalled(0.1)
def test_a_server_that_hangs_costs_its_own_time_only(servers):
    fake, _ = servers
    fake.serve("/v1/models", status(200, {"data": []}, delay=60))
    one, two = probe(["one", "two"], timeout_s=0.5)
    assert one.error.category == "timeout"
    assert two.models == ("big", "small")


def test_servers_are_asked_at_the_same_time(servers):
    for server in servers:
        server.serve("/v1/models", status(200, {"data": [{"id": "m"}]}, delay=2))
    assert [one.models for one in probe(["one", "two"], timeout_s=20)] == [("m",), ("m",)]
    asked = [server.requests[-1] for server in servers]
    for server, request in zip(servers, asked, strict=True):
        server.wait_for(lambda request=request: request.finished_ns)
    assert max(request.arrived_ns for request in asked) < min(request.finished_ns for request in asked)


@pytest.mark.parametrize(
    ("reply", "category"),
    [
        (status(200, "<html>hello</html>", [("content-type", "text/html")]), "api_error"),
        (status(200, "not json", [("content-type", "application/json")]), "api_error"),
        (status(200, {"error": "no"}), "api_error"),
        (status(200, {"data": "none"}), "api_error"),
        (status(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "authentication"),
        (status(500, "oops"), "api_error"),
    ],
)
def test_an_answer_that_is_no_list_is_an_error_with_a_sentence(servers, reply, category):
    servers[0].serve("/v1/models", reply)
    [one] = probe(["one"], timeout_s=20)
    assert one.error.category == category
    assert KEY not in str(one.error) + repr(one)


def test_a_service_without_a_key_is_not_asked(fake):
    [one] = probe(["deepseek"], timeout_s=20)
    assert one.service is None
    assert one.error.category == "authentication"


def test_prices_come_from_the_settings_then_the_tables_and_are_unknown_elsewhere(own_settings, monkeypatch, fake):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert create_llm_service("openai/gpt-4o").price().output_usd_per_mtok == 10.0
    assert create_llm_service("openai/no-such-model").price() is None
    assert create_llm_service("local/smollm2-135m").price().input_usd_per_mtok == 0.0
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    assert create_llm_service("openai/gpt-4o").price() is None, "another server's prices are not OpenAI's"
    (own_settings / "config.toml").write_text(
        '[prices."openai/gpt-4o"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n'
    )
    assert create_llm_service("openai/gpt-4o").price().output_usd_per_mtok == 2


def test_an_export_names_pictures_and_refuses_an_unknown_format():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    question = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    history = ConversationHistory()
    history.put_turn(Turn((question, {"role": "assistant", "content": "A dot."})))
    assert "*(1 picture)*\n\nWhat is it?" in export_conversation(history, "md")
    with pytest.raises(LLMError, match=r"cannot be exported as 'pdf'\. Choose one of: ipynb, json, md"):
        export_conversation(history, "pdf")
