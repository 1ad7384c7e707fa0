"""One connection to the fake: parses HTTP/1.1, writes the reply on schedule, records what happened when.

No web framework: it would not allow breaking connections.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from tests.fakes.render import RenderedScript, Write

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connection", "Request"]


@dataclass
class Request:
    """A client's request, and how it ended.

    Times are `perf_counter_ns`: on Linux all processes share this clock.
    """

    method: str
    path: str  # without the query
    headers: dict[str, str]  # names in lower case
    json: Any  # None if there was no body or it was not JSON
    raw: bytes
    arrived_ns: int
    query: str = ""
    admitted: bool = False  # whether it counts as in flight; False for a 429 by `admit` and for other paths
    status: int | None = None  # None: no reply was sent
    sent_ns: list[int] = field(default_factory=list)  # of each token chunk (or body), just before its write
    finished_ns: int | None = None  # when the script ended
    closed_by_client: bool = False  # the client disconnected before that
    closed_at_ns: int | None = None  # when either side closed the connection

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages, or on the Responses API the input items."""
        sent: list[dict[str, Any]] = self.json["input" if "input" in self.json else "messages"]
        return sent

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        content = self.messages[-1]["content"]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Connection(asyncio.Protocol):
    """Reads a request, sends its reply on schedule, reads the next.

    Parameters
    ----------
    plan : callable
        Chooses the reply to a request.
    on_ended : callable
        Called whenever a request has ended.
    open_connections : set
        Contains this connection while it is open.

    asyncio sets TCP_NODELAY on its sockets, so that each write is sent at once.
    """

    def __init__(
        self,
        plan: Callable[[Request], RenderedScript],
        on_ended: Callable[[Request], None],
        open_connections: set[Connection],
    ) -> None:
        self._plan_for, self._on_ended, self._open = plan, on_ended, open_connections
        self._buffer = b""
        self._request: Request | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._request is None:
            self._read()

    def eof_received(self) -> None:
        self._on_client_closed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_client_closed()
        self._open.discard(self)

    def abort(self) -> None:
        """Close because the server stops, without recording that the client disconnected."""
        self._end_request()
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Close if no request is being answered."""
        if self._request is None:
            self._transport.close()

    def skip_pauses(self) -> None:
        """Send the rest of the running reply at once, unless it has no end."""
        if self._request is not None and self._plan.ending != "drip":
            self._skipping_pauses = True
            if self._timer is not None:
                self._timer.cancel()
            self._write_due()

    def send_next(self) -> None:
        """Send what is due next, and keep the pauses after it."""
        if self._request is not None and self._timer is not None:
            self._timer.cancel()
            early = max(0.0, self._timer.when() - self._loop.time())
            self._started_at, self._last_write_at = self._started_at - early, self._last_write_at - early
            self._write_due()

    def _read(self) -> None:
        """Take one request from the buffer, if it is complete, and begin its reply."""
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        raw, self._buffer = rest[:length], rest[length:]
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        self._start(Request(method, path, headers, body, raw, perf_counter_ns(), query))

    def _start(self, request: Request) -> None:
        self._started_at, self._last_write_at = self._loop.time(), 0.0
        self._request, self._plan = request, self._plan_for(request)
        self._writes = [*self._head(self._plan), *self._plan.writes]
        self._next = 0
        self._skipping_pauses = False
        self._write_due()

    @staticmethod
    def _head(plan: RenderedScript) -> list[Write]:
        if not plan.head:
            return []
        line, headers = plan.head.split(b"\r\n", 1)
        headers += b"x-request-id: req_%x\r\n\r\n" % perf_counter_ns()
        first, rest = plan.head_at
        if first == rest:
            return [Write(first, line + b"\r\n" + headers)]
        return [Write(first, line + b"\r\n"), Write(rest, headers)]

    def _write_due(self) -> None:
        """Write what is due and sleep until the absolute time of the next write, so that delays do not add up."""
        if (request := self._request) is None:
            return
        while self._next < len(self._writes):
            write = self._writes[self._next]
            due = max(self._started_at + write.at, self._last_write_at + write.pause)
            if due - self._loop.time() > 1e-6 and not self._skipping_pauses:
                self._timer = self._loop.call_at(due, self._write_due)
                return
            if self._transport.is_closing():
                return
            if write.tokens:
                # Before the write: on loopback the client may read it before `write` returns.
                request.sent_ns.extend([perf_counter_ns()] * write.tokens)
            self._transport.write(write.data)
            self._last_write_at = self._loop.time()
            self._next += 1
            if self._plan.ending == "drip" and self._next == len(self._writes):
                self._writes.append(write._replace(at=write.at + self._plan.drip_s))
        if self._plan.ending != "hang":
            self._finish(request)

    def _finish(self, request: Request) -> None:
        self._end_request()
        request.finished_ns = perf_counter_ns()
        if self._plan.ending == "rst":
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._transport.abort()
        elif self._plan.ending == "fin" or request.headers.get("connection", "").lower() == "close":
            self._transport.close()
        else:
            self._read()
            return
        request.closed_at_ns = perf_counter_ns()

    def _on_client_closed(self) -> None:
        if (request := self._request) is not None:
            request.closed_by_client = True
            request.closed_at_ns = perf_counter_ns()
            self._end_request()

    def _end_request(self) -> None:
        """End the request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._request is not None:
            self._on_ended(self._request)
            self._request = None
