"""Decodes the bytes of a response into chunks: plain dicts, each with the time of its arrival.

Plain dicts, because the client's typed objects take ten times as long, which shows in the measured latencies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from ipyllm.errors import LLMError
from ipyllm.transport.apis import signal_reader
from ipyllm.transport.error_mapping import to_llm_error
from ipyllm.transport.sse import ServerSentEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from ipyllm.settings_models import Api
    from ipyllm.transport.address import Address
    from ipyllm.transport.error_body import ServerFault
    from ipyllm.transport.wire_times import Arrival, WireTimes

__all__ = ["Chunk", "StreamEnd", "chunks", "connection_lost_error", "decode_response"]

Chunk: TypeAlias = "tuple[dict[str, Any], Arrival]"
"""A chunk as the server sent it, and its arrival."""


class StreamEnd:
    """Records whether a stream has reached its end."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


async def decode_response(
    response: httpx2.Response, times: WireTimes, address: Address, model: str, api: Api
) -> AsyncIterator[Chunk]:
    """Yield the chunks of a response that the client received; a response that is not a stream is one chunk."""
    from ipyllm.transport.fast_path import CONNECTION_ERRORS, is_stream

    kind = response.headers.get("content-type", "")
    if is_stream(kind):
        async for chunk in chunks(response.aiter_bytes(), times, StreamEnd(), address, model, api):
            yield chunk
        return
    lost = ""
    try:
        data = await response.aread()
    except CONNECTION_ERRORS as exc:
        lost = type(exc).__name__
    if lost:
        raise connection_lost_error(lost, address, model)
    if "html" in kind:
        raise LLMError(
            f"The address of {model} returned a web page, not a model's response; check base_url "
            "(it usually ends in /v1) and proxies.",
            category="api_error",
            model=model,
        )
    reader = _Reader(api, model)
    yield reader.read(b"", data, json.detect_encoding(data)), times.arrival()
    reader.raise_fault()


async def chunks(
    pieces: AsyncIterator[bytes], times: WireTimes, end: StreamEnd, address: Address, model: str, api: Api
) -> AsyncIterator[Chunk]:
    """Yield the chunks of an event stream that arrives in ``pieces``.

    Raises ``truncated`` when it ends without a finish signal, ``connection`` when the connection is lost, ``api_error``
    for what is not a chunk; and any error that the server itself sends, after the chunk that reports it.
    """
    from ipyllm.transport.fast_path import CONNECTION_ERRORS

    lost = ""
    sse, reader = ServerSentEvents(), _Reader(api, model)
    try:
        async for data in pieces:
            arrival = times.arrival()
            events = sse.feed(data)
            for number, (event, payload) in enumerate(events, 1):
                if payload.startswith(b"[DONE]"):
                    end.done = True
                    return
                chunk = reader.read(event, payload)
                is_last = number == len(events) or not times.awaits_first_token
                yield chunk, arrival if is_last else times.arrival_before_others(arrival)
                if reader.has_ended:
                    reader.raise_fault()
                    end.done = True
                    return
        end.done = True
        arrival = times.arrival()
        for event, payload in sse.close():
            if payload.startswith(b"[DONE]"):
                return
            if _is_json(payload):  # not half a line
                yield reader.read(event, payload), arrival
        reader.raise_fault()
        reader.raise_if_cut_off()
    except CONNECTION_ERRORS as exc:
        lost = type(exc).__name__
    if lost and not reader.is_complete:  # raised out here: the exception may hold the request, and with it the key
        raise connection_lost_error(lost, address, model)


class _Reader:
    """Parses the chunks of one response, and notes what they say about its state."""

    __slots__ = ("_fault", "_model", "_read_signal", "has_ended", "is_complete")

    def __init__(self, api: Api, model: str) -> None:
        self._read_signal = signal_reader(api)
        self._model = model
        self._fault: ServerFault | None = None
        self.is_complete = False
        """Whether the answer is complete."""
        self.has_ended = False
        """Whether nothing follows: the response is complete, or failed."""

    def read(self, event: bytes, payload: bytes, encoding: str = "utf-8") -> dict[str, Any]:
        chunk = _chunk(payload, self._model, encoding)
        signal = self._read_signal(event, chunk)
        if signal is not None:
            self._fault = signal.fault
            self.has_ended = signal.is_last or signal.fault is not None
            self.is_complete = signal.fault is None
        return chunk

    def raise_fault(self) -> None:
        if self._fault is not None:
            raise to_llm_error(self._fault, model=self._model)

    def raise_if_cut_off(self) -> None:
        if not self.is_complete:
            raise LLMError(
                f"The response of {self._model} was cut off: the stream ended without a finish signal; try again.",
                category="truncated",
                model=self._model,
            )


def connection_lost_error(why: str, address: Address, model: str) -> LLMError:
    """Return the error for a connection that was lost during the response."""
    return LLMError(
        f"The connection to {model} at {address.host} was lost during the response ({why}); try again.",
        category="connection",
        model=model,
    )


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True


def _chunk(payload: bytes, model: str, encoding: str = "utf-8") -> dict[str, Any]:
    try:
        # Bytes would be decoded likewise, but with a search for their encoding, which takes a third of the time.
        chunk = json.loads(str(payload, encoding, "surrogatepass"))
    except (ValueError, RecursionError):  # ValueError: JSONDecodeError, or UnicodeDecodeError for invalid UTF-8
        raise LLMError(
            f"{model} sent invalid JSON in its response ({payload[:60]!r}); this is the server's fault.",
            category="api_error",
            model=model,
        ) from None
    return chunk if isinstance(chunk, dict) else {}
