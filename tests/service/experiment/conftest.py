"""Fixtures: a scriptable model server and models on it."""

from __future__ import annotations

import pytest

from ipyllm import OpenAIService
from tests.fakes import FakeLLM, answer


@pytest.fixture
def server():
    """A model server that answers each question with the question in upper case."""
    with FakeLLM() as fake:
        fake.on(lambda request: answer(request.prompt.upper() or "?"))
        yield fake


@pytest.fixture
def model(server, monkeypatch):
    """Make a model on the server; its key is in the environment of every process."""
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")

    def make(name="a", **options):
        return OpenAIService(name, base_url=server.base_url, **{"max_retries": 0} | options)

    return make


@pytest.fixture
def asked(server):
    """Return the model and prompt of each request to the server, warm-ups included."""
    return lambda: [(request.json["model"], request.prompt) for request in server.requests]


@pytest.fixture
def priced(own_settings, model):
    """Return a model whose answers of one token cost $0.10, and at most $0.20; "b" and "judge" have the same price."""
    price = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 100000\n"
    prices = [f'[prices."openai/{name}"]\n{price}' for name in ("a", "b", "judge")]
    (own_settings / "config.toml").write_text("".join(prices))
    return model("a", max_tokens=2)
