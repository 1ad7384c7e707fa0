"""Fixtures of the widget tests: real widgets on a comm that records the messages."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import comm
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from markdown_it.renderer import RendererHTML

from tests.widgets.page import PageComm


@pytest.fixture
def models(fake, monkeypatch):
    """The fake server as the default model."""
    monkeypatch.setenv("IPYLLM_MODEL", "openai/fake-model")
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    return fake


@pytest.fixture
def published(monkeypatch):
    """Outputs of the running cell, by IPython's own publisher: one dictionary per output or update."""
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(
        "IPython.get_ipython", lambda: SimpleNamespace(display_pub=publisher, history_manager=publisher)
    )
    return publisher.outputs


@pytest.fixture
def interrupt_next_call(monkeypatch):
    """Raise a real interrupt in the main thread as soon as the next call is handed to the service thread."""
    from ipyllm.runtime.service_thread import service_thread

    def arm():
        loop = service_thread().loop
        hand_over = loop.call_soon_threadsafe

        def interrupted(*args, **options):
            monkeypatch.setattr(loop, "call_soon_threadsafe", hand_over)
            hand_over(*args, **options)
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)

    return arm


@pytest.fixture
def hook_rendering(monkeypatch):
    """Install a function that gets each text just before it is rendered."""
    render = RendererHTML.render

    def install(hook):
        def hooked(self, tokens, options, env):
            hook("".join(token.content for token in tokens))
            return render(self, tokens, options, env)

        monkeypatch.setattr(RendererHTML, "render", hooked)

    return install


@pytest.fixture
def chat(models, monkeypatch, request):
    """Make a chat with its own conversation; afterwards, the page's state must equal the widget's snapshot."""
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
        page.wait_until_idle()
        state = widget.get_state("snapshot")["snapshot"]
        shown = page.view_state()
        with widget.channel.lock:
            assert shown.order == state["order"]
            assert shown.turns == state["turns"]
        widget.close()
        forget_conversation(widget._name)


@pytest.fixture
def restart(monkeypatch):
    """Begin in a notebook; each call is a restart of its kernel."""

    from ipyllm.conversations import history, notebook
    from ipyllm.ledger import current_ledger
    from ipyllm_widgets.compare import compare_calls

    def begin():
        monkeypatch.setattr(history, "_conversations", {})
        monkeypatch.setattr(compare_calls, "_newest", {})

    monkeypatch.setattr(comm, "create_comm", PageComm)
    monkeypatch.setattr(notebook, "_current", None)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ada/talk.ipynb")
    notebook.keep_conversations(lambda _sentence: None, otherwise="never")
    begin()
    yield begin
    current_ledger().close()
