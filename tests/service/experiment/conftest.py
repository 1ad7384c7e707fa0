"""Models at a scriptable server, and other processes that run the same experiment."""

from __future__ import annotations

import pytest

from ipyllm import OpenAIService
from tests.fakes import FakeLLM, answer


@pytest.fixture
def server():
    """A model server that answers each question with the question itself, in upper case."""
    with FakeLLM() as fake:
        fake.on(lambda request: answer(request.prompt.upper() or "?"))
        yield fake


@pytest.fixture
def model(server, monkeypatch):
    """Make a model of the server's: its address travels with it, its key is in every process's environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")

    def make(name="a", **options):
        return OpenAIService(name, base_url=server.base_url, **{"max_retries": 0} | options)

    return make


@pytest.fixture
def asked(server):
    """What the server was asked, warm-ups included: (model, prompt) each."""
    return lambda: [(request.json["model"], request.prompt) for request in server.requests]
