"""Requests that no client would send by mistake: they cost the server nothing, and tell nobody anything."""

import json
import socket
from contextlib import closing

import pytest
import websocket

from tests.fakes import answer
from tests.server.chat_server import ChatServerProcess
from tests.server.classroom import TOKENS
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

BODY = 2_000_000


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


@pytest.mark.parametrize("frame", [b"\x8a\x80\0\0\0\0", b"\x89\x80\0\0\0\0"], ids=["pong", "ping"])
def test_who_floods_a_socket_with_control_frames_is_left(server, model, frame):
    with closing(Client(server)) as client:
        client.socket.settimeout(25)  # before the server's own ping
        client.socket.sock.sendall(frame * 500)
        with pytest.raises((EOFError, ConnectionError, websocket.WebSocketConnectionClosedException)):
            client.until("nothing")
    with closing(Client(server)) as client:
        client.socket.sock.sendall(frame)
        client.send("ping")
        assert client.read()["type"] == "pong"


def test_who_asks_and_reads_nothing_is_left(server, model):
    big = " ".join(["x" * 200_000] * 60)  # more than the buffers of the connection hold
    model.reply(answer(big))
    with closing(Client(server, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])) as client:
        client.send("ask", message="Write", model="lab/unread")
        ended = "/ipyllm/api/usage?model=lab/unread&status=ok&text=0"
        model.wait_for(lambda: server.get(ended).json["calls"], timeout=60)
        for _ in range(80):
            client.send("ping")
        for _ in range(100):  # meanwhile it has read them
            server.get("/ipyllm/api/health")
        while (frame := client.socket.recv_frame()).opcode != websocket.ABNF.OPCODE_CLOSE:
            assert b'"pong"' not in frame.data
        assert frame.data[2:] == b"You ask too much, and do not read."


def test_a_frame_without_a_mask_closes_the_socket(server, model):
    with closing(Client(server)) as client:
        client.socket.sock.sendall(b'\x81\x0f{"type": "ping"}')
        assert closed(client) == (1002, "A client's frames are masked.")


def closed(client):
    """Code and reason with which the server closes a socket, before it sends anything else."""
    frame = client.socket.recv_frame()
    assert frame.opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()


CONFIG = """
import gc, json, os, threading, time, tracemalloc
from ipyllm_server.user_limits import UserLimits
c.ChatServer.max_body_bytes = {body}
c.ChatServer.calls_per_user = 1
c.ChatServer.warm_up = False

def tell():
    limits = []
    while True:
        limits = limits or [each for each in gc.get_objects() if isinstance(each, UserLimits)]
        counted = sum(sum(each._body_bytes.values()) for each in limits)
        with open({path!r} + ".new", "w") as file:
            json.dump([tracemalloc.get_traced_memory()[0], counted], file)
        os.replace({path!r} + ".new", {path!r})
        time.sleep(0.05)

gc.disable()  # what a circle of references keeps stays
tracemalloc.start()
threading.Thread(target=tell, daemon=True).start()
"""


@pytest.fixture(scope="module")
def bounded(shared_fake, tmp_path_factory):
    """A server with low bounds. It tells the bytes of its objects, of circles too, and those counted for users."""
    home = tmp_path_factory.mktemp("bounded")
    config, told = home / "config.py", home / "bytes"
    config.write_text(CONFIG.format(body=BODY, path=str(told)))

    def tell():
        for _ in range(2):  # the second is measured after this call
            told.unlink(missing_ok=True)
            shared_fake.wait_for(told.exists)
        return json.loads(told.read_text())

    with ChatServerProcess(shared_fake, f"--config={config}") as server:
        server.in_memory, server.counted = lambda: tell()[0], lambda: tell()[1]
        yield server


@pytest.mark.thorough
def test_bodies_of_a_user_are_bounded_together_and_forgotten_when_they_break_off(bounded, model):
    for _ in range(3):
        open_ones = [begin(bounded, BODY // 2 - 1, BODY // 2) for _ in range(2)]
        model.wait_for(lambda: bounded.counted() == BODY - 2)
        refused = bounded.chat()
        assert (refused.status, refused.message) == (429, "You send too much at a time.")
        assert bounded.chat(user="ben").status == 200
        for connection in open_ones:
            connection.close()
        model.wait_for(lambda: bounded.counted() == 0)
        assert bounded.chat("x" * (BODY - 100)).status == 200
    assert bounded.chat("x" * BODY).status == 413


@pytest.mark.thorough
def test_the_memory_of_bodies_that_break_off_is_free_at_once(bounded, model):
    bounded.chat()  # imports what it needs
    before = bounded.in_memory()
    for _ in range(5):
        connection = begin(bounded, BODY - 1, BODY)
        model.wait_for(lambda: bounded.counted() == BODY - 1)
        assert bounded.in_memory() > before + 0.9 * BODY
        connection.close()
        model.wait_for(lambda: bounded.counted() == 0)
        assert bounded.in_memory() < before + 0.5 * BODY


def announce(client, n_bytes):
    """Begin to send a message of as many bytes."""
    client.socket.sock.sendall(b"\x81\xff" + n_bytes.to_bytes(8, "big") + b"\0\0\0\0{")


@pytest.mark.thorough
def test_messages_of_a_user_are_bounded_over_all_sockets_and_bodies(bounded, model):
    question = json.dumps({"type": "ask", "message": "x" * (BODY - 100)})
    for _ in range(3):
        with closing(Client(bounded)) as first, closing(Client(bounded)) as second, closing(Client(bounded)) as third:
            announce(first, BODY // 2 - 100)
            announce(second, BODY // 2 - 100)
            model.wait_for(lambda: bounded.counted() >= BODY - 200)
            refused = bounded.chat("x" * 200)
            assert (refused.status, refused.message) == (429, "You send too much at a time.")
            third.socket.send(question)
            assert closed(third) == (4429, "You send too much at a time.")
            with closing(Client(bounded, "ben")) as other:
                other.socket.send(question)
                assert other.until("done")["status"] == "ok"
            first.drop()
            second.drop()
        with closing(Client(bounded)) as again:
            model.wait_for(lambda: bounded.counted() == 0)
            ping = json.dumps({"type": "ping"}).encode()
            for _ in range(5):  # nothing is counted twice, or for longer than its message
                for part, opcode, is_last in ((ping[:4], 1, 0), (ping[4:], 0, 1)):
                    again.socket.send_frame(websocket.ABNF(is_last, 0, 0, 0, opcode, 1, part))
                assert again.read()["type"] == "pong"
            again.socket.send_frame(websocket.ABNF(0, 0, 0, 0, 1, 1, ping[:4]))
            again.socket.ping()
            assert again.socket.recv_frame().opcode == websocket.ABNF.OPCODE_PONG
            assert bounded.counted() >= 4  # with the heads of frames: the rest of the message is to come
            again.socket.send_frame(websocket.ABNF(1, 0, 0, 0, 0, 1, ping[4:]))
            assert again.read()["type"] == "pong"
            again.socket.send(question)
            assert again.until("done")["status"] == "ok"
            with closing(begin(bounded, BODY // 2, BODY)):
                model.wait_for(lambda: bounded.counted() == BODY // 2)
                again.send("ping")
                assert again.until("pong")
                assert bounded.counted() == BODY // 2


@pytest.mark.thorough
def test_a_body_that_does_not_end_is_left(model):
    with ChatServerProcess(model, "--ChatServer.body_timeout_s=1") as server, closing(begin(server, 5, 10)) as slow:
        assert slow.recv(100) == b""
        assert server.chat().status == 200
