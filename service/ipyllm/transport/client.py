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
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import getproxies

from ipyllm.errors import LLMError
from ipyllm.headers import NO_HEADERS, Headers
from ipyllm.text.secrets import value_of
from ipyllm.transport.apis import API_PATHS
from ipyllm.transport.base_url_hint import base_url_hint
from ipyllm.transport.certificates import ssl_context
from ipyllm.transport.client_errors import (
    is_about_stream_options,
    is_no_such_path,
    map_client_error,
    map_connection_error,
)
from ipyllm.transport.decode import Chunk, StreamEnd, chunks
from ipyllm.transport.large_json import LARGE, parse_large
from ipyllm.transport.model_list import parse_model_list
from ipyllm.transport.wire_times import WireTimes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import aiohttp
    import httpx2
    from openai import AsyncOpenAI, AsyncStream, Omit

    from ipyllm.settings_models import Api
    from ipyllm.transport.address import Address
    from ipyllm.transport.fast_path import FallbackToClient, PreparedClient, Responder
    from ipyllm.transport.model_list import ListedModel

__all__ = ["Chunk", "ChunkStream", "TransportClient"]

_logger = logging.getLogger("ipyllm.wire")
_TRY_S = 5.0  # time limit of trying an address that may be the right one
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
        self._trials: dict[
            Address, asyncio.Task[bool]
        ] = {}  # whether a model server is at an address that may be meant

    async def connection(self, address: Address) -> Connection:
        """Return the connection to ``address``, created on first use."""
        return self._connections.get(address) or await self._create_once(address)

    async def _create_once(self, address: Address) -> Connection:
        pending = self._pending.get(address)
        if pending is None:  # only once, even if many calls ask at the same time
            pending = self._pending[address] = asyncio.ensure_future(self._create(address))
            pending.add_done_callback(partial(self._created, address))
        return await asyncio.shield(pending)

    def _created(self, address: Address, task: asyncio.Task[Connection]) -> None:
        del self._pending[address]
        if not task.cancelled():
            task.exception()  # seen: of a failure that no call waits for any more, nothing is to be printed

    async def _create(self, address: Address) -> Connection:
        # The import takes 400 ms: in a thread, so that the calls in flight are still timed correctly.
        openai = await asyncio.to_thread(__import__, "openai")
        from ipyllm.transport.fast_path import PreparedClient, intercepting

        # A proxy from the environment must not be used for this machine.
        trust_env = not address.is_loopback
        context = await asyncio.to_thread(_ssl_context, address)
        client = openai.AsyncOpenAI(
            base_url=address.base_url,
            api_key=value_of(address.api_key) or _NO_KEY,
            default_headers=dict(address.headers),
            max_retries=0,
            http_client=intercepting(openai.DefaultAioHttpClient)(trust_env=trust_env, verify=context),
        )
        prepared = None
        if not trust_env or getproxies().keys() <= {"no"}:  # only the client knows which proxy is for which host
            requests = await _capture_requests(client, address)
            if requests is not None:
                prepared = PreparedClient(requests, openai.DEFAULT_CONNECTION_LIMITS, context)
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
        import openai

        listed, failure, is_wrong_address = None, None, False
        await self.connection(address)  # an import at the first call is not the server's time
        try:
            async with asyncio.timeout(timeout_s):
                listed = await self._listed(address, timeout_s)
            is_wrong_address = listed is None
        except TimeoutError:
            failure = LLMError(
                f"{service} at {address.host} did not list its models within {timeout_s:g} s; check that the server "
                "runs, or name the model yourself.",
                category="timeout",
                model=service,
                limit="total",
            )
        except openai.OpenAIError as exc:
            failure = map_client_error(exc, address, service, timeout_s)
            is_wrong_address = is_no_such_path(exc)
        if listed is not None:
            return listed
        if failure is None:
            sentence = f"{service} at {address.host} did not return a list of models; name the model yourself."
            failure = LLMError(sentence, category="api_error", model=service)
        if is_wrong_address:
            failure = await self.explain_address(failure, address, service)
        failure.hide(address.headers.hide)
        raise failure  # out here: the client's exception holds the request, and with it the key

    async def _listed(self, address: Address, timeout_s: float) -> list[ListedModel] | None:
        """Return the models that a server lists; None if it returns something else."""
        import httpx2

        client, _ = await self.connection(address)
        response = await client.get(
            address.url("/models"),
            cast_to=httpx2.Response,
            options={"headers": _headers(address), "timeout": httpx2.Timeout(timeout_s)},
        )
        body = response.content
        try:
            return parse_model_list(await parse_large(body) if len(body) > LARGE else json.loads(body))
        except (ValueError, RecursionError):  # not JSON
            return None

    async def _is_model_server(self, address: Address) -> bool:
        import openai

        await self.connection(address)
        try:
            async with asyncio.timeout(_TRY_S):
                return await self._listed(address, _TRY_S) is not None
        except (openai.OpenAIError, TimeoutError):
            return False

    async def explain_address(self, error: LLMError, address: Address, model: str) -> LLMError:
        """Return an error that says what is wrong with an address at which nothing was found, and which one is right.

        The address that is probably meant is tried once in a session. The same error, if the address looks right.
        """
        hint = base_url_hint(address.base_url)
        if hint is None:
            return error
        meant = replace(address, base_url=hint.meant)
        trial = self._trials.get(meant)
        if trial is None:
            trial = self._trials[meant] = asyncio.ensure_future(self._is_model_server(meant))
        is_certain = await asyncio.shield(trial)
        said = f"HTTP {error.status_code}" if error.status_code else "it returned no model's response"
        return LLMError(
            hint.sentence(model, address.host, said, is_certain=is_certain),
            category="not_found",
            model=model,
            status_code=error.status_code,
            is_lasting=True,
        )

    def stream(
        self,
        address: Address,
        body: dict[str, Any],
        *,
        model: str,
        connect_s: float | None,
        api: Api = "chat",
        headers: Headers = NO_HEADERS,
    ) -> ChunkStream:
        """Send ``body`` and yield the response's chunks: ``async with transport.stream(…) as chunks``.

        ``headers`` are those of this request alone. Only the time to connect is limited here; the watchdog limits
        silence.
        """
        return ChunkStream(self, address, body, model, connect_s, api, headers)


