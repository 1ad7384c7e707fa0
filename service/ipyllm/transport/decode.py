"""Decodes the bytes of a response into chunks: plain dicts, each with the time of its arrival.

Plain dicts, because the client's typed objects take ten times as long, which shows in the measured latencies.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic_core import from_json

from ipyllm.errors import LLMError
from ipyllm.text.format import shorten
from ipyllm.transport.apis import signal_reader
from ipyllm.transport.body_frames import BodyFrames
from ipyllm.transport.error_body import parse_error
from ipyllm.transport.error_mapping import to_llm_error
from ipyllm.transport.large_json import LARGE, TooManyValuesError, parse_large
from ipyllm.transport.plain_chunks import plain_text
from ipyllm.transport.size_bounds import SizeBounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ipyllm.settings_models import Api
    from ipyllm.transport.address import Address
    from ipyllm.transport.error_body import ServerFault
    from ipyllm.transport.wire_times import Arrival, WireTimes

__all__ = ["Chunk", "StreamEnd", "chunks", "connection_lost_error"]

Chunk: TypeAlias = "tuple[dict[str, Any], Arrival, str | None]"
"""A chunk as the server sent it, its arrival, and its text if there is nothing else to read in it."""

_Read: TypeAlias = "tuple[dict[str, Any], str | None]"


_IN_A_ROW: Final = 256  # chunks that are read without a turn of the event loop
_QUOTED: Final = 1_000  # bytes of which a sentence quotes some
_logger = logging.getLogger("ipyllm.wire")


class StreamEnd:
    """Records whether a stream has reached its end, and whether it was no model's response at all."""

    __slots__ = ("done", "is_foreign")

    def __init__(self) -> None:
        self.done = False
        self.is_foreign = False


async def chunks(
    pieces: AsyncIterator[bytes], times: WireTimes, end: StreamEnd, address: Address, model: str, api: Api
) -> AsyncIterator[Chunk]:
    """Yield the chunks of a body that arrives in ``pieces``; an answer that is not streamed is one chunk.

    Raises ``truncated`` when it ends without a finish signal, ``connection`` when the connection is lost, ``api_error``
    for what is not a chunk, or larger than the settings allow; and any error that the server itself sends, after the
    chunk that reports it.
    """
    from ipyllm.transport.fast_path import CONNECTION_ERRORS

    lost = ""
    frames, reader = BodyFrames(SizeBounds.current(), model), _Reader(api, model)
    try:
        async for data in pieces:
            arrival = times.arrival()
            events = frames.feed(data)
            for number, (event, payload) in enumerate(events, 1):
                if payload.startswith(b"[DONE]"):
                    end.done = True
                    reader.raise_noted_error()
                    return
                if len(payload) > LARGE or number % _IN_A_ROW == 0:
                    chunk, text = await reader.read_in_turn(event, payload)
                else:
                    chunk, text = reader.read(event, payload)
                is_last = number == len(events) or not times.awaits_first_token
                yield chunk, arrival if is_last else times.arrival_before_others(arrival), text
                if reader.has_ended:
                    reader.raise_fault()
                    end.done = True
                    return
        end.done = True
        end.is_foreign = frames.is_foreign
        arrival = times.arrival()
        async for chunk, text in _last_chunks(frames, reader):
            yield chunk, arrival, text
    except CONNECTION_ERRORS as exc:
        lost = type(exc).__name__
    if lost and not reader.is_complete:  # raised out here: the exception may hold the request, and with it the key
        raise connection_lost_error(lost, address, model)


async def _last_chunks(frames: BodyFrames, reader: _Reader) -> AsyncIterator[_Read]:
    """Yield what the end of the body completes, and raise what is wrong with it."""
    for event, payload in frames.close():
        if payload.startswith(b"[DONE]"):
            reader.raise_noted_error()
            return
        try:
            chunk = await reader.read_in_turn(event, payload)
        except LLMError:
            if frames.is_whole:
                raise
            continue  # half a line
        yield chunk
    reader.raise_fault()
    reader.raise_if_incomplete(frames)


