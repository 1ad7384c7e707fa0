"""What a new user meets: no llama.cpp, no model, no server, no key. One sentence says what to do."""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys

import pytest

from ipyllm import create_llm_service
from ipyllm.embedded import stop_all
from ipyllm.errors import LLMError
from ipyllm.registry.discovery import probe
from tests.fakes import status


@pytest.fixture
def closed_port():
    """A port of this machine that refuses connections: bound, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def failure(service):
    with pytest.raises(LLMError) as caught:
        service.chat("Hello")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("name", "title", "start"),
    [
        ("ollama/llama3.2", "Ollama", "ollama serve"),
        ("lmstudio/m", "LM Studio", "lms server start"),
        ("vllm/m", "vLLM", "vllm serve MODEL"),
        ("llamacpp/m", "llama.cpp", "llama-server -m FILE"),
    ],
)
def test_a_server_of_ones_own_that_does_not_run_is_to_be_started(closed_port, name, title, start):
    error = failure(create_llm_service(name, base_url=f"http://127.0.0.1:{closed_port}/v1", max_retries=0))
    assert str(error) == f"{title} is not running at 127.0.0.1:{closed_port}: start it with `{start}`."
    assert error.category == "connection"
    assert not error.reached_server


def test_after_retries_too(closed_port, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{closed_port}")
    assert "start it with `ollama serve`" in str(failure(create_llm_service("ollama/llama3.2", max_retries=1)))


def test_the_list_of_models_says_so_too(closed_port, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{closed_port}")
    (found,) = probe(["ollama"])
    assert str(found.error) == f"Ollama is not running at 127.0.0.1:{closed_port}: start it with `ollama serve`."


def test_a_server_that_runs_and_fails_is_not_said_to_be_off(fake):
    fake.default = status(500)
    said = str(failure(create_llm_service("ollama/llama3.2", base_url=fake.base_url, max_retries=0)))
    assert "not running" not in said


def test_the_key_can_be_typed_as_the_sentence_says(monkeypatch):
    service = create_llm_service("anthropic/claude-haiku")
    said = str(failure(service))
    assert said.startswith("Anthropic needs a key: set ANTHROPIC_API_KEY in the environment or in .env, ")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")  # so that it is removed afterwards
    monkeypatch.setattr(getpass, "getpass", lambda: "sk-ant-0123456789abcdef")
    (code,) = re.findall(r"`(.+)`", said)
    exec(code, {})
    assert os.environ["ANTHROPIC_API_KEY"] == "sk-ant-0123456789abcdef"
    service.check()


@pytest.mark.parametrize("is_pulled", [True, False])
def test_without_llama_cpp_the_first_call_says_what_to_install(monkeypatch, tmp_path, is_pulled):
    stop_all()  # a server that runs needs no second import
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    if not is_pulled:
        monkeypatch.setenv("IPYLLM_MODELS_DIR", str(tmp_path))
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    for service in (create_llm_service(), create_llm_service(f"local/{other}")):
        assert str(failure(service)).startswith('Embedded models need xllamacpp: `pip install "ipyllm[local]"`.')
        with pytest.raises(LLMError, match="need xllamacpp"):
            service.check()
