"""Models that can be chosen: those an endpoint has listed, and those of a server on this machine while it listens."""

from __future__ import annotations

import socket

import pytest

from ipyllm.registry import available
from ipyllm.registry.available import ask_endpoints, available_models
from tests.fakes import FakeLLM


@pytest.fixture
def endpoint(own_settings, monkeypatch):
    """The server of an endpoint with two models, one of them in the settings."""
    monkeypatch.setattr(available, "_asked", ("", 0.0))
    with FakeLLM(models=["writer", "thinker"]) as server:
        (own_settings / "config.toml").write_text(
            f'[endpoints.acme]\nbase_url = "{server.base_url}"\nmodel = "writer"\n'
            '[endpoints.gone]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "x"\n'
        )
        yield server


def of(name):
    return [model for model in available_models() if model.startswith(f"{name}/")]


def test_what_an_endpoint_lists_is_offered_once_it_was_asked_and_it_is_not_asked_each_time(endpoint):
    assert of("acme") == ["acme/writer"]
    ask_endpoints()
    asked = len(endpoint.requests)
    ask_endpoints()
    assert of("acme") == ["acme/writer", "acme/thinker"]
    assert of("gone") == ["gone/x"]
    assert asked == len(endpoint.requests) > 0


def test_a_chat_offers_what_an_endpoint_lists(endpoint, monkeypatch):
    import comm

    from ipyllm_widgets import ChatWidget
    from tests.widgets.page import PageComm

    monkeypatch.setattr(comm, "create_comm", PageComm)
    widget = ChatWidget(conversation="acme", model="acme/writer")
    widget.comm.wait_for(lambda page: "acme/thinker" in widget._controller.snapshot()["settings"]["models"])
    widget.close()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(available, "_listening", {})


def _of_ollama():
    return [name for name in available_models() if name.startswith("ollama/")]


def test_ollamas_models_are_offered_while_it_listens(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
        assert "ollama/llama3.2" in _of_ollama()
    available._listening.clear()  # two seconds later
    assert _of_ollama() == []


def test_what_is_known_is_not_tried_again_at_once(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        assert _of_ollama()
    assert _of_ollama()


def test_ollama_of_another_machine_is_offered_without_a_look(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "gpu-box.invalid")
    assert _of_ollama()
    assert available._listening == {}
