"""Requests to the fake server: by hand on a socket, by the openai client, and by aiohttp."""

import json
import socket
from contextlib import closing

import openai

CHAT = "/v1/chat/completions"


def connect(fake):
    port = int(fake.url.rsplit(":", 1)[1])
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, *, method="POST", path=CHAT, stream=True, close=True, **body):
    """Send one request by hand."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    if stream:
        asked["stream_options"] = {"include_usage": True}
    data = json.dumps(asked | body).encode() if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\n"
    head += f"Content-Length: {len(data)}\r\n" + ("Connection: close\r\n" if close else "")
    connection.sendall(head.encode() + b"\r\n" + data)


def read_to_end(connection):
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def exchange(fake, **options):
    """Make one request on one connection: (status, headers, decoded body, whether it was complete)."""
    with closing(connect(fake)) as connection:
        ask(connection, **options)
        head, _, rest = read_to_end(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", len(rest)))
        return int(first.split()[1]), headers, rest, len(rest) == length
    body, complete = b"", False
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest, complete = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :], int(size, 16) == 0
    return int(first.split()[1]), headers, body, complete


def stream_lines(fake, **options):
    """Return the data lines of a streamed reply."""
    return [line[6:] for line in exchange(fake, **options)[2].decode().split("\n") if line.startswith("data: ")]


def chunks(fake, **options):
    return [json.loads(line) for line in stream_lines(fake, **options) if line != "[DONE]"]


def text_of(found):
    return "".join((c["choices"][0].get("delta") or {}).get("content") or "" for c in found if c.get("choices"))


def client_of(fake, **options):
    return openai.OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0, timeout=60, **options)


def create(client, **options):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **options)


def post(fake, session):
    """Ask for a stream with aiohttp."""
    return session.post(f"{fake.base_url}/chat/completions", json={"model": "m", "stream": True, "messages": []})
