"""Fixtures: models that answer differently, and comparisons of them."""

from __future__ import annotations

import pytest

from ipyllm import CompareWidget
from tests.fakes import Script, answer, server_error, stall


@pytest.fixture
def two(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    monkeypatch.setenv("IPYLLM_MAX_RETRIES", "0")

    def by_model(request) -> Script | None:
        return {
            "good": answer("It is **Bern**."),
            "bad": answer("It is Basel."),
            "slow": stall("It", after=1),
            "broken": server_error(),
        }.get(request.json["model"])

    fake.on(by_model)
    return fake


@pytest.fixture
def widget():
    made = []

    def make(*models, **options):
        made.append(CompareWidget(models=[f"openai/{model}" for model in models], **options))
        made[-1].sent_messages = []
        made[-1].channel._send = lambda message, buffers: made[-1].sent_messages.append(message)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def begin(two, restart):
    """Make a comparison of the notebook; made again, it is in a restarted kernel."""
    made = []

    def make(name="capitals", models=("openai/good", "openai/bad"), **options):
        if made:
            restart()
        made.append(CompareWidget(models=models, name=name, **options))
        return made[-1]

    yield make
    for widget in made:
        widget.close()
