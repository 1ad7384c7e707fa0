"""Sends requests through the ``openai`` client and yields the response's chunks with their arrival times.

The client builds requests, authentication included, and maps failures. :mod:`ipyllm.transport.fast_path` sends what it
built; refusals, compressed responses and failed connections go back to the client. :mod:`ipyllm.transport.decode`
parses the chunks, because the client's typed stream takes ten times as long, which shows in the latencies of concurrent
calls. The client's own retries are off: they would hide inside the latency.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import getproxies

from ipyllm.errors import LLMError
from ipyllm.text.format import shorten
from ipyllm.text.redact import remember_secret
from ipyllm.transport.apis import API_PATHS
from ipyllm.transport.decode import Chunk, StreamEnd, chunks, connection_lost_error
from ipyllm.transport.error_body import ServerFault, parse_error
from ipyllm.transport.error_mapping import to_llm_error
from ipyllm.transport.model_list import parse_model_list
from ipyllm.transport.wire_times import WireTimes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp
    import httpx2
    from openai import APIStatusError, AsyncOpenAI, AsyncStream

    from ipyllm.response import Category
    from ipyllm.settings_models import Api
    from ipyllm.transport.address import Address
    from ipyllm.transport.fast_path import FallbackToClient, PreparedClient, Responder
    from ipyllm.transport.model_list import ListedModel

__all__ = ["Chunk", "ChunkStream", "TransportClient"]

_logger = logging.getLogger("ipyllm.wire")
_REFUSED_PARAMETER = frozenset({400, 422})
_MAX_DETAIL = 200  # characters
_NO_KEY = "no-key"  # the client requires one; servers without authentication ignore it


class Connection(NamedTuple):
    """The client of one address, and the prepared client where one can be used."""

    client: AsyncOpenAI
    prepared: PreparedClient | None


class TransportClient:
    """Keeps one client per address, so that connections stay warm between calls. Lives on the service thread's loop."""

    def __init__(self) -> None:
        self._connections: dict[Address, Connection] = {}
        self._pending: dict[Address, asyncio.Task[Connection]] = {}
        self.refuse_stream_options: set[tuple[str, Any]] = set()
        """The servers and their models that refused ``stream_options`` in this session."""

    async def connection(self, address: Address) -> Connection:
        """Return the connection to ``address``, created on first use."""
        return self._connections.get(address) or await self._create_once(address)

    async def _create_once(self, address: Address) -> Connection:
        pending = self._pending.get(address)
        if pending is None:  # only once, even if many calls ask at the same time
            pending = self._pending[address] = asyncio.ensure_future(self._create(address))
            pending.add_done_callback(lambda _: self._pending.pop(address, None))
        return await asyncio.shield(pending)

    async def _create(self, address: Address) -> Connection:
        # The import takes 400 ms: in a thread, so that the calls in flight are still timed correctly.
        openai = await asyncio.to_thread(__import__, "openai")
        from ipyllm.transport.fast_path import PreparedClient, intercepting

        remember_secret(address.api_key)
        # A proxy from the environment must not be used for this machine.
        trust_env = not address.is_loopback
        client = openai.AsyncOpenAI(
            base_url=address.base_url,
            api_key=address.api_key or _NO_KEY,
            max_retries=0,
            http_client=intercepting(openai.DefaultAioHttpClient)(trust_env=trust_env),
        )
        prepared = None
        if not trust_env or getproxies().keys() <= {"no"}:  # only the client knows which proxy is for which host
            requests = await _capture_requests(client)
            if requests is not None:
                prepared = PreparedClient(requests, openai.DEFAULT_CONNECTION_LIMITS, trust_env=trust_env)
        connection = self._connections[address] = Connection(client, prepared)
        return connection

    async def aclose(self) -> None:
        """Close every connection."""
        connections, self._connections = list(self._connections.values()), {}
        for client, prepared in connections:
            if prepared is not None:
                await prepared.aclose()
            await client.close()

    async def models(self, address: Address, *, service: str, timeout_s: float) -> list[ListedModel]:
        """List the models of a server; raise if it cannot be reached, refuses, or returns something else."""
        import httpx2
        import openai

        client, _ = await self.connection(address)
        listed, failure = None, None
        try:
            answer = await client.get("/models", cast_to=object, options={"timeout": httpx2.Timeout(timeout_s)})
            listed = parse_model_list(answer)
        except openai.OpenAIError as exc:
            failure = _map_client_error(exc, address, service, timeout_s)
        except ValueError:  # not JSON
            pass
        if failure is None and listed is None:
            sentence = f"{service} at {address.host} did not return a list of models; name the model yourself."
            failure = LLMError(sentence, category="api_error", model=service)
        if failure is not None:  # raised out here: the client's exception holds the request, and with it the key
            raise failure
        assert listed is not None
        return listed

    def stream(
        self, address: Address, body: dict[str, Any], *, model: str, connect_s: float | None, api: Api = "chat"
    ) -> ChunkStream:
        """Send ``body`` and yield the response's chunks: ``async with transport.stream(…) as chunks``.

        Only the time to connect is limited here; the watchdog limits silence.
        """
        return ChunkStream(self, address, body, model, connect_s, api)


