"""Fixtures: models at the fake server."""

from __future__ import annotations

import pytest

from tests.fakes import answer

KEY = "sk-compare-0123456789abcdef"


@pytest.fixture
def two_models(fake, monkeypatch):
    """Every model is at the fake server and says its name."""
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fake.on(lambda request: answer(f"I am {request.json['model']}."))
