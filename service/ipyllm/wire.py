"""The only room that touches the ``openai`` client: sends one request, hands out chunks with their arrival time.

Chunks are parsed here into plain dicts, not into the client's typed objects: those cost ten times as much and
distort, at many calls in flight, the very latencies we measure (FACTS §1). The client keeps what it does well:
connections, authentication, errors. Its own retries are off, because they would hide inside the latency.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ipyllm.errors import LLMError
from ipyllm.faults import Fault, classify, retry_after_s, server_error
from ipyllm.redact import remember_secret
from ipyllm.sse import ServerSentEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2
    from openai import AsyncOpenAI

__all__ = ["Address", "Chunk", "Wire", "is_url", "without_password"]

Chunk = tuple[dict[str, Any], int]
"""A chunk as the server sent it, and ``perf_counter_ns`` at its arrival."""

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
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return (urlsplit(self.base_url).hostname or "") in _LOOPBACK


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


class Wire:
    """One client per address, kept warm between calls. Lives on the service thread's loop."""

    def __init__(self) -> None:
        self._clients: dict[Address, AsyncOpenAI] = {}

    async def _client(self, address: Address) -> AsyncOpenAI:
        client = self._clients.get(address)
        if client is None:
            # 400 ms, once; in a thread, so that calls in flight are still timed truly.
            openai = await asyncio.to_thread(__import__, "openai")
            remember_secret(address.api_key)
            # A proxy of the environment must not get between us and this machine.
            transport = openai.DefaultAioHttpClient(trust_env=not address.is_loopback)
            client = openai.AsyncOpenAI(
                base_url=address.base_url,
                api_key=address.api_key or _NO_KEY,
                max_retries=0,
                http_client=transport,
            )
            client = self._clients.setdefault(address, client)
        return client

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def connect(self, address: Address) -> None:
        """Make the client for ``address`` now, so that the first call's clock does not run during its import."""
        await self._client(address)

    async def models(self, address: Address, *, service: str, timeout_s: float) -> list[str]:
        """Ask the server which models it has.

        Raises
        ------
        LLMError
            It cannot be reached, refuses, or answers with something else than a list of models.
        """
        import httpx2
        import openai

        client = await self._client(address)
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

    @asynccontextmanager
    async def stream(
        self, address: Address, body: dict[str, Any], *, model: str, connect_s: float | None
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Send ``body`` and hand out the chunks of the answer; leaving the block closes the connection.

        Only the time to connect is limited here; silence is the watchdog's affair.

        Raises
        ------
        LLMError
            For each way in which a server, or the way to it, can fail; ``truncated`` when the stream ends
            without saying that it is finished.
        """
        import httpx2
        import openai

        client = await self._client(address)
        failure: LLMError | None = None
        try:
            stream = await client.post(
                "/chat/completions",
                cast_to=object,
                body=body,
                stream=True,
                stream_cls=openai.AsyncStream[object],
                # A key of our own, or the client makes a random one for each request; it is not sent.
                options={"timeout": httpx2.Timeout(None, connect=connect_s), "idempotency_key": "unused"},
            )
        except openai.OpenAIError as exc:
            failure = _from_client(exc, address, model, connect_s)
        if failure is not None:  # raised out here: the client's exception holds the request, and with it the key
            raise failure
        try:
            yield _chunks(stream.response, address, model)
        finally:
            # Shielded: a cancelled call must still close its connection, or the server goes on generating.
            await asyncio.shield(stream.close())


async def _chunks(response: httpx2.Response, address: Address, model: str) -> AsyncIterator[Chunk]:
    import httpx2

    kind = response.headers.get("content-type", "")
    broken = ""
    try:
        if "text/event-stream" not in kind and ("json" in kind or "html" in kind):
            yield _whole(await response.aread(), kind, model), perf_counter_ns()
            return
        sse = ServerSentEvents()
        finished = False
        async for data in response.aiter_bytes():
            at_ns = perf_counter_ns()
            for event, payload in sse.feed(data):
                if payload.startswith(b"[DONE]"):
                    return
                chunk = _chunk(event, payload, model)
                finished = finished or _has_finish_reason(chunk)
                yield chunk, at_ns
        at_ns = perf_counter_ns()
        for event, payload in sse.close():
            if payload.startswith(b"[DONE]"):
                return
            chunk = _chunk(event, payload, model)
            finished = finished or _has_finish_reason(chunk)
            yield chunk, at_ns
        if not finished:
            raise _truncated(model)
    except httpx2.HTTPError as exc:
        broken = type(exc).__name__
    if broken:  # raised out here: the client's exception holds the request, and with it the key
        raise LLMError(
            f"The connection to {model} at {address.host} broke in mid-answer ({broken}); try again.",
            category="connection",
            model=model,
        )


def _has_finish_reason(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return bool(
        isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("finish_reason")
    )


def _no_list(address: Address, service: str) -> LLMError:
    return LLMError(
        f"{service} at {address.host} answered, but with no list of models; name the model yourself.",
        category="api_error",
        model=service,
    )


def _truncated(model: str) -> LLMError:
    return LLMError(
        f"The answer of {model} was cut off: the stream ended without saying it was finished; try again.",
        category="truncated",
        model=model,
    )


def _chunk(event: bytes, payload: bytes, model: str) -> dict[str, Any]:
    try:
        chunk = json.loads(payload)
    except ValueError:  # JSONDecodeError, and UnicodeDecodeError of bytes that are no text
        raise LLMError(
            f"{model} sent something that is not JSON in mid-answer ({payload[:60]!r}); the fault is the server's.",
            category="api_error",
            model=model,
        ) from None
    if not isinstance(chunk, dict):
        return {}
    if chunk.get("error") or event == b"error":
        raise classify(server_error(chunk), model=model)
    return chunk


def _whole(data: bytes, kind: str, model: str) -> dict[str, Any]:
    """Read the answer of a server that ignored ``stream``, or of something that is no model server at all."""
    if "html" not in kind:
        return _chunk(b"", data, model)
    raise LLMError(
        f"The address of {model} answered with a web page, not with a model's answer; check base_url "
        "(it usually ends in /v1) and proxies.",
        category="api_error",
        model=model,
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
