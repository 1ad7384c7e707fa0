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
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["FLOODS", "Flood", "bomb", "event_stream", "head", "token", "whole"]

MB = 1_000_000
_PIECE = 1 << 16


class Flood:
    """Sends the same bytes to every client. `sent` counts them."""

    def __init__(self, reply: Callable[[], Iterable[bytes]]) -> None:
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


def whole(text: str) -> bytes:
    """Return a whole chat completion."""
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def event_stream(*events: bytes) -> Callable[[], Iterator[bytes]]:
    """Return a reply of some events, the last of them without end."""

    def reply() -> Iterator[bytes]:
        yield head() + b"".join(events[:-1])
        yield from endless(events[-1])

    return reply


def endless(data: bytes) -> Iterator[bytes]:
    """Yield the same bytes for ever, in pieces of some kilobytes."""
    return itertools.repeat(data * max(1, _PIECE // len(data)))


def plain(beginning: bytes, rest: bytes, megabytes: int | None, end: bytes = b"") -> Callable[[], Iterator[bytes]]:
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
) -> Callable[[], Iterator[bytes]]:
    """Return a reply that inflates to so many megabytes."""
    packed = compressed(encoding, beginning, rest * (MB // len(rest)), megabytes, end)
    return lambda: iter([head(status, "application/json", encoding) + packed])


def compressed(encoding: str, beginning: bytes, block: bytes, times: int, end: bytes) -> bytes:
    """Return the compressed form of `beginning`, so many blocks, and `end`."""
    match encoding:
        case "gzip" | "deflate":
            zipper = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
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


_TEXT = b'data: {"choices": [{"index": 0, "delta": {"content": "'
_CALL = {"index": 0, "id": "a", "type": "function"}
_EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "one two "}}]}\n\n'
_STATUS = b"HTTP/1.1 200 OK\r\n"
_LONG = "x" * 10 * MB


FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a stream that never ends": event_stream(token(content="Hi"), token(content="word ")),
    "reasoning that never ends": event_stream(token(content="Hi"), token(reasoning="word ")),
    "arguments that never end": event_stream(
        token(content="Hi"),
        token(tool_calls=[_CALL | {"function": {"name": "f", "arguments": "{"}}]),
        token(tool_calls=[{"index": 0, "function": {"arguments": "word "}}]),
    ),
    "details of reasoning that never end": event_stream(
        token(content="Hi"),
        token(reasoning_details=[{"type": "reasoning.text", "text": "word ", "index": 0}]),
    ),
    "a line that never ends": plain(head() + token(content="Hi") + _TEXT, b"word ", None),
    "lines of one event that never end": event_stream(token(content="Hi"), b"data: word\n"),
    "comments that never end": event_stream(token(content="Hi"), b": keep-alive\n\n"),
    "empty lines that never end": event_stream(token(content="Hi"), b"\n"),
    "empty events that never end": event_stream(token(content="Hi"), b"data: {}\n\n"),
    "spaces that never end": plain(head(), b" ", None),
    "a whole answer that never ends": plain(head(200, "application/json") + whole("")[:-3], b"word ", None),
    "lists in lists that never end": plain(head(200, "application/json"), b"[", None),
    "something else that never ends": plain(head(200, "text/plain"), b"lorem ipsum ", None),
    "an error that never ends": plain(head(500, "text/plain") + b"the worker died ", b"lorem ipsum ", None),
    "an error of one key that never ends": plain(head(429, "application/json") + b'{"error": {"', b"word ", None),
    "a tool's name of 10 MB": event_stream(
        token(content="Hi"), token(tool_calls=[_CALL | {"function": {"name": _LONG, "arguments": "{}"}}]), b": \n"
    ),
    "a call's id of 10 MB": event_stream(
        token(content="Hi"), token(tool_calls=[_CALL | {"id": _LONG, "function": {"name": "f"}}]), b": \n"
    ),
    "a million calls": event_stream(
        token(content="Hi"), _TEXT[:-12] + b'"tool_calls": [' + b"{}," * MB + b"{}]}}]}\n\n", b": \n"
    ),
    "a million parts": event_stream(token(content="Hi"), _TEXT[:-1] + b"[" + b'"a",' * MB + b'"a"]}}]}\n\n', b": \n"),
    "an error in the stream of 15 MB": event_stream(
        token(content="Hi"), b'data: {"error": {"message": "the worker died %b"}}\n\n' % (b" a" * 7 * MB), b": \n"
    ),
    "five million lists": plain(head(200, "application/json") + b'{"choices": [' + b"[]," * 5 * MB + b"[]]}", b" ", 0),
    "ten thousand headers": lambda: [_STATUS + b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)), b"\r\n"],
    "headers that never end": lambda: itertools.chain(
        [_STATUS], (b"X-%d: %b\r\n" % (n, b"a" * 5000) for n in itertools.count())
    ),
    "a header of 10 MB": lambda: [_STATUS + b"X-A: ", _LONG.encode(), b"\r\n\r\n"],
    "a header that never ends": plain(_STATUS + b"X-A: ", b"a", None),
    "a status line that never ends": plain(b"HTTP/1.1 200 ", b"a", None),
    "a chunk's extension that never ends": plain(
        _STATUS + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a", None
    ),
    "trailers that never end": plain(
        _STATUS + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: a\r\n", None
    ),
    "answers before the answer that never end": plain(b"", b"HTTP/1.1 103 Early Hints\r\nX-A: a\r\n\r\n", None),
}