class ChunkStream:
    """One request and its response. On exit its connection is closed, or reused if the response has ended.

    Raises :class:`LLMError` when the server or the connection fails; ``truncated`` when the stream ends without a
    finish signal.
    """

    __slots__ = (
        *("_address", "_api", "_body", "_connect_s", "_end", "_model", "_refused_stream_options", "_response"),
        *("_stream", "_transport", "times"),
    )

    def __init__(
        self,
        transport: TransportClient,
        address: Address,
        body: dict[str, Any],
        model: str,
        connect_s: float | None,
        api: Api,
    ) -> None:
        self._transport = transport
        self._address = address
        self._api: Api = api
        self._body = body
        self._model = model
        self._connect_s = connect_s
        self._end = StreamEnd()
        self.times = WireTimes()
        self._response: aiohttp.ClientResponse | None = None  # if the prepared client received it
        self._stream: AsyncStream[object] | None = None  # if the openai client received it
        self._refused_stream_options = False

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        refuse, model = self._transport.refuse_stream_options, (self._address.base_url, self._body.get("model"))
        if model in refuse:
            self._leave_out_stream_options()
        try:
            return await self._open()
        except LLMError:
            if not self._refused_stream_options:
                raise
        self._leave_out_stream_options()
        self.times.begin_again()
        opened = await self._open()
        refuse.add(model)
        return opened

    def _leave_out_stream_options(self) -> None:
        self._refused_stream_options = False
        self._body = {name: value for name, value in self._body.items() if name != "stream_options"}

    async def _open(self) -> AsyncIterator[Chunk]:
        """Send the body and return the chunks of the response."""
        client, prepared = await self._transport.connection(self._address)
        fallback: FallbackToClient | None = None
        if prepared is not None and prepared.usable:
            from ipyllm.transport.fast_path import FallbackToClient

            try:
                self._response = await prepared.send(self._body, self._connect_s, self.times, self._api)
                pieces = self._response.content.iter_any()
                return chunks(pieces, self.times, self._end, self._address, self._model, self._api)
            except FallbackToClient as exc:
                fallback = exc.with_traceback(None)  # which refers to this frame, and the frame to it
            except (TypeError, ValueError):  # not JSON: the client may know how to serialize it, or explains why not
                _logger.debug("sending the body for %s through the client", self._model)
        try:
            self._stream = await self._send_with_client(client, fallback.responder if fallback is not None else None)
        except BaseException:
            if fallback is not None:
                fallback.abandon()  # a cancel or a timeout may interrupt the reading of a refusal
            raise
        received = self._stream.response.aiter_bytes()
        return chunks(received, self.times, self._end, self._address, self._model, self._api)

    async def __aexit__(self, *exc_info: object) -> None:
        if self._response is not None:
            from ipyllm.transport.fast_path import return_to_pool

            return_to_pool(self._response, ended=self._end.done)
        elif self._stream is not None:
            # Shielded: a cancelled call must still close its connection, or the server goes on generating.
            await asyncio.shield(self._stream.close())

    async def _send_with_client(self, client: AsyncOpenAI, responder: Responder | None) -> AsyncStream[object]:
        """Have the client send the body, or interpret a response that has been received already."""
        import openai

        from ipyllm.transport.fast_path import CONNECTION_ERRORS, intercept_next_request

        failure: LLMError
        try:
            with intercept_next_request(responder) if responder is not None else nullcontext():
                return await _post(client, self._api, self._body, self._connect_s)
        except openai.OpenAIError as exc:
            failure = _map_client_error(exc, self._address, self._model, self._connect_s)
            self._refused_stream_options = "stream_options" in self._body and _is_about_stream_options(exc)
        except CONNECTION_ERRORS as exc:  # aiohttp's own, which the client passes on
            failure = (
                _not_http_error(exc, self._address, self._model)
                if _is_malformed(exc)
                else connection_lost_error(type(exc).__name__, self._address, self._model)
            )
        raise failure  # out here: the client's exception holds the request, and with it the key


