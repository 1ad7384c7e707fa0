"""OpenAI's Responses API, as a fake that refuses what it does."""

from __future__ import annotations

import pytest

from ipyllm import OpenAIService


@pytest.fixture
def strict(fake):
    fake.speak_as("openai")
    return fake


@pytest.fixture
def sol(strict):
    return OpenAIService("gpt-6.2-sol", base_url=strict.base_url, max_retries=0)