class ChunkStream:
    """One request and its response. On exit its connection is closed, or reused if the response has ended.

    Raises :class:`LLMError` when the server or the connection fails; ``truncated`` when the stream ends without a
    finish signal.
    """

    __slots__ = (
        *("_address", "_api", "_body", "_connect_s", "_end", "_headers", "_model", "_refused_stream_options"),
        *("_response", "_stream", "_transport", "times"),
    )

    def __init__(
        self,
        transport: TransportClient,
        address: Address,
        body: dict[str, Any],
        model: str,
        connect_s: float | None,
        api: Api,
        headers: Headers,
    ) -> None:
        self._transport = transport
        self._address = address
        self._api: Api = api
        self._body = body
        self._model = model
        self._connect_s = connect_s
        self._headers = headers
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
                self._response = await prepared.send(self._body, self._connect_s, self.times, self._api, self._headers)
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
        return chunks(_with_pauses(received), self.times, self._end, self._address, self._model, self._api)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._response is not None:
            from ipyllm.transport.fast_path import return_to_pool

            return_to_pool(self._response, ended=self._end.done)
        elif self._stream is not None:
            # Shielded: a cancelled call must still close its connection, or the server goes on generating.
            await asyncio.shield(self._stream.close())
        if self._end.is_foreign and isinstance(error, LLMError):
            explained = await self._transport.explain_address(error, self._address, self._model)
            if explained is not error:
                raise explained from None

    async def _send_with_client(self, client: AsyncOpenAI, responder: Responder | None) -> AsyncStream[object]:
        """Have the client send the body, or interpret a response that has been received already."""
        import openai

        from ipyllm.transport.fast_path import CONNECTION_ERRORS, intercept_next_request

        failure: LLMError
        is_wrong_address = False
        try:
            with intercept_next_request(responder) if responder is not None else nullcontext():
                return await _post(client, self._address, self._api, self._body, self._connect_s, self._headers)
        except openai.OpenAIError as exc:
            failure = map_client_error(exc, self._address, self._model, self._connect_s)
            self._refused_stream_options = "stream_options" in self._body and is_about_stream_options(exc)
            is_wrong_address = is_no_such_path(exc)
        except CONNECTION_ERRORS as exc:  # aiohttp's own, which the client passes on
            failure = map_connection_error(exc, self._address, self._model)
        if is_wrong_address:
            failure = await self._transport.explain_address(failure, self._address, self._model)
        raise failure  # out here: the client's exception holds the request, and with it the key


async def _with_pauses(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the event loop a turn after each piece: one packet may inflate to hundreds."""
    async for data in pieces:
        yield data
        await asyncio.sleep(0)


def _ssl_context(address: Address) -> ssl.SSLContext:
    try:
        return ssl_context(address.authorities)
    except LLMError:
        if address.base_url.startswith("https:"):
            raise
        return ssl_context(())  # for redirects, which may never come


def _headers(address: Address, of_call: Headers = NO_HEADERS) -> dict[str, str | Omit]:
    """Return the headers of a request besides the client's own; a key among the user's takes the place of ours."""
    import openai

    headers: dict[str, str | Omit] = {"Authorization": openai.Omit()} if address.sends_own_key else {}
    return headers | dict(of_call)


async def _post(
    client: AsyncOpenAI,
    address: Address,
    api: Api,
    body: dict[str, Any],
    connect_s: float | None,
    headers: Headers = NO_HEADERS,
) -> AsyncStream[object]:
    import httpx2
    import openai

    return await client.post(
        address.url(API_PATHS[api]),
        cast_to=object,
        body=body,
        stream=True,
        stream_cls=openai.AsyncStream[object],
        # The idempotency key is not sent; without it the client generates a random one for each request.
        options={
            "headers": _headers(address, headers),
            "timeout": httpx2.Timeout(None, connect=connect_s),
            "idempotency_key": "unused",
        },
    )


async def _capture_requests(client: AsyncOpenAI, address: Address) -> dict[Api, httpx2.Request] | None:
    """Return the request that the client would send to each API, or None if they cannot be captured."""
    from ipyllm.transport.fast_path import RequestCaptured, capture_request, intercept_next_request

    captured: dict[Api, httpx2.Request] = {}
    for api in API_PATHS:
        try:
            with intercept_next_request(capture_request):
                await _post(client, address, api, {}, None)
        except RequestCaptured as exc:
            captured[api] = exc.request
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client explains it when it sends the real request
            _logger.debug("the client prepares no request in advance: %s", type(exc).__name__)
            return None
    return captured
