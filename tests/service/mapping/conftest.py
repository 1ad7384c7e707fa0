"""Fixtures: a model server that answers in upper case, and a model on it."""

from __future__ import annotations

import pytest

from ipyllm import OpenAIService
from tests.fakes import FakeLLM, answer


@pytest.fixture
def server():
    with FakeLLM() as fake:
        fake.on(lambda request: answer(request.prompt.upper()))
        yield fake


@pytest.fixture
def model(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    return OpenAIService("a", base_url=server.base_url, max_retries=0)


@pytest.fixture
def asked(server):
    """Return the prompts of all requests to the server."""
    return lambda: [request.prompt for request in server.requests]
