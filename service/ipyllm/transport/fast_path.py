"""Sends the requests that the ``openai`` client prepared once, with a new body each time.

The client and httpx2 take 1 ms of CPU to build a request and wrap its response, which at 500 concurrent calls is most
of the time to first token. Only the body differs between requests. So :func:`capture_request` takes one from the client
just before it would be sent, and :class:`PreparedClient` sends it over aiohttp, the transport that the client uses too.
Refusals, compressed responses and failed connections (:class:`FallbackToClient`) are handed to the client as if it had
received them itself.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

from ipyllm.headers import NO_HEADERS, Headers
from ipyllm.transport.bounded_body import bounded
from ipyllm.transport.direct_post import DirectPost, NotDirectError
from ipyllm.transport.redirects import REDIRECTS, RedirectRefusedError, redirected
from ipyllm.transport.timed_session import timed_session

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Mapping

    from ipyllm.settings_models import Api
    from ipyllm.transport.wire_times import WireTimes

__all__ = [
    "CONNECTION_ERRORS",
    "FallbackToClient",
    "PreparedClient",
    "RequestCaptured",
    "Responder",
    "capture_request",
    "intercept_next_request",
    "intercepting",
    "return_to_pool",
]

Responder = Callable[[httpx2.Request], httpx2.Response]
"""Answers the client's request in place of the server: returns a response, or raises a failure."""

CONNECTION_ERRORS = (httpx2.HTTPError, aiohttp.ClientError)
"""Raised when the connection is lost while a response is read, with the client and without."""

_SET_BY_AIOHTTP = {"content-length", "transfer-encoding"}  # headers that it derives from the body
_MAX_REDIRECTS = 5
_IDLE_S = 4.0  # uvicorn, which serves vLLM and others, closes idle connections after 5 s
_LINGER_S = 1.0  # time for a server to end the response after its last event, before the connection is closed
_CLOSING_S = 1.0  # within which a server that was just closing an idle connection is noticed
_MAX_WRITE = 1 << 20  # bytes of a request that are written at once; aiohttp warns about more
_HTTP_OK = 200
# The connection was closed before the response began. ConnectionResetError: it closed while we wrote.
_UNANSWERED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)


class RequestCaptured(Exception):  # noqa: N818 - not an error: it carries the request out of the client
    """Carries the request that the client was about to send."""

    def __init__(self, request: httpx2.Request) -> None:
        super().__init__("The request was captured, not sent.")
        self.request = request


class FallbackToClient(Exception):  # noqa: N818 - not an error either
    """Carries a response that the client must read, with ``intercept_next_request(exc.responder)``."""

    def __init__(self, responder: Responder, response: aiohttp.ClientResponse | None = None) -> None:
        super().__init__("The client has to read this response.")
        self.responder = responder
        self._response = response

    def abandon(self) -> None:
        """Close the connection of a response that the client did not read to its end."""
        if self._response is not None:
            self._response.close()


_responders: ContextVar[list[Responder] | None] = ContextVar("ipyllm_responders", default=None)
"""Holds the responder for the client's next request, until it is used."""


@contextmanager
def intercept_next_request(responder: Responder) -> Iterator[None]:
    """Have ``responder`` answer the client's next request within the block; nothing is sent."""
    token = _responders.set([responder])
    try:
        yield
    finally:
        _responders.reset(token)


def intercepting(client_class: type[httpx2.AsyncClient]) -> type[httpx2.AsyncClient]:
    """Return a subclass of an HTTP client with :func:`intercept_next_request`, that notes times and bounds bodies."""
    base: Any = client_class  # known only at run time

    class Intercepting(base):  # type: ignore[misc]
        def _init_transport(self, **options: Any) -> Any:
            return _with_timed_session(super()._init_transport(**options))

        def _init_proxy_transport(self, proxy: Any, **options: Any) -> Any:
            return _with_timed_session(super()._init_proxy_transport(proxy, **options))

        async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
            response = bounded(await self._send(request, **options), is_streamed=stream)
            if not stream:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
            return response

        async def _send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            options |= {"follow_redirects": False, "stream": True}
            responders = _responders.get()
            response: httpx2.Response = (
                responders.pop()(request) if responders else await super().send(request, **options)
            )
            for _ in range(_MAX_REDIRECTS):
                location = response.headers.get("location")
                if location is None or response.status_code not in REDIRECTS:
                    return response
                await response.aclose()
                request = redirected(request, response.status_code, location)
                response = await super().send(request, **options)
            raise RedirectRefusedError(f"redirects more than {_MAX_REDIRECTS} times")

    return Intercepting


def _with_timed_session(transport: Any) -> Any:
    """Have the client's transport make its session as :func:`timed_session` does; it makes it when it first sends."""
    limits = transport.limits
    pool = {"ssl": transport.ssl_context, "keepalive_timeout": limits.keepalive_expiry}
    if limits.max_connections is not None:
        pool["limit"] = limits.max_connections
    transport.client = partial(timed_session, pool)
    return transport


def capture_request(request: httpx2.Request) -> httpx2.Response:
    """Take the request away from the client: a responder for :func:`intercept_next_request`."""
    raise RequestCaptured(request)


