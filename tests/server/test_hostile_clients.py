"""Requests that no client would send by mistake: they cost the server nothing, and tell nobody anything."""

import json
import socket
from contextlib import closing

import pytest
import websocket

from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

BODY = 100_000


def begin(server, sent, announced, user="ana"):
    """Begin to send a body; return the connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=100)
    head = f"POST /ipyllm/api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token {TOKENS[user]}\r\n"
    connection.sendall(f"{head}Content-Length: {announced}\r\n\r\n".encode() + b" " * sent)
    return connection


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ipyllm/api/conversations/%FF", 404),
        ("GET", "/ipyllm/static/%FF", 404),
        ("GET", "/ipyllm/api/conversations?query=%FF", 400),
        ("GET", "/ipyllm/ws?conversation=%FF", 400),
        ("PROPFIND", "/ipyllm/api/chat", 405),
        ("GET", "/ipyllm/api/conversations/%00", 404),
    ],
)
def test_an_address_that_is_no_text_is_answered_in_a_sentence_and_logged_without_the_token(
    server, model, method, path, status
):
    before = len(server.log.read_text())
    joint = "&" if "?" in path else "?"
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    headers = upgrade if "/ws" in path else {}
    with server.request(method, f"{path}{joint}token={TOKENS['ana']}", user=None, headers=headers) as response:
        assert response.status == status
        assert json.loads(response.read())["error"]["message"]
    if method == "GET":
        with server.request(method, path, user=None, headers=headers) as response:
            assert response.status == 403
    log = server.log.read_text()[before:]
    assert "Traceback" not in log
    assert "Uncaught" not in log
    assert TOKENS["ana"] not in log


def test_who_floods_a_socket_with_pings_is_left(server, model):
    with closing(Client(server)) as client:
        client.socket.settimeout(25)  # before the server's own ping
        client.socket.sock.sendall(b"\x89\x80\0\0\0\0" * 500)
        with pytest.raises((EOFError, ConnectionError, websocket.WebSocketConnectionClosedException)):
            client.until("nothing")
    with closing(Client(server)) as client:
        client.socket.ping("once")
        client.send("ping")
        assert client.read()["type"] == "pong"


@pytest.mark.thorough
def test_bodies_of_a_user_are_bounded_together_and_forgotten_when_they_break_off(model):
    options = (f"--ChatServer.max_body_bytes={BODY}", "--ChatServer.calls_per_user=2")
    with ChatServerProcess(model, *options) as server:
        for _ in range(3):
            open_ones = [begin(server, BODY - 1, BODY) for _ in range(2)]
            refused = model.wait_for(lambda: (reply := server.chat()).status == 429 and reply)  # once all is read
            assert refused.message == "You send too much at a time."
            assert server.chat(user="ben").status == 200
            for connection in open_ones:
                connection.close()
            model.wait_for(lambda: server.chat("x" * (BODY // 2)).status == 200)
        assert server.chat("x" * BODY).status == 413


@pytest.mark.thorough
def test_a_body_that_does_not_end_is_left(model):
    with ChatServerProcess(model, "--ChatServer.body_timeout_s=1") as server, closing(begin(server, 5, 10)) as slow:
        assert slow.recv(100) == b""
        assert server.chat().status == 200
