"""From the bytes of an answer to its chunks: plain dicts, each with the time of its arrival.

Plain dicts and not the client's typed objects: those cost ten times as much, and distort what we measure (FACTS §1).
"""

from __future__ import annotations

import json
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.transport.error_mapping import classify, server_error
from ipyllm.transport.sse import ServerSentEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from ipyllm.transport.client import Address

__all__ = ["Chunk", "End", "broken_off", "chunks", "chunks_by_kind"]

Chunk = tuple[dict[str, Any], int]
"""A chunk as the server sent it, and ``perf_counter_ns`` at its arrival."""


class End:
    """Whether a stream of chunks has come to its end."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


async def chunks_by_kind(response: httpx2.Response, address: Address, model: str) -> AsyncIterator[Chunk]:
    """Hand out the chunks of an answer that the client received: of a stream, or of a whole one as one."""
    from ipyllm.transport.fast_path import BROKEN, is_stream

    kind = response.headers.get("content-type", "")
    if is_stream(kind):
        async for chunk in chunks(response.aiter_bytes(), End(), address, model):
            yield chunk
        return
    broken = ""
    try:
        data = await response.aread()
    except BROKEN as exc:
        broken = type(exc).__name__
    if broken:
        raise broken_off(broken, address, model)
    yield _whole(data, kind, model), perf_counter_ns()


async def chunks(pieces: AsyncIterator[bytes], end: End, address: Address, model: str) -> AsyncIterator[Chunk]:
    """Hand out the chunks of a stream of events that comes in ``pieces``.

    Raises
    ------
    LLMError
        ``truncated`` when it ends without saying that it is finished, ``connection`` when it breaks, ``api_error`` for
        what is no chunk; and what the server itself says in mid-answer.
    """
    from ipyllm.transport.fast_path import BROKEN

    broken = ""
    try:
        sse = ServerSentEvents()
        finished = False
        async for data in pieces:
            at_ns = perf_counter_ns()
            for event, payload in sse.feed(data):
                if payload.startswith(b"[DONE]"):
                    end.done = True
                    return
                chunk = _chunk(event, payload, model)
                finished = finished or _has_finish_reason(chunk)
                yield chunk, at_ns
        end.done = True
        at_ns = perf_counter_ns()
        for event, payload in sse.close():
            if payload.startswith(b"[DONE]"):
                return
            chunk = _chunk(event, payload, model)
            finished = finished or _has_finish_reason(chunk)
            yield chunk, at_ns
        if not finished:
            raise _truncated(model)
    except BROKEN as exc:
        broken = type(exc).__name__
    if broken:  # raised out here: the exception may hold the request, and with it the key
        raise broken_off(broken, address, model)


def broken_off(why: str, address: Address, model: str) -> LLMError:
    """Return the error for a connection that broke in mid-answer."""
    return LLMError(
        f"The connection to {model} at {address.host} broke in mid-answer ({why}); try again.",
        category="connection",
        model=model,
    )


def _has_finish_reason(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return bool(
        isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("finish_reason")
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
