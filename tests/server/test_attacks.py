"""Requests and frames that break the rules of HTTP, JSON or WebSockets: each gets its refusal, no call, and no line of
the log tells more than that.
"""

import gzip
import json
import socket
import struct
from contextlib import closing

import pytest
import websocket

from tests.server.classroom import TOKENS
from tests.server.test_socket import Client

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

HI = b'{"message":"Hi"}'
SECRET = b"a most secret word"
CHUNKED = "Transfer-Encoding: chunked"
NO_TYPE = b'{"type":"pi'
PING = b'{"type":"ping"}'


def request(head="", body=HI, *, method="POST", path="/ipyllm/api/chat", version="1.1", sized=True, hosted=True):
    """A request's bytes; ``head`` has further lines."""
    lines = [
        f"{method} {path} HTTP/{version}",
        f"Authorization: token {TOKENS['ana']}",
        *(["Host: 127.0.0.1"] if hosted else []),
        *([f"Content-Length: {len(body)}"] if sized else []),
        *([head] if head else []),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(path, head=""):
    return request(head, b"", method="GET", path=path, sized=False)


def chunked(*parts):
    return request(CHUNKED, b"".join(parts), sized=False)


def length(value):
    return request(f"Content-Length: {value}", sized=False)


REQUESTS = {
    "a length and chunks": (request(CHUNKED, b"0\r\n\r\n" + get("/ipyllm/api/health")), 400),
    "two lengths": (request("Content-Length: 3"), 400),
    "a length with a sign": (length("+16"), 400),
    "a length with an underscore": (length("1_6"), 400),
    "a negative length": (length("-1"), 400),
    "a length of digits that are no number": (length("\xb2"), 400),
    "an unknown encoding of the transfer": (request("Transfer-Encoding: xchunked", sized=False), 400),
    "two encodings of the transfer": (request("Transfer-Encoding: chunked, identity", sized=False), 400),
    "a negative chunk": (chunked(b"-1\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk of 2^64 bytes": (chunked(b"FFFFFFFFFFFFFFFF\r\nx\r\n"), 400),
    "a chunk with a prefix": (chunked(b"0x10\r\n", HI, b"\r\n0\r\n\r\n"), 400),
    "trailers": (chunked(b"10\r\n", HI, b"\r\n0\r\nX: y\r\n\r\n"), 400),
    "no host": (request(hosted=False), 400),
    "two hosts": (request("Host: evil.example"), 400),
    "a host with a user": (request("Host: 127.0.0.1@evil.example", hosted=False), 400),
    "HTTP/9.9": (request(version="9.9"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/1.0": (request(version="1.0", hosted=False), 200),
    "a folded line": (request("X: a\r\n b"), 400),
    "half an end of a line": (request("X: a\rb"), 400),
    "a NUL": (request("X: a\0b"), 400),
    "a name with a space": (request("X : a"), 400),
    "a line without a colon": (request("nonsense"), 400),
    "5000 lines": (request("\r\n".join(f"X{n}: y" for n in range(5000))), 200),
    "two tokens": (request("Authorization: token token-of-ben"), 403),
    "a compressed body": (request("Content-Encoding: gzip", gzip.compress(SECRET)), 400),
    "a bomb": (request("Content-Encoding: gzip", gzip.compress(b" " * 50_000_000, 1)), 400),
    "a form": (request("Content-Type: application/x-www-form-urlencoded", b"message=Hi&" * 1000), 400),
    "a bad part of a form": (request("Content-Type: multipart/form-data; boundary=x", b"--x\r\nnothing"), 400),
    "too large, announced": (request("Content-Length: 400000000\r\nExpect: 100-continue", b"", sized=False), 413),
    "a method over another": (get("/ipyllm/api/chat", "X-HTTP-Method-Override: POST"), 405),
    "TRACE": (request(method="TRACE"), 405),
    "a method of 5000 letters": (request(method="A" * 5000), 405),
    "a path upwards": (get("/ipyllm/static/../../../etc/passwd"), 404),
    "an encoded path upwards": (get("/ipyllm/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), 404),
    "a path encoded twice": (get("/ipyllm/static/%252e%252e%252fpage.html"), 404),
    "a file that is not served": (get("/ipyllm/static/page.html"), 404),
    "a path with parameters": (get("/ipyllm/api/health;x=1"), 404),
    "a conversation upwards": (get("/ipyllm/api/conversations/..%2f..%2fx"), 404),
    "a model upwards": (get("/ipyllm/v1/models/..%2f..%2fetc"), 404),
    "SQL": (get("/ipyllm/api/usage?model=%25'%20or%201=1--&text=0"), 200),
    "a time before all": (get("/ipyllm/api/usage?since=0001-01-01"), 400),
    "a NUL as a time": (get("/ipyllm/api/usage?since=%00"), 400),
    "UTF-16": (request(body='{"message":"Hi"}'.encode("utf-16")), 400),
    "a mark of the order of bytes": (request(body=b"\xef\xbb\xbf" + HI), 400),
    "overlong UTF-8": (request(body=b'{"message":"\xc0\xaf"}'), 400),
    "half a pair as UTF-8": (request(body=b'{"message":"\xed\xa0\x80"}'), 400),
    "something behind the JSON": (request(body=HI + HI), 400),
    "minus infinity": (request(body=b'{"message":"Hi","temperature":-Infinity}'), 400),
    "the last of two keys": (request(body=b'{"message":"' + SECRET + b'","message":"Hi"}'), 200),
    "a NUL in tags": (request(body=b'{"message":"Hi","tags":{"a\\u0000":"b\\u0000"}}'), 200),
    "a NUL in a name": (request(body=b'{"message":"Hi","conversation":"a\\u0000b"}'), 400),
    "a field of 1 MB": (request(body=b'{"message":"Hi","' + SECRET * 50_000 + b'":1}'), 400),
    "a million parts": (request(body=b'{"messages":[{"role":"user","content":[' + b"0," * 999_999 + b"0]}]}"), 400),
}


@pytest.fixture
def log(server):
    """What the server has logged since the test began."""
    before = len(server.log.read_text())
    return lambda: server.log.read_text()[before:]


def check(log):
    for words in ("Traceback", "Uncaught", TOKENS["ana"], SECRET.decode()):
        assert words not in log()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_with_its_status_and_nothing_is_told(server, model, log, name):
    data, status = REQUESTS[name]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(data)
        answered = client.makefile("rb").readline()
    assert answered.split()[1] == str(status).encode(), answered
    assert server.chat(user="ben").status == 200
    assert len([each for each in model.requests if each.json]) == 1 + (status == 200 and b"POST" in data)
    check(log)


def frame(opcode, data=b"", *, is_last=True, reserved=0):
    n = len(data)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack("!H", n)
    return bytes([is_last << 7 | reserved << 4 | opcode]) + size + b"\0\0\0\0" + data


def part(opcode, data=b""):
    return frame(opcode, data, is_last=False)


PONG = '{"type":"pong"}'
FRAMES = {
    "a message byte by byte": (
        part(1, PING[:1]) + b"".join(part(0, PING[n : n + 1]) for n in range(1, 15)) + frame(0),
        PONG,
    ),
    "10000 empty parts": (part(1, PING) + part(0) * 10_000 + frame(0), PONG),
    "a ping between parts": (part(1, PING[:4]) + frame(9) + frame(0, PING[4:]), PONG),
    "a message as bytes": (frame(2, PING), PONG),
    "a length longer than it must be": (b"\x81\xff" + struct.pack("!Q", len(PING)) + b"\0\0\0\0" + PING, PONG),
    "half a message": (frame(1, NO_TYPE), "not JSON"),
    "bytes that are no text": (frame(2, b"\xff" + SECRET), "not UTF-8"),
    "an id with half a pair": (frame(1, b'{"type":"ask","message":5,"id":"\\ud800"}'), "'id'"),
    "an infinite tool": (frame(1, b'{"type":"ask","message":"x","tools":[{"a":1e400}]}'), "tools cannot be sent"),
    "a type that is none": (frame(1, b'{"type":[]}'), "has a 'type'"),
    "text that is none": (frame(1, b"\xff" + SECRET), None),
    "a message within a message": (part(1, PING[:4]) + frame(1, PING), None),
    "a part of nothing": (frame(0, PING), None),
    "a ping in parts": (part(9), None),
    "a ping of 126 bytes": (frame(9, b"x" * 126), None),
    "a reserved bit": (frame(1, PING, reserved=2), None),
    "compressed without leave": (frame(1, b"x" * 100, reserved=4), None),
    "an unknown opcode": (frame(3, PING), None),
    "2^63 bytes": (b"\x81\xff" + b"\xff" * 8, None),
    "a good-bye that is no text": (frame(8, b"\x03\xe8\xff\xff"), None),
    "a good-bye of one byte": (frame(8, b"x"), None),
    "HTTP": (get("/ipyllm/api/health"), None),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_answered_or_ends_its_socket_alone(server, model, log, name):
    data, words = FRAMES[name]
    with closing(Client(server)) as client:
        client.socket.sock.sendall(data)
        if words is None:
            with pytest.raises((EOFError, OSError, websocket.WebSocketException)):
                client.until("pong")
        else:
            message = client.read()
            assert words in json.dumps(message, separators=(",", ":"))
    with closing(Client(server)) as again:
        again.send("ping")
        assert again.until("pong")
    assert model.requests == []
    check(log)
