"""The only room that touches the ``openai`` client: sends one request, hands out chunks with their arrival time.

The client makes the request, with its authentication, and the errors. What it made is sent by :mod:`ipyllm.transport.fast_path`, and
anything but a plain stream of events goes back to it. Chunks are read by :mod:`ipyllm.transport.decode`, not by the client's
typed stream: at many calls in flight its cost distorts the very latencies we measure (FACTS §1). Its own retries are
off, because they would hide inside the latency.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from ipyllm.errors import LLMError
from ipyllm.text.redact import remember_secret
from ipyllm.transport.decode import Chunk, End, broken_off, chunks, chunks_by_kind
from ipyllm.transport.error_mapping import Fault, classify, retry_after_s, server_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp
    import httpx2
    from openai import AsyncOpenAI, AsyncStream

    from ipyllm.transport.fast_path import Answer, FallbackToClient, PreparedClient

__all__ = ["Address", "Chunk", "Stream", "Wire", "is_url", "without_password"]

_logger = logging.getLogger("ipyllm.wire")
_NO_KEY = "no-key"  # the client insists on one; servers that need none ignore it
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is served: ``base_url`` up to and with ``/v1``, and the key, which no repr shows."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Host and port, as the ledger's ``endpoint`` column shows them."""
        return _host(self.base_url)

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return _is_loopback(self.base_url)


# Every call asks these several times, of the same few addresses.
@lru_cache(maxsize=256)
def _host(base_url: str) -> str:
    return urlsplit(base_url).netloc.rpartition("@")[2]


@lru_cache(maxsize=256)
def _is_loopback(base_url: str) -> bool:
    return (urlsplit(base_url).hostname or "") in _LOOPBACK


@lru_cache(maxsize=256)
def is_url(text: str) -> bool:
    """Whether ``text`` can be the address of a server.

    Examples
    --------
    >>> is_url("http://gpu-box:8000/v1"), is_url("gpu-box:8000/v1"), is_url("http://gpu-box:x/v1")
    (True, False, False)
    """
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        return False


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without user, password and query.

    Examples
    --------
    >>> without_password("http://ada:secret@gpu-box:8000/v1?key=abc")
    'http://gpu-box:8000/v1'
    """
    shown = re.sub(r"//[^/@]*@", "//", url)
    return shown.partition("?")[0]


class Connection(NamedTuple):
    """How requests get to an address: by the client, and where that is possible by a line of our own."""

    client: AsyncOpenAI
    line: PreparedClient | None


class Wire:
    """One client per address, kept warm between calls. Lives on the service thread's loop."""

    def __init__(self) -> None:
        self._ways: dict[Address, Connection] = {}
        self._making: dict[Address, asyncio.Task[Connection]] = {}

    async def _found(self, address: Address) -> Connection:
        making = self._making.get(address)
        if making is None:  # once, though many calls may ask at the same time
            making = self._making[address] = asyncio.ensure_future(self._make(address))
            making.add_done_callback(lambda _: self._making.pop(address, None))
        return await asyncio.shield(making)

    async def _make(self, address: Address) -> Connection:
        # 400 ms, once; in a thread, so that calls in flight are still timed truly.
        openai = await asyncio.to_thread(__import__, "openai")
        from ipyllm.transport.fast_path import PreparedClient, intercepting

        remember_secret(address.api_key)
        # A proxy of the environment must not get between us and this machine.
        trust_env = not address.is_loopback
        client = openai.AsyncOpenAI(
            base_url=address.base_url,
            api_key=address.api_key or _NO_KEY,
            max_retries=0,
            http_client=intercepting(openai.DefaultAioHttpClient)(trust_env=trust_env),
        )
        line = None
        if not trust_env or getproxies().keys() <= {"no"}:  # the client knows which proxy is for whom
            request = await _prepared(client)
            if request is not None:
                line = PreparedClient(request, openai.DEFAULT_CONNECTION_LIMITS, trust_env=trust_env)
        way = self._ways[address] = Connection(client, line)
        return way

    async def aclose(self) -> None:
        """Close every connection."""
        ways, self._ways = list(self._ways.values()), {}
        for way in ways:
            if way.line is not None:
                await way.line.aclose()
            await way.client.close()

    async def connect(self, address: Address) -> None:
        """Make the client for ``address`` now, so that the first call's clock does not run during its import."""
        await self.way(address)

    async def models(self, address: Address, *, service: str, timeout_s: float) -> list[str]:
        """Ask the server which models it has.

        Raises
        ------
        LLMError
            It cannot be reached, refuses, or answers with something else than a list of models.
        """
        import httpx2
        import openai

        client, _ = await self.way(address)
        failure: LLMError | None = None
        try:
            answer = await client.get("/models", cast_to=object, options={"timeout": httpx2.Timeout(timeout_s)})
        except openai.OpenAIError as exc:
            failure = _from_client(exc, address, service, timeout_s)
        except ValueError:  # what came is not JSON
            failure = _no_list(address, service)
        if failure is not None:  # raised out here: the client's exception holds the request, and with it the key
            raise failure
        listed = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise _no_list(address, service)
        return [str(entry["id"]) for entry in listed if isinstance(entry, dict) and entry.get("id")]

    def stream(self, address: Address, body: dict[str, Any], *, model: str, connect_s: float | None) -> Stream:
        """Send ``body`` and hand out the chunks of the answer: ``async with wire.stream(…) as chunks``.

        Only the time to connect is limited here; silence is the watchdog's affair.
        """
        return Stream(self, address, body, model, connect_s)

    async def way(self, address: Address) -> Connection:
        """Return how requests get to ``address``, found out at the first."""
        return self._ways.get(address) or await self._found(address)


