"""Posts bodies to one URL with a head that is written once, over the connections of an aiohttp session.

aiohttp builds each request anew: its headers, a payload, a writer, and before Python 3.12 a task that writes the body.
That takes as much time as all else between the start of a call and its response. Here the connection, the response and
its parsing are aiohttp's; only the bytes of the request are ours.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from aiohttp.helpers import TimerNoop

from ipyllm.transport.timed_session import TimedResponse

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["DirectPost", "NotDirectError"]

_LARGEST: Final = 1 << 16  # bytes of a body that a connection takes at once
_END_OF_LINE: Final = "\r\n"


class NotDirectError(Exception):
    """The request has not been sent, and the session has to do it."""


class _Sent(NamedTuple):
    """What aiohttp asks of the writer of a request that was sent."""

    output_size: int


class DirectPost:
    """Posts to ``url`` with the headers and the connections of ``session``, on the loop it is made on."""

    def __init__(self, session: aiohttp.ClientSession, url: URL) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._is_usable = False
        try:
            request = self._request = aiohttp.ClientRequest(
                "POST", url, headers=session.headers, data=b"-", loop=self._loop, session=session
            )
        except (AttributeError, TypeError):  # of another aiohttp
            return
        lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
        self._head = _END_OF_LINE.join([*lines, "Content-Length: "]).encode()
        has_breaks = any("\r" in line or "\n" in line for line in lines)
        # Other loops write without our sockets, which tell when: there, aiohttp's traces do.
        self._is_usable = isinstance(self._loop, asyncio.SelectorEventLoop) and not has_breaks

    async def send(self, content: bytes, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Post a body; raise what aiohttp raises. Raises :class:`NotDirectError` where only the session can do it."""
        connector, jar = self._session.connector, self._session.cookie_jar
        if not self._is_usable or connector is None or len(content) > _LARGEST or len(jar):
            raise NotDirectError
        try:
            connection = await connector.connect(self._request, traces=[], timeout=limits)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {self._request.url}") from exc
        try:
            data = b"%s%d\r\n\r\n%s" % (self._head, len(content), content)
            response = self._begin(connection, len(data))
            _write(connection.transport, data)
            try:
                await response.start(connection)
            except BaseException:
                response.close()
                raise
        except BaseException:
            connection.close()
            raise
        if "Set-Cookie" in response.headers:
            jar.update_cookies(response.cookies, response.url)
        return response

    def _begin(self, connection: Any, n_bytes: int) -> aiohttp.ClientResponse:
        """Return the response that is to be read from a connection; nothing has been sent."""
        request = self._request
        sent: dict[str, Any] = {"stream_writer": _Sent(n_bytes)} if _TAKES_WRITER else {}
        try:
            connection.protocol.set_response_params(timer=_NO_LIMIT, read_until_eof=True, auto_decompress=False)
            return TimedResponse(
                request.method,
                request.url,
                writer=None,
                continue100=None,
                timer=_NO_LIMIT,
                request_info=request.request_info,
                traces=[],
                loop=self._loop,
                session=self._session,
                **sent,
            )
        except (AttributeError, TypeError):  # of another aiohttp
            self._is_usable = False
            raise NotDirectError from None


def _write(transport: asyncio.Transport | None, data: bytes) -> None:
    if transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
    transport.write(data)


_NO_LIMIT: Final = TimerNoop()
_TAKES_WRITER: Final = "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters
