"""A request that the client has prepared once, sent again and again with only its body exchanged.

The ``openai`` client and httpx2 take 1 ms of CPU to build one request and to wrap its answer, which at 500 calls in
flight is most of what a first token waits for. What they build is the same each time but for the body. So
:class:`Preparing` takes a request from the client just before it would send it, and a :class:`PreparedClient` sends the like of
it over aiohttp, the transport that the client would have used too. Anything but a plain stream of events
(:class:`FallbackToClient`) goes back to the client, which takes it as if it had received it itself: refusals, compressed and
whole answers, and connections that fail are its affair, as ever.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import SimpleNamespace

__all__ = [
    "BROKEN",
    "Answer",
    "FallbackToClient",
    "PreparedClient",
    "Preparing",
    "intercept_next_request",
    "intercepting",
    "is_stream",
    "preparing",
    "release",
]

Answer = Callable[[httpx2.Request], httpx2.Response]
"""What the client is given instead of what it would receive: a response, or the exception of a failure."""

BROKEN = (httpx2.HTTPError, aiohttp.ClientError)
"""What reading an answer raises when its connection breaks, through the client and without."""

_BY_AIOHTTP = {"content-length", "transfer-encoding"}  # these it makes itself, of the body
_IDLE_S = 4.0  # uvicorn, which serves vLLM and others, closes after 5: a request must not meet that
_LINGER_S = 1.0  # so long a server may take after [DONE] to end the answer, or its connection is given up
_LARGE = 1 << 20  # bytes of a request that are written at once; aiohttp warns of more
_HTTP_OK = 200
_REDIRECTS = range(300, 400)
# The connection was gone before anything of an answer came. ConnectionResetError: it was closing when we wrote.
_UNANSWERED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError)


def is_stream(kind: str) -> bool:
    """Whether an answer of this content type is read as a stream of events: whatever does not say otherwise."""
    return "text/event-stream" in kind or not ("json" in kind or "html" in kind)


class Preparing(Exception):  # noqa: N818 - no error: it carries the request out of the client before it is sent
    """The request that the client was about to send."""

    def __init__(self, request: httpx2.Request) -> None:
        super().__init__("A request was prepared, and not sent.")
        self.request = request


class FallbackToClient(Exception):  # noqa: N818 - no error either
    """What came instead of a plain stream: for the client to make sense of, by ``intercept_next_request(unusual.answer)``."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__("An answer that the client has to read.")
        self.answer = answer

    def abandon(self) -> None:
        """Close the connection of an answer that the client did not read to its end."""
        if isinstance(self.answer, _Received):
            self.answer.close()


class _Instead:
    """What the client's next request is answered with, once."""

    __slots__ = ("answer",)

    def __init__(self, answer: Answer) -> None:
        self.answer: Answer | None = answer


_instead: ContextVar[_Instead | None] = ContextVar("ipyllm_instead", default=None)