class Stream:
    """One request and its answer. Leaving the block closes the connection, or gives it back if the answer has ended.

    Raises
    ------
    LLMError
        For each way in which a server, or the way to it, can fail; ``truncated`` when the stream ends
        without saying that it is finished.
    """

    __slots__ = ("_address", "_body", "_connect_s", "_end", "_model", "_received", "_reply", "_wire")

    def __init__(self, wire: Wire, address: Address, body: dict[str, Any], model: str, connect_s: float | None) -> None:
        self._wire = wire
        self._address = address
        self._body = body
        self._model = model
        self._connect_s = connect_s
        self._end = End()
        self._reply: aiohttp.ClientResponse | None = None  # to our own line
        self._received: AsyncStream[object] | None = None  # by the client

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        client, line = await self._wire.way(self._address)
        instead: FallbackToClient | None = None
        if line is not None and line.usable:
            from ipyllm.transport.fast_path import FallbackToClient

            try:
                self._reply = await line.send(self._body, self._connect_s)
                return chunks(self._reply.content.iter_any(), self._end, self._address, self._model)
            except FallbackToClient as unusual:
                instead = unusual.with_traceback(None)  # which refers to this frame, and the frame to it
            except (TypeError, ValueError):  # no JSON: the client may know how to make it so, or says what is wrong
                _logger.debug("a body for %s goes by way of the client", self._model)
        answer = instead.answer if instead is not None else None
        try:
            self._received = await _by_client(client, self._address, self._body, self._model, self._connect_s, answer)
        except BaseException:
            if instead is not None:
                instead.abandon()  # a refusal may be cut off in the middle, by a cancel or a limit
            raise
        return chunks_by_kind(self._received.response, self._address, self._model)

    async def __aexit__(self, *exc_info: object) -> None:
        if self._reply is not None:
            from ipyllm.transport.fast_path import release

            release(self._reply, ended=self._end.done)
        elif self._received is not None:
            # Shielded: a cancelled call must still close its connection, or the server goes on generating.
            await asyncio.shield(self._received.close())


async def _by_client(
    client: AsyncOpenAI,
    address: Address,
    body: dict[str, Any],
    model: str,
    connect_s: float | None,
    answer: Answer | None,
) -> AsyncStream[object]:
    """Have the client send ``body``, or make what it can of an answer that has come already."""
    import openai

    from ipyllm.transport.fast_path import BROKEN, intercept_next_request

    failure: LLMError | None = None
    try:
        with intercept_next_request(answer) if answer is not None else nullcontext():
            return await _post(client, body, connect_s)
    except openai.OpenAIError as exc:
        failure = _from_client(exc, address, model, connect_s)
    except BROKEN as exc:  # a refusal broke off in the middle, which the client passes on as it comes
        failure = broken_off(type(exc).__name__, address, model)
    raise failure  # out here: the client's exception holds the request, and with it the key


async def _post(client: AsyncOpenAI, body: dict[str, Any], connect_s: float | None) -> AsyncStream[object]:
    import httpx2
    import openai

    return await client.post(
        "/chat/completions",
        cast_to=object,
        body=body,
        stream=True,
        stream_cls=openai.AsyncStream[object],
        # A key of our own, or the client makes a random one for each request; it is not sent.
        options={"timeout": httpx2.Timeout(None, connect=connect_s), "idempotency_key": "unused"},
    )


async def _prepared(client: AsyncOpenAI) -> httpx2.Request | None:
    """Return the request as the client makes it; None if it does not let us have it, and sends them all itself."""
    from ipyllm.transport.fast_path import Preparing, intercept_next_request, preparing

    try:
        with intercept_next_request(preparing):
            await _post(client, {}, None)
    except Preparing as prepared:
        return prepared.request
    except Exception as exc:  # noqa: BLE001 - whatever it is, the client says it better when it sends the real request
        _logger.debug("the client prepares no request in advance: %s", type(exc).__name__)
    return None


def _no_list(address: Address, service: str) -> LLMError:
    return LLMError(
        f"{service} at {address.host} answered, but with no list of models; name the model yourself.",
        category="api_error",
        model=service,
    )


def _root_cause(exc: BaseException) -> BaseException:
    """Follow the chain of causes to its end: the operating system's own error, if there is one."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return exc


def _from_client(exc: Exception, address: Address, model: str, connect_s: float | None) -> LLMError:
    import openai

    match exc:
        case openai.APIStatusError():
            fault = server_error(exc.body or exc.response.text, exc.status_code, exc.response.headers)
            return classify(fault, model=model)
        # The aiohttp transport reports refused and dropped connections as timeouts; the cause tells them apart.
        case openai.APITimeoutError() if isinstance(_root_cause(exc), (TimeoutError, asyncio.CancelledError)):
            return LLMError(
                f"{model} could not be reached at {address.host} within {connect_s:g} s; check that the server runs, "
                "or allow longer with timeout=….",
                category="timeout",
                model=model,
            )
        case openai.APIConnectionError():
            cause = _root_cause(exc)
            told = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
            reason = f" ({told})" if cause is not exc else ""
            return LLMError(
                f"{model} cannot be reached at {address.host}{reason}; check that the server runs "
                "and the address is right.",
                category="connection",
                model=model,
            )
        case openai.APIError():
            return classify(
                Fault(None, exc.code, str(exc.message), retry_after_s({})),
                model=model,
            )
        case _:
            return LLMError(f"{model}: {exc}", category="unknown_error", model=model)
