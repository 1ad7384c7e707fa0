"""A server that sends raw bytes without end or measure, on loopback, until the client closes the connection.

`FakeLLM` renders whole replies; what a `Flood` sends is made while it is sent.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Reply = Callable[[], Iterable[bytes]]

__all__ = ["ENDLESS", "LARGE", "Flood", "Hostile", "bomb", "event_stream", "head", "plain", "token", "zipped"]

MB = 1_000_000
_PIECE = 1 << 16


class Flood:
    """Sends the same bytes to every client. `sent` counts them."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, name="flood", daemon=True)]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(_PIECE)
            for data in self._reply():
                connection.sendall(data)
                self.sent += len(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(_PIECE):
                pass


def head(status: int = 200, kind: str = "text/event-stream", encoding: str = "") -> bytes:
    """Return the head of a reply that ends with its connection."""
    lines = [f"HTTP/1.1 {status} Fake", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"Content-Encoding: {encoding}"] if encoding else []
    return "\r\n".join([*lines, "", ""]).encode()


def token(**delta: object) -> bytes:
    """Return one chunk of a chat completion as an event."""
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()


def event_stream(*events: bytes) -> Reply:
    """Return a reply of some events, the last of them without end."""

    def reply() -> Iterator[bytes]:
        yield head() + b"".join(events[:-1])
        yield from endless(events[-1])

    return reply


def endless(data: bytes) -> Iterator[bytes]:
    """Yield the same bytes for ever, in pieces of some kilobytes."""
    return itertools.repeat(data * max(1, _PIECE // len(data)))


def plain(beginning: bytes, rest: bytes, megabytes: int | None, end: bytes = b"") -> Reply:
    """Return a reply: `beginning`, then `rest` again and again, so many megabytes or without end."""

    def reply() -> Iterator[bytes]:
        yield beginning
        n_sent = 0
        for data in endless(rest):
            if megabytes is not None and n_sent >= megabytes * MB:
                break
            yield data
            n_sent += len(data)
        yield end

    return reply


def bomb(
    encoding: str, beginning: bytes, end: bytes, *, status: int = 200, megabytes: int = 512, rest: bytes = b"0123456789"
) -> Reply:
    """Return a reply that inflates to so many megabytes."""
    packed = compressed(encoding, beginning, rest * (MB // len(rest)), megabytes, end)
    return lambda: iter([head(status, "application/json", encoding) + packed])


def compressed(encoding: str, beginning: bytes, block: bytes, times: int, end: bytes) -> bytes:
    """Return the compressed form of `beginning`, so many blocks, and `end`."""
    match encoding:
        case "gzip" | "deflate":
            zipper = zlib.compressobj(1, wbits=31 if encoding == "gzip" else 15)
            compress, finish = zipper.compress, zipper.flush
        case "br":
            import brotli

            made = brotli.Compressor(quality=5)
            compress, finish = made.process, made.finish
        case "zstd":
            from backports import zstd

            packer = zstd.ZstdCompressor()
            compress, finish = packer.compress, packer.flush
        case _:
            raise ValueError(encoding)
    return b"".join([compress(beginning), *(compress(block) for _ in range(times)), compress(end), finish()])


def zipped(reply: Reply) -> Reply:
    """Return the same reply, compressed with gzip while it is sent."""

    def packed() -> Iterator[bytes]:
        pieces, zipper = iter(reply()), zlib.compressobj(1, wbits=31)
        lines, _, body = next(pieces).partition(b"\r\n\r\n")
        yield lines + b"\r\nContent-Encoding: gzip\r\n\r\n"
        for piece in itertools.chain([body], pieces):
            yield zipper.compress(piece) + zipper.flush(zlib.Z_SYNC_FLUSH)
        yield zipper.flush()

    return packed


class Hostile(NamedTuple):
    """What a hostile server sends, and what a call to it must say, with the text that it keeps."""

    reply: Reply
    says: str
    category: str = "api_error"
    content: str = ""


_TEXT = b'data: {"choices": [{"index": 0, "delta": {"content": "'
_CALL = {"index": 0, "id": "a", "type": "function"}
_STATUS = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _STATUS + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LONG = "x" * 10 * MB
_HI = token(content="Hi")
_ANSWER, _EVENT, _NO_HTTP = "in one answer; the rest was not read", "without the end of an event", "that is not HTTP"

ENDLESS = {
    "a stream": Hostile(event_stream(_HI, token(content="word ")), _ANSWER, content="Hiword word"),
    "reasoning": Hostile(event_stream(_HI, token(reasoning="word ")), _ANSWER, content="Hi"),
    "arguments": Hostile(
        event_stream(
            _HI,
            token(tool_calls=[_CALL | {"function": {"name": "f", "arguments": "{"}}]),
            token(tool_calls=[{"index": 0, "function": {"arguments": "word "}}]),
        ),
        _ANSWER,
        content="Hi",
    ),
    "details of reasoning": Hostile(
        event_stream(_HI, token(reasoning_details=[{"type": "reasoning.text", "text": "word ", "index": 0}])),
        _ANSWER,
        content="Hi",
    ),
    "empty chunks": Hostile(event_stream(_HI, b"data: {}\n\n"), _ANSWER, content="Hi"),
    "a line": Hostile(plain(head() + _HI + _TEXT, b"word ", None), _EVENT, content="Hi"),
    "lines of one event": Hostile(event_stream(_HI, b"data: word\n"), _EVENT, content="Hi"),
    "comments": Hostile(event_stream(_HI, b": keep-alive\n\n"), _EVENT, content="Hi"),
    "empty lines": Hostile(event_stream(_HI, b"\r\n"), _EVENT, content="Hi"),
    "spaces": Hostile(plain(head(), b" ", None), _ANSWER),
    "a whole answer": Hostile(
        plain(head(200, "application/json") + b'{"choices": [{"message": {"content": "', b"word ", None), _ANSWER
    ),
    "lists in lists": Hostile(plain(head(200, "application/json"), b"[", None), _ANSWER),
    "something else": Hostile(plain(head(200, "text/plain"), b"lorem ipsum ", None), _EVENT),
    "an error": Hostile(
        plain(head(500, "text/plain") + b"the worker died ", b"lorem ipsum ", None), 'HTTP 500, "the worker died'
    ),
    "an error in JSON": Hostile(
        plain(head(429, "application/json") + b'{"error": {"', b"word ", None), "too many requests", "rate_limit"
    ),
}
"""What never ends, whatever the bounds are."""

LARGE = {
    "a tool's name of 10 MB": Hostile(
        event_stream(_HI, token(tool_calls=[_CALL | {"function": {"name": _LONG, "arguments": "{}"}}]), b": \n"),
        "sent 10,000,000 characters as the name of a function",
        content="Hi",
    ),
    "a call's id of 10 MB": Hostile(
        event_stream(_HI, token(tool_calls=[_CALL | {"id": _LONG, "function": {"name": "f"}}]), b": \n"),
        "sent 10,000,000 characters as the id of a function call",
        content="Hi",
    ),
    "a million calls": Hostile(
        event_stream(_HI, _TEXT[:-12] + b'"tool_calls": [' + b"{}," * MB + b"{}]}}]}\n\n", b": \n"),
        "sent 1,000,001 pieces of function calls at once",
        content="Hi",
    ),
    "a million parts": Hostile(
        event_stream(_HI, _TEXT[:-1] + b"[" + b'"a",' * MB + b'"a"]}}]}\n\n', b": \n"),
        "sent 1,000,001 parts of its text at once",
        content="Hi",
    ),
    "five million lists": Hostile(
        plain(head(200, "application/json") + b'{"choices": [' + b"[]," * 5 * MB + b"[]]}", b" ", 0),
        "sent JSON with more than 2,000,000 values",
    ),
    "an error of 15 MB in the stream": Hostile(
        event_stream(_HI, b'data: {"error": {"message": "the worker died%b"}}\n\n' % (b" a" * 7 * MB), b": \n"),
        "the worker died",
        content="Hi",
    ),
    "ten thousand headers": Hostile(
        lambda: [_STATUS + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)) + b"\r\n"], _NO_HTTP
    ),
    "headers without end": Hostile(
        lambda: (_STATUS if n == 0 else b"X-%d: %b\r\n" % (n, b"a" * 5000) for n in itertools.count()), _NO_HTTP
    ),
    "a header of 10 MB": Hostile(lambda: [_STATUS + b"X-A: ", _LONG.encode(), b"\r\n\r\n"], _NO_HTTP),
    "a status line without end": Hostile(plain(b"HTTP/1.1 200 ", b"a", None), _NO_HTTP),
    "trailers without end": Hostile(plain(_CHUNKED + b"0\r\n", b"X-A: a\r\n", None), "was lost", "connection"),
    "a chunk's extension without end": Hostile(plain(_CHUNKED + b"5;", b"a", None), "took too long", "timeout"),
    "answers before the answer without end": Hostile(
        plain(b"", b"HTTP/1.1 103 Early Hints\r\nX-A: a\r\n\r\n", None), "took too long", "timeout"
    ),
}
"""What is large or without end elsewhere than in the body as a whole, by the usual bounds."""
