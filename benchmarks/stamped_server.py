"""A model server that knows when requests reached it: the kernel stamps them, and it notes when it sends a first token.

One thread without an event loop or framework, so that it is late as seldom as possible; when it is late, it says so.
Run ``python -m benchmarks.stamped_server [--ttft S] [--gap S] [--chunks N]``: it prints its address and serves until
its standard input is closed. ``GET /records`` returns and forgets ``{prompt: [earliest, latest]}``: the true time to
first token lies between these, in seconds, since one was measured just before the write and the other just after.
"""

from __future__ import annotations

import argparse
import heapq
import json
import select
import socket
import struct
import sys
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter_ns, time_ns

_SO_TIMESTAMPNS = 35
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(**fields: object) -> bytes:
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-model"} | fields
    return _http_chunk(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def _delta(delta: dict[str, str], reason: str | None = None) -> bytes:
    return _event(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}])


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    received: bytes = b""
    prompt: str = ""
    arrived_ns: int = 0
    sent: int = 0


@dataclass
class _Server:
    ttft_ns: int
    gap_ns: int
    chunks: int
    records: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # inherited by what it accepts
        self._listener.setblocking(False)
        self._connections: dict[int, _Connection] = {}
        self._due: list[tuple[int, int, _Connection]] = []
        self._number = count()
        self._role = _HEAD + _delta({"role": "assistant", "content": ""})
        self._token = _delta({"content": "token "})
        usage = {"prompt_tokens": 10, "completion_tokens": self.chunks, "total_tokens": 10 + self.chunks}
        self._finish = _delta({}, "stop") + _event(choices=[], usage=usage) + _http_chunk(b"data: [DONE]\n\n") + _END
        print(f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1", flush=True)

    def serve(self) -> None:
        epoll = select.epoll()
        epoll.register(self._listener.fileno(), select.EPOLLIN)
        epoll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
        while True:
            wait_s = max(0.0, (self._due[0][0] - perf_counter_ns()) / 1e9) if self._due else -1
            for descriptor, _ in epoll.poll(wait_s):
                if descriptor == self._listener.fileno():
                    self._accept(epoll)
                elif descriptor == sys.stdin.fileno():
                    return
                else:
                    self._read(self._connections[descriptor])
            while self._due and self._due[0][0] <= perf_counter_ns():
                due_ns, _, connection = heapq.heappop(self._due)
                self._write(connection, due_ns)

    def _accept(self, epoll: select.epoll) -> None:
        try:
            while True:
                accepted, _ = self._listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[accepted.fileno()] = _Connection(accepted)
                epoll.register(accepted.fileno(), select.EPOLLIN)
        except BlockingIOError:
            pass

    def _read(self, connection: _Connection) -> None:
        try:
            data, ancillary, _, _ = connection.socket.recvmsg(1 << 16, socket.CMSG_SPACE(16))
        except ConnectionError:
            data, ancillary = b"", []
        if not data:
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
            return
        read_ns = perf_counter_ns()
        connection.received += data
        head, _, body = connection.received.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            self._reply_with_records(connection)
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        connection.received = b""
        stamps = [struct.unpack("@qq", stamp) for _, kind, stamp in ancillary if kind == _SO_TIMESTAMPNS]
        age_ns = time_ns() - stamps[0][0] * 10**9 - stamps[0][1] if stamps else 0
        connection.arrived_ns = read_ns - age_ns
        connection.prompt = json.loads(body)["messages"][-1]["content"]
        connection.sent = 0
        connection.socket.send(self._role)
        self._schedule(connection, connection.arrived_ns + self.ttft_ns)

    def _reply_with_records(self, connection: _Connection) -> None:
        body = json.dumps(self.records).encode()
        self.records.clear()
        connection.received = b""
        connection.socket.setblocking(True)
        connection.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    def _schedule(self, connection: _Connection, due_ns: int) -> None:
        heapq.heappush(self._due, (due_ns, next(self._number), connection))

    def _write(self, connection: _Connection, due_ns: int) -> None:
        if connection.socket.fileno() < 0:
            return
        connection.sent += 1
        last = connection.sent == self.chunks
        before_ns = perf_counter_ns()
        try:
            connection.socket.send(self._token + self._finish if last else self._token)
        except ConnectionError:
            return  # the client is gone
        if connection.sent == 1:
            arrived_ns = connection.arrived_ns
            self.records[connection.prompt] = ((before_ns - arrived_ns) / 1e9, (perf_counter_ns() - arrived_ns) / 1e9)
        if not last:
            self._schedule(connection, due_ns + self.gap_ns)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("--ttft", type=float, default=0.05)
    _parser.add_argument("--gap", type=float, default=0.01)
    _parser.add_argument("--chunks", type=int, default=32)
    _given = _parser.parse_args()
    _Server(round(_given.ttft * 1e9), round(_given.gap * 1e9), _given.chunks).serve()
