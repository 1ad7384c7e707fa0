"""docs/service.md: the handler that stands in the place of services written by hand does what the page says."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import websocket_connect

from tests.fakes import FakeLLM, answer, drip, reset

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
GUIDE = PAGE.partition("## Coming from service classes written by hand")[2]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    with FakeLLM() as fake:
        config = tmp_path / "config.toml"
        config.write_text(
            f'max_retries = 0\n[aliases]\ngpt = "lab/tiny"\n[endpoints.lab]\nbase_url = "{fake.base_url}"\n'
        )
        monkeypatch.setenv("IPYLLM_CONFIG", str(config))
        yield fake


def handler():
    before, after = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    compile(before, "before", "exec")
    names = {}
    exec(after, names)
    return names["ChatHandler"]


def talk(client):
    """Run a coroutine function with a socket of the handler."""

    async def main():
        listener, port = bind_unused_port()
        server = HTTPServer(Application([("/chat", handler())]))
        server.add_sockets([listener])
        socket = await websocket_connect(f"ws://127.0.0.1:{port}/chat")
        try:
            async with asyncio.timeout(60):
                await client(socket)
        finally:
            socket.close()
            server.stop()
            await server.close_all_connections()

    asyncio.run(main())


async def ask(socket, message):
    await socket.write_message(json.dumps({"model": "gpt", "message": message}))
    received = []
    while "text" in (last := json.loads(await socket.read_message())):
        received.append(last["text"])
    return "".join(received), last


def test_the_handler_after_streams_and_remembers_whole_turns_only(fake):
    fake.reply(answer("one two", gap=0.01), reset(answer("half", gap=0.01), after=1), answer("three"))

    async def client(socket):
        assert await ask(socket, "Count") == ("one two", {"done": True})
        _, last = await ask(socket, "Break")
        assert "lab/tiny" in last["error"]
        assert await ask(socket, "Go on") == ("three", {"done": True})

    talk(client)
    sent = [request for request in fake.requests if request.json][-1].json["messages"]
    assert [message["content"] for message in sent] == ["Count", "one two", "Go on"]


def test_a_client_that_goes_cancels_the_call(fake):
    fake.reply(drip("one ", every=0.05))  # without end; its handler notices at the next piece

    async def client(socket):
        await socket.write_message(json.dumps({"model": "gpt", "message": "Count"}))
        await socket.read_message()
        socket.close()
        while not fake.requests[-1].closed_by_client:
            await asyncio.sleep(0.02)

    talk(client)
