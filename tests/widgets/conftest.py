"""Real widgets on a comm whose other end is a page that remembers."""

from __future__ import annotations

import comm
import pytest

from tests.widgets.page import PageComm


@pytest.fixture
def models(fake, monkeypatch):
    """The fake server as the default model."""
    monkeypatch.setenv("IPYLLM_MODEL", "openai/fake-model")
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    return fake


@pytest.fixture
def chat(models, monkeypatch, request):
    """A chat over a conversation of its own; at the end, its page must show what the widget says of itself."""
    from ipyllm.conversations.history import forget_conversation
    from ipyllm_widgets import ChatWidget

    monkeypatch.setattr(comm, "create_comm", PageComm)
    made = []

    def make(name=request.node.name, **options):
        made.append(ChatWidget(conversation=name, **options))
        return made[-1]

    yield make
    for widget in made:
        page = widget.comm
        page.wait_until_rest()
        state = widget.get_state("snapshot")["snapshot"]
        shown = page.shown()
        with widget.outbox.lock:
            assert shown.order == state["order"]
            assert shown.turns == state["turns"]
        widget.close()
        forget_conversation(widget._name)