class intercept_next_request:  # noqa: N801 - reads as a phrase: `with intercept_next_request(preparing): …`
    """Within the block, the client's next request is not sent: ``answer`` makes its response, or raises."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __enter__(self) -> None:
        self._token = _instead.set(_Instead(self._answer))

    def __exit__(self, *exc_info: object) -> None:
        _instead.reset(self._token)


def intercepting(client_class: type[httpx2.AsyncClient]) -> type[httpx2.AsyncClient]:
    """Return a kind of HTTP client that obeys :class:`intercept_next_request`, and is otherwise ``client_class``."""
    base: Any = client_class  # known only at run time

    class Replaying(base):  # type: ignore[misc]
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            instead = _instead.get()
            if instead is None or instead.answer is None:
                sent: httpx2.Response = await super().send(request, **options)
                return sent
            answer, instead.answer = instead.answer, None
            return answer(request)

    return Replaying


def preparing(request: httpx2.Request) -> httpx2.Response:
    """Take the request away from the client: an ``answer`` for :class:`intercept_next_request`."""
    raise Preparing(request)


class PreparedClient:
    """The way to one address: a prepared request, and the connections it goes over. Made on the loop it is used on.

    Parameters
    ----------
    request : httpx2.Request
        As the client prepared it, key included.
    limits : httpx2.Limits
        How many connections, and how long they are kept.
    trust_env : bool
        Whether certificates named in the environment count.
    """

    def __init__(self, request: httpx2.Request, limits: httpx2.Limits, *, trust_env: bool) -> None:
        self._url = URL(str(request.url))
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.multi_items() if name.lower() not in _BY_AIOHTTP
        )
        secure = httpx2.create_ssl_context(trust_env=trust_env) if self._url.scheme == "https" else True
        connector = aiohttp.TCPConnector(
            ssl=secure,
            limit=limits.max_connections or 0,
            keepalive_timeout=min(limits.keepalive_expiry or _IDLE_S, _IDLE_S),
        )
        watching = aiohttp.TraceConfig()
        watching.on_connection_reuseconn.append(_note_reuse)
        # As the session's own headers they are copied in one piece, not merged one by one.
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, auto_decompress=False, trace_configs=[watching]
        )
        # For what is sent again: each time over a connection of its own.
        self._fresh = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, limit=0, force_close=True),
            cookie_jar=self._session.cookie_jar,
            headers=headers,
            auto_decompress=False,
        )
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
        self.usable = True
        """False once it has turned out that the client alone knows the way: a redirect."""

    async def send(self, body: dict[str, Any], connect_s: float | None) -> aiohttp.ClientResponse:
        """Send ``body``, and return the answer if it is a plain stream.

        Raises
        ------
        FallbackToClient
            When something else came.
        TypeError, ValueError
            When the body is no JSON; nothing was sent.
        """
        content = self._encode(body).encode()
        timeout = self._timeouts.get(connect_s)
        if timeout is None:
            self._timeouts.clear()
            timeout = self._timeouts[connect_s] = aiohttp.ClientTimeout(sock_connect=connect_s)
        failed: Exception
        try:
            response = await self._posted(content, timeout)
        except (aiohttp.ClientError, OSError) as exc:  # a TimeoutError is an OSError
            failed = exc.with_traceback(None)  # which refers to this frame, and the frame to it
        else:
            headers = response.headers
            if (
                response.status == _HTTP_OK
                and "content-encoding" not in headers
                and is_stream(headers.get("content-type", ""))
            ):
                return response
            if response.status in _REDIRECTS:
                self.usable = False
                response.close()
                raise FallbackToClient(None)
            raise FallbackToClient(_Received(response))
        raise FallbackToClient(_Failed(failed))

    async def _posted(self, content: bytes, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send it; once more if it went over a connection that the server was just closing for want of use."""
        reused: list[bool] = []
        try:
            return await self._session.post(
                self._url, data=_body(content), allow_redirects=False, timeout=limits, trace_request_ctx=reused
            )
        except _UNANSWERED:
            if not reused:
                raise
        return await self._fresh.post(self._url, data=_body(content), allow_redirects=False, timeout=limits)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._fresh.close()


def _body(content: bytes) -> bytes | io.BytesIO:
    """Return what aiohttp writes piece by piece where one write would hold up the loop."""
    return content if len(content) <= _LARGE else io.BytesIO(content)


def release(response: aiohttp.ClientResponse, *, ended: bool) -> None:
    """Be done with an answer: keep its connection when it has ``ended``, else close it at once.

    After ``[DONE]`` the last bytes of the answer may still be on their way. When they come the connection goes back to
    the pool; if they do not come soon it is closed.
    """
    if not ended:
        response.close()
    elif not response.content.at_eof():
        asyncio.get_running_loop().call_later(_LINGER_S, response.close)


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.append(True)


class _Received:
    """Hands the client an answer that has been received."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def close(self) -> None:
        self._response.close()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        response = self._response
        reason = {"reason_phrase": response.reason.encode()} if response.reason else {}
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            request=request,
            extensions={"http_version": b"HTTP/1.1", **reason},
        )


class _Failed:
    """Hands the client the failure of a connection."""

    def __init__(self, failed: Exception) -> None:
        self._failed = failed

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        kind = httpx2.ConnectTimeout if isinstance(self._failed, TimeoutError) else httpx2.ConnectError
        raise kind(str(self._failed), request=request) from self._failed


class _Body(httpx2.AsyncByteStream):
    """The rest of an answer, for httpx2 to decode and read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.content.iter_any():
                yield data
        except aiohttp.ClientError as exc:
            raise httpx2.ReadError(str(exc)) from exc

    async def aclose(self) -> None:
        release(self._response, ended=self._response.content.at_eof())