async def _post(client: AsyncOpenAI, api: Api, body: dict[str, Any], connect_s: float | None) -> AsyncStream[object]:
    import httpx2
    import openai

    return await client.post(
        API_PATHS[api],
        cast_to=object,
        body=body,
        stream=True,
        stream_cls=openai.AsyncStream[object],
        # The key is not sent; without it the client generates a random one for each request.
        options={"timeout": httpx2.Timeout(None, connect=connect_s), "idempotency_key": "unused"},
    )


async def _capture_requests(client: AsyncOpenAI) -> dict[Api, httpx2.Request] | None:
    """Return the request that the client would send to each API, or None if they cannot be captured."""
    from ipyllm.transport.fast_path import RequestCaptured, capture_request, intercept_next_request

    captured: dict[Api, httpx2.Request] = {}
    for api in API_PATHS:
        try:
            with intercept_next_request(capture_request):
                await _post(client, api, {}, None)
        except RequestCaptured as exc:
            captured[api] = exc.request
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client explains it when it sends the real request
            _logger.debug("the client prepares no request in advance: %s", type(exc).__name__)
            return None
    return captured


def _is_malformed(exc: BaseException | None) -> bool:
    """Return whether a cause of ``exc`` is a response that breaks the rules of HTTP, not just one that was cut off."""
    import aiohttp
    from aiohttp.http_exceptions import HttpProcessingError

    while exc is not None and not isinstance(exc, aiohttp.ClientPayloadError):
        if isinstance(exc, HttpProcessingError | aiohttp.ClientResponseError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _not_http_error(exc: BaseException, address: Address, model: str) -> LLMError:
    cause = _root_cause(exc)
    said = " ".join(str(getattr(cause, "message", None) or cause).split()).removesuffix(" ^")
    return LLMError(
        f"{model} at {address.host} sent a response that is not HTTP ({shorten(said, 80)}); "
        "this is the server's fault, or the address is not that of a model server.",
        category="api_error",
        model=model,
    )


def _is_about_stream_options(exc: Exception) -> bool:
    """Whether a server refused ``stream_options``, which Mistral's schema and some proxies do not know."""
    import openai

    if not isinstance(exc, openai.APIStatusError) or exc.status_code not in _REFUSED_PARAMETER:
        return False
    fault = parse_error(_body(exc))
    return any(name in text for name in ("stream_options", "include_usage") for text in (fault.message, fault.param))


def _root_cause(exc: BaseException) -> BaseException:
    """Return the last exception in the chain of causes: the operating system's error, if there is one."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return exc


def _map_client_error(exc: Exception, address: Address, model: str, connect_s: float | None) -> LLMError:
    """Map an exception of the ``openai`` client."""
    import openai

    category: Category = "connection"
    match exc:
        case openai.APIStatusError():
            return to_llm_error(parse_error(_body(exc), exc.status_code, exc.response.headers), model=model)
        # The aiohttp transport reports refused and dropped connections as timeouts; the cause tells them apart.
        case openai.APITimeoutError() if isinstance(_root_cause(exc), (TimeoutError, asyncio.CancelledError)):
            category = "timeout"
            sentence = (
                f"{model} could not be reached at {address.host} within {connect_s:g} s; check that the server runs, "
                "or allow more time with timeout=…."
            )
        case openai.APIConnectionError() if _is_malformed(exc):
            return _not_http_error(exc, address, model)
        case openai.APIConnectionError():
            cause = _root_cause(exc)
            detail = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
            reason = f" ({shorten(detail, _MAX_DETAIL)})" if cause is not exc else ""
            sentence = (
                f"{model} cannot be reached at {address.host}{reason}; check that the server runs "
                "and the address is right."
            )
        case openai.APIError():
            return to_llm_error(
                ServerFault(codes=(exc.code,) if exc.code else (), message=str(exc.message)), model=model
            )
        case _:
            category, sentence = "unknown_error", f"{model}: {exc}"
    return LLMError(
        sentence,
        category=category,
        model=model,
        reached_server=not _failed_to_connect(exc),
        limit="connect" if category == "timeout" else None,
    )


def _failed_to_connect(exc: BaseException | None) -> bool:
    """Return whether a cause of ``exc`` says that there was no connection."""
    import aiohttp

    while exc is not None:
        if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _body(exc: APIStatusError) -> Any:
    """Return the body of a refusal: parsed, if it is JSON. The exception's own body is a part of it."""
    text = exc.response.text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
