"""Renders a `Script` to the bytes of its reply and the times to send them.

Done once for each script and kind of request: the server only writes, so that its cost does not affect benchmarks.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tests.fakes.logprobs import token_logprobs
from tests.fakes.responses import response_events, whole_response
from tests.fakes.script import Ending, Event, Script, compact_json, stops

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RenderOptions", "RenderedScript", "Write", "render"]

_SPLIT_PAUSE_S = 0.005  # long enough that two writes arrive as two reads
_RESET_PAUSE_S = 0.02  # an RST discards what the client has not received yet


class RenderOptions(NamedTuple):
    """The fields of a request that affect the bytes of its reply."""

    model: str
    stream: bool
    include_usage: bool
    api: Literal["chat", "responses"] = "chat"
    top_logprobs: int | None = None  # None: no log probabilities are asked for


class Write(NamedTuple):
    """One `write` to the socket."""

    at: float  # seconds after the request was read
    data: bytes
    tokens: int = 0  # how many token chunks it carries
    pause: float = 0.0  # at least this many seconds after the previous write


class RenderedScript(NamedTuple):
    """A rendered script."""

    head: bytes  # without the empty line; empty when the server sends nothing
    head_at: tuple[float, float]  # times of the status line and of the other headers
    writes: tuple[Write, ...]
    ending: Ending
    drip_s: float


@lru_cache(maxsize=64)
def render(script: Script, options: RenderOptions) -> RenderedScript:
    """Render the reply to one kind of request."""
    last = script.ttft + max(len(script.deltas) - 1, 0) * script.gap
    streams = script.body is None and (options.stream if script.streams is None else script.streams)
    if script.body is not None:
        events = [Event(script.ttft, "body", script.body)]
    elif streams:
        events = list(_stream(script, options, last + script.tail))
    else:
        events = [Event(last + script.tail, "body", _completion(script, options))]
    for edit in script.edits:
        events = list(edit(events))
    encoded = [(event, _encode(script, event)) for event in events]
    writes, headers = (_streamed if streams else _plain)(script, encoded)
    if script.ending == "rst":
        writes.append(Write(0.0, b"", pause=_RESET_PAUSE_S))
    head_at = 0.0 if streams or not writes else writes[0].at
    return RenderedScript(
        head=b"" if script.silent else _head(script, headers),
        head_at=(0.0, script.head_s) if script.head_s else (head_at, head_at),
        writes=() if script.silent else tuple(writes),
        ending="fin" if script.ending == "keep" and script.framing == "close" else script.ending,
        drip_s=script.gap,
    )


def _stream(script: Script, options: RenderOptions, end: float) -> Iterator[Event]:
    if options.api == "responses":
        yield from response_events(script, options.model, end, options.top_logprobs)
        return
    wants_usage = script.usage is not None and (options.include_usage or script.usage_unasked)

    def chunk(*choices: dict[str, Any], usage: dict[str, Any] | None = None) -> dict[str, Any]:
        body = _envelope(script, options, "chat.completion.chunk") | {"choices": choices}
        return body | {"usage": usage} if wants_usage else body  # as OpenAI: null before the last chunk, if requested

    def choice(delta: dict[str, Any], finish_reason: str | None = None, beside: Any = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": beside, "finish_reason": finish_reason}

    if script.role_chunk:
        yield Event(0.0, "role", chunk(choice({"role": "assistant", "content": ""})))
    for k, delta in enumerate(script.deltas):
        usage = _usage_so_far(script, k + 1) if script.usage_in == "every chunk" else None
        yield Event(
            script.ttft + k * script.gap, "token", chunk(choice(delta, None, _beside(script, options, k)), usage=usage)
        )
    if script.finish_reason is not None:
        usage = None if script.usage_in == "own chunk" else script.usage
        yield Event(end, "finish", chunk(choice({}, script.finish_reason), usage=usage))
    if wants_usage and script.usage_in == "own chunk":
        yield Event(end, "usage", chunk(usage=script.usage))
    if script.done:
        yield Event(end, "done", f"{script.prefix}[DONE]")


def _beside(script: Script, options: RenderOptions, k: int) -> dict[str, Any] | None:
    """Return the log probabilities of the delta k, if the request asks for them; a call of a function has none."""
    text = script.deltas[k].get("content") or script.deltas[k].get("refusal")
    if options.top_logprobs is None or not text:
        return None
    given = None if script.logprobs is None else script.logprobs[k]
    tokens = token_logprobs(text, options.top_logprobs, given)
    return {"content": tokens, "refusal": None} if "content" in script.deltas[k] else {"refusal": tokens}


def _usage_so_far(script: Script, n: int) -> dict[str, Any]:
    usage = script.usage or {}
    return {**usage, "completion_tokens": n, "total_tokens": usage.get("prompt_tokens", 0) + n}


def _completion(script: Script, options: RenderOptions) -> dict[str, Any]:
    if options.api == "responses":
        return whole_response(script, options.model, options.top_logprobs)
    parts = [beside for k in range(len(script.deltas)) if (beside := _beside(script, options, k))]
    tokens = [token for beside in parts for token in beside.get("content") or ()]
    beside = {"content": tokens, "refusal": None} if tokens else None
    choice = {"index": 0, "message": script.message, "logprobs": beside, "finish_reason": script.finish_reason}
    body = _envelope(script, options, "chat.completion") | {"choices": [choice]}
    return body | ({"usage": script.usage} if script.usage else {})


def _envelope(script: Script, options: RenderOptions, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": 1_790_000_000,
        "model": script.model or options.model,
    }


def _encode(script: Script, event: Event) -> bytes:
    if isinstance(event.payload, bytes):
        return event.payload
    text = event.payload if isinstance(event.payload, str) else compact_json(event.payload)
    if event.kind == "body":
        return text.encode()
    lines = text.split("\n") if isinstance(event.payload, str) else [script.prefix + text]
    return "".join(line + script.newline for line in (*lines, "")).encode()


def _plain(script: Script, encoded: list[tuple[Event, bytes]]) -> tuple[list[Write], dict[str, str]]:
    """Return one body with its length; an interrupted reply still announces the full length."""
    [(event, data)] = encoded
    data = gzip.compress(data, mtime=0) if script.gzip else data
    kind = {"content-type": "application/json"} if script.body is None else {}
    kept = data if script.stop_after is None else data[: len(data) // 2]
    return [Write(event.at, kept, tokens=1)], kind | {"content-length": str(len(data))}


def _streamed(script: Script, encoded: list[tuple[Event, bytes]]) -> tuple[list[Write], dict[str, str]]:
    zipper = zlib.compressobj(wbits=31) if script.gzip else None
    chunked = script.framing == "chunked"
    writes: list[Write] = []
    for event, data in _until_stop(script, encoded):
        for part, pause in _halves(data) if script.split_utf8 else ((data, 0.0),):
            packed = zipper.compress(part) + zipper.flush(zlib.Z_SYNC_FLUSH) if zipper else part
            framed = b"%x\r\n%b\r\n" % (len(packed), packed) if chunked else packed
            writes.append(Write(event.at, framed, int(event.kind == "token" and not pause), pause))
    if script.ending == "keep":
        trailer = zipper.flush() if zipper else b""
        if chunked:
            trailer = (b"%x\r\n%b\r\n" % (len(trailer), trailer) if trailer else b"") + b"0\r\n\r\n"
        last = writes.pop() if writes else Write(0.0, b"")
        writes.append(last._replace(data=last.data + trailer))
    transfer = {"transfer-encoding": "chunked"} if chunked else {}
    return _merged(writes) if script.coalesce else writes, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        **transfer,
    }


def _until_stop(script: Script, encoded: list[tuple[Event, bytes]]) -> Iterator[tuple[Event, bytes]]:
    """Yield the events before the reply is interrupted."""
    tokens = 0
    for event, data in encoded:
        if script.stop_after is not None and stops(event, tokens, script.stop_after):
            if script.half:
                yield event, data[: len(data) // 2]
            return
        tokens += event.kind == "token"
        yield event, data


def _halves(data: bytes) -> Iterator[tuple[bytes, float]]:
    """Cut after the first byte of the first multi-byte character."""
    at = next((i + 1 for i, byte in enumerate(data) if byte >= 0x80), len(data))
    yield data[:at], 0.0
    if at < len(data):
        yield data[at:], _SPLIT_PAUSE_S


def _merged(writes: list[Write]) -> list[Write]:
    """Join writes that are due at the same time; done here, so that a burst of 2000 chunks costs one call."""
    groups: list[list[Write]] = []
    for write in writes:
        if groups and groups[-1][0].at == write.at and not write.pause:
            groups[-1].append(write)
        else:
            groups.append([write])
    return [
        Write(group[0].at, b"".join(w.data for w in group), sum(w.tokens for w in group), group[0].pause)
        for group in groups
    ]


def _head(script: Script, headers: dict[str, str]) -> bytes:
    named = headers | {"server": "fake-llm"} | dict(script.headers)
    if script.gzip:
        named["content-encoding"] = "gzip"
    if script.framing == "close":
        named["connection"] = "close"
    try:
        phrase = HTTPStatus(script.status).phrase
    except ValueError:
        phrase = "Fake"
    lines = [f"HTTP/1.1 {script.status} {phrase}", *(f"{name}: {value}" for name, value in named.items()), ""]
    return "\r\n".join(lines).encode()
