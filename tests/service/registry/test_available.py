"""Models of a server on this machine are offered while it listens."""

import socket

import pytest

from ipyllm.registry import available
from ipyllm.registry.available import available_models


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
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