class _Reader:
    """Parses the chunks of one response, and notes what they say about its state."""

    __slots__ = ("_expects_text", "_fault", "_is_chat", "_model", "_note", "_read_signal", "has_ended", "is_complete")

    def __init__(self, api: Api, model: str) -> None:
        self._read_signal = signal_reader(api)
        self._is_chat = api == "chat"
        self._expects_text = False  # not before a chunk has told which choice is ours
        self._model = model
        self._fault: ServerFault | None = None
        self._note: dict[str, Any] | None = None  # the last chunk, if it has no content: it may say why
        self.is_complete = False
        """Whether the answer is complete."""
        self.has_ended = False
        """Whether nothing follows: the response is complete, or failed."""

    def read(self, event: bytes, payload: bytes) -> _Read:
        """Read a chunk of usual size."""
        chunk = _chunk(payload, self._model)
        if self._expects_text and not event:
            text = plain_text(chunk)
            if text is not None:
                self._note = None
                return chunk, text
        return self._note_state(event, chunk), None

    async def read_in_turn(self, event: bytes, payload: bytes) -> _Read:
        """Read a chunk of any size, after the event loop has had a turn."""
        await asyncio.sleep(0)
        if len(payload) <= LARGE:
            return self.read(event, payload)
        try:
            parsed = await parse_large(payload)
        except (ValueError, RecursionError) as exc:
            raise _invalid_json_error(payload, exc, self._model) from None
        return self._note_state(event, _as_chunk(parsed)), None

    def _note_state(self, event: bytes, chunk: dict[str, Any]) -> dict[str, Any]:
        is_content = "choices" in chunk or str(chunk.get("type")).startswith("response.")
        self._note = None if is_content else chunk
        signal = self._read_signal(event, chunk)
        if signal is not None:
            self._fault = signal.fault
            self.has_ended = signal.is_last or signal.fault is not None
            self.is_complete = signal.fault is None
        self._expects_text = self._expects_text or (self._is_chat and _has_choice(chunk))
        return chunk

    def raise_fault(self) -> None:
        if self._fault is not None:
            raise to_llm_error(self._fault, model=self._model)

    def raise_noted_error(self) -> None:
        """Raise the words of the last chunk, if it has no content and the answer is not complete."""
        if self._note is not None and not self.is_complete and (fault := parse_error(self._note)).message:
            raise to_llm_error(fault, model=self._model)

    def raise_if_incomplete(self, frames: BodyFrames) -> None:
        """Raise what is wrong with a body that has ended before its answer was complete."""
        if self.is_complete:
            return
        self.raise_noted_error()
        model = self._model
        if frames.begins_with.startswith(b"<"):
            raise LLMError(
                f"The address of {model} returned a web page, not a model's response; check base_url "
                "(it usually ends in /v1) and proxies.",
                category="api_error",
                model=model,
            )
        if frames.is_foreign:
            said = shorten(frames.begins_with.decode("utf-8", "replace"), 60)
            raise LLMError(
                f'The address of {model} returned something that is not a model\'s response ("{said}"); check base_url '
                "(it usually ends in /v1) and proxies.",
                category="api_error",
                model=model,
            )
        if not frames.is_whole:
            raise LLMError(
                f"The response of {model} was cut off: the stream ended without a finish signal; try again.",
                category="truncated",
                model=model,
            )


def _has_choice(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict)


def connection_lost_error(why: str, address: Address, model: str) -> LLMError:
    """Return the error for a connection that was lost during the response; ``why``, an error's class, is logged."""
    _logger.debug("the connection to %s at %s was lost during the response: %s", model, address.host, why)
    return LLMError(
        f"The connection to {model} at {address.host} was lost during the response; try again.",
        category="connection",
        model=model,
    )


def _chunk(payload: bytes, model: str) -> dict[str, Any]:
    try:
        chunk = from_json(payload, cache_strings="none")  # in less than half the time of `json`
    except ValueError:  # with half a character, nested deeply, or not JSON
        try:
            chunk = json.loads(str(payload, "utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as exc:  # ValueError: JSONDecodeError, or UnicodeDecodeError
            raise _invalid_json_error(payload, exc, model) from None
    return chunk if type(chunk) is dict else _as_chunk(chunk)


def _invalid_json_error(payload: bytes, exc: Exception, model: str) -> LLMError:
    said = shorten(payload[:_QUOTED].decode("utf-8", "replace"), 60)
    has_too_many = isinstance(exc, TooManyValuesError)
    what = f"JSON with {exc}" if has_too_many else "invalid JSON"
    return LLMError(
        f"{model} sent {what} in its response ({said!r}); this is the server's fault.",
        category="api_error",
        model=model,
        is_lasting=has_too_many,
    )


def _as_chunk(chunk: Any) -> dict[str, Any]:
    if isinstance(chunk, list):  # Google's errors
        chunk = next((item for item in chunk if isinstance(item, dict) and item.get("error")), None)
    return chunk if isinstance(chunk, dict) else {}