class PreparedClient:
    """Sends prepared requests, one for each API, over its own connections. Made on the loop it is used on.

    They have the same headers, the API key among them. ``context`` says which certificates are trusted.
    """

    def __init__(self, requests: Mapping[Api, httpx2.Request], limits: httpx2.Limits, context: ssl.SSLContext) -> None:
        request = next(iter(requests.values()))
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.multi_items() if name.lower() not in _SET_BY_AIOHTTP
        )
        pool = {
            "ssl": context,
            "limit": limits.max_connections or 0,
            "keepalive_timeout": min(limits.keepalive_expiry or _IDLE_S, _IDLE_S),
        }
        # Headers of the session are copied in one piece, not merged one by one.
        self._session = timed_session(pool, headers=headers, auto_decompress=False)
        # For requests that are sent again: each over a new connection.
        self._fresh = timed_session(
            {"ssl": context, "limit": 0, "force_close": True},
            cookie_jar=self._session.cookie_jar,
            headers=headers,
            auto_decompress=False,
        )
        self._urls = {api: URL(str(request.url)) for api, request in requests.items()}
        self._direct = {api: DirectPost(self._session, url) for api, url in self._urls.items()}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
        self.usable = True
        """False after a redirect, which only the client can follow."""

    async def send(
        self,
        body: dict[str, Any],
        connect_s: float | None,
        times: WireTimes,
        api: Api,
        headers: Headers = NO_HEADERS,
    ) -> aiohttp.ClientResponse:
        """Send ``body``, note its ``times``, and return the response if it is plain, with status 200.

        Further ``headers`` replace those of the same names. Raises :class:`FallbackToClient` for any other response,
        and for a failed connection. If the body is not JSON, raises TypeError or ValueError, and sends nothing.
        """
        content = self._encode(body).encode()
        timeout = self._timeouts.get(connect_s)
        if timeout is None:
            self._timeouts.clear()
            timeout = self._timeouts[connect_s] = aiohttp.ClientTimeout(sock_connect=connect_s)
        failed: Exception
        try:
            response = await self._post(api, content, headers, timeout, times)
        except (aiohttp.ClientError, OSError) as exc:  # a TimeoutError is an OSError
            failed = exc.with_traceback(None)  # which refers to this frame, and the frame to it
        else:
            if response.status == _HTTP_OK and "content-encoding" not in response.headers:
                return response
            if response.status in REDIRECTS:
                self.usable = False
            raise FallbackToClient(partial(_respond, response), response)
        raise FallbackToClient(partial(_fail, failed))

    async def _post(
        self,
        api: Api,
        content: bytes,
        headers: Headers,
        limits: aiohttp.ClientTimeout,
        times: WireTimes,
    ) -> aiohttp.ClientResponse:
        """Post ``content``, again over a new connection if the server was just closing the idle one that was used.

        A server that closes it later may have been at work: then only the retries of the call may send it again.
        """
        began_s = monotonic()
        url = self._urls[api]
        options: dict[str, Any] = {"headers": dict(headers) or None, "allow_redirects": False, "timeout": limits}
        try:
            with suppress(NotDirectError):
                if not headers:
                    return await self._direct[api].send(content, limits)
            return await self._session.post(url, data=_body(content), **options)
        except _UNANSWERED as exc:
            was_new = times.connect_ns is not None or isinstance(exc, aiohttp.ClientConnectorError)
            if was_new or monotonic() - began_s > _CLOSING_S:
                raise
        return await self._fresh.post(url, data=_body(content), **options)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._fresh.close()


def _body(content: bytes) -> bytes | io.BytesIO:
    """Return a large body as a file, which aiohttp writes in pieces, so that no single write blocks the loop."""
    return content if len(content) <= _MAX_WRITE else io.BytesIO(content)


def return_to_pool(response: aiohttp.ClientResponse, *, ended: bool) -> None:
    """Return a response's connection to the pool when the response has ``ended``, else close it.

    The bytes after the last event may still be on their way: the connection is closed if they do not arrive soon.
    """
    if not ended:
        response.close()
    elif not response.content.at_eof():
        asyncio.get_running_loop().call_later(_LINGER_S, response.close)


def _respond(response: aiohttp.ClientResponse, request: httpx2.Request) -> httpx2.Response:
    """Pass a response that has been received to the client."""
    reason = {"reason_phrase": response.reason.encode()} if response.reason else {}
    return httpx2.Response(
        response.status,
        headers=response.raw_headers,
        stream=_UnreadBody(response),
        request=request,
        extensions={"http_version": b"HTTP/1.1", **reason},
    )


def _fail(failure: Exception, request: httpx2.Request) -> httpx2.Response:
    """Pass the failure of a connection to the client."""
    error = httpx2.ConnectTimeout if isinstance(failure, TimeoutError) else httpx2.ConnectError
    raise error(str(failure), request=request) from failure


class _UnreadBody(httpx2.AsyncByteStream):
    """The unread part of a response, for httpx2 to decode."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.content.iter_any():
                yield data
        except aiohttp.ClientError as exc:
            raise httpx2.ReadError(str(exc)) from exc

    async def aclose(self) -> None:
        return_to_pool(self._response, ended=self._response.content.at_eof())
