"""The thread that makes the calls ends: each of their answers ends with an error, and the next question is answered."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.fakes import answer
from tests.server.chat_server import ChatServerProcess
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

CONFIG = """
import pathlib, threading, time
from ipyllm.runtime.service_thread import service_thread

def end():
    wanted = pathlib.Path({path!r})
    while True:
        if wanted.exists():
            loop = service_thread().loop
            loop.call_soon_threadsafe(loop.stop)
            wanted.unlink()
        time.sleep(0.05)

threading.Thread(target=end, daemon=True).start()
"""
CHAT = ("/ipyllm/api/chat", {"message": "Count", "conversation": "broken"})
COMPLETION = ("/ipyllm/v1/chat/completions", {"model": "lab/tiny", "messages": [{"role": "user", "content": "Count"}]})


@pytest.fixture(scope="module")
def jupyter(shared_fake, tmp_path_factory):
    """A server whose calls are made by another thread, as in JupyterLab; `end_calls` ends that."""
    home = tmp_path_factory.mktemp("jupyter")
    config, wanted = home / "config.py", home / "end"
    config.write_text(CONFIG.format(path=str(wanted)))
    with ChatServerProcess(shared_fake, f"--config={config}", module="jupyter_server") as server:
        server.end_calls = wanted.touch
        yield server


@pytest.fixture
def breaking(jupyter, model):
    """The server, and a model whose answer begins and does not end; what is asked then is answered."""
    model.reply(answer("one two", gap=1000, chunks=["one", " two"]))
    yield jupyter
    assert jupyter.chat().json["content"] == "Hello from the fake."


def is_error(body):
    return "has ended, so this call cannot end" in body["error"]["message"]


def test_a_streamed_answer_ends_with_an_error(breaking):
    path, body = CHAT
    with breaking.request("POST", path, {**body, "stream": True}) as response:
        first = response.readline()
        breaking.end_calls()
        *_, error, done = [json.loads(line[6:]) for line in (first + response.read()).splitlines() if line]
    assert (error["type"], is_error(error)) == ("error", True)
    assert (done["type"], done["status"]) == ("done", "error")


def test_a_stream_for_clients_of_openai_ends_with_an_error_and_not_as_an_answer(breaking):
    path, body = COMPLETION
    with breaking.request("POST", path, {**body, "stream": True}) as response:
        while b'"one"' not in response.readline():
            pass
        breaking.end_calls()
        last = response.read().split()
    assert last[0] == b"data:"
    assert b"[DONE]" not in last
    assert is_error(json.loads(b" ".join(last[1:])))


@pytest.mark.parametrize(("path", "body"), [CHAT, COMPLETION])
def test_a_whole_answer_is_an_error(breaking, model, path, body):
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(breaking.post, path, body)
        model.wait_for(lambda: [each for each in model.requests if each.json], timeout=60)
        breaking.end_calls()
        reply = asked.result()
    assert reply.status == 500
    assert is_error(reply.json)


def test_an_answer_over_a_socket_ends_with_an_error(breaking):
    with closing(Client(breaking, query="conversation=broken&")) as client:
        client.send("ask", message="Count")
        client.until("text")
        breaking.end_calls()
        assert is_error(client.until("error"))
        assert client.until("done")["status"] == "error"
        client.send("ask", message="And?")
        assert client.until("done")["content"] == "Hello from the fake."
