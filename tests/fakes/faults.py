"""Replies that fail or are unusual: the stream breaks, stalls, contains errors, or is formatted unusually.

Each fault takes a text or a `Script`, so that faults combine: `stall(pings(answer("…", ttft=0.1)), after=2)`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from tests.fakes.script import Event, Script, answer, as_script, stops

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "crlf",
    "drip",
    "error_event",
    "error_in_stream",
    "gzipped",
    "half_line",
    "huge",
    "ignores_stream",
    "malformed",
    "never_answers",
    "odd_chunks",
    "one_segment",
    "pings",
    "refuse",
    "reset",
    "slow_headers",
    "split_utf8",
    "stall",
    "tight",
    "truncated",
]

_TEXT = "one two three four five"
_MULTIBYTE = "naïve größe 日本語 🙂"
Odd = Literal["choices missing", "choices null", "choices empty", "delta missing", "delta null"]


# The connection


def truncated(reply: str | Script = _TEXT, after: int = 2, *, framing: Literal["close", "chunked"] = "close") -> Script:
    """FIN after `after` token chunks: no finish_reason, no [DONE].

    With framing "close" the end of the connection is the end of the body, which is valid HTTP; with "chunked" the
    last HTTP chunk is missing, and clients raise a protocol error.
    """
    return _stopped(reply, after, ending="fin", framing=framing)


def half_line(reply: str | Script = _TEXT, after: int = 2, *, framing: Literal["close", "chunked"] = "close") -> Script:
    """EOF in the middle of the SSE line that follows `after` token chunks."""
    return _stopped(reply, after, ending="fin", framing=framing, half=True)


def reset(reply: str | Script = _TEXT, after: int = 2) -> Script:
    """RST after `after` token chunks."""
    return _stopped(reply, after, ending="rst")


def stall(reply: str | Script = _TEXT, after: int = 2) -> Script:
    """Send `after` token chunks, then nothing until the client disconnects."""
    return _stopped(reply, after, ending="hang")


def drip(text: str = ".", every: float = 0.1, *, ttft: float = 0.0) -> Script:
    """Send one chunk every `every` seconds, without end."""
    if every <= 0:
        raise ValueError("every must be above 0.")
    return _stopped(answer(text, chunks=[text], ttft=ttft, gap=every), 1, ending="drip", streams=True)


def never_answers() -> Script:
    """Accept the request and send nothing until the client disconnects."""
    return Script(silent=True, ending="hang")


def refuse(how: Literal["fin", "rst"] = "fin") -> Script:
    """Close the connection instead of answering."""
    return Script(silent=True, ending=how)


def slow_headers(reply: str | Script = _TEXT, seconds: float = 0.2) -> Script:
    """Send the status line at once and the other headers `seconds` after the request."""
    return replace(as_script(reply), head_s=seconds)


# The content


def malformed(reply: str | Script = _TEXT, after: int = 1) -> Script:
    """Cut the JSON of one chunk (or of the body) short; the stream continues after it."""

    def edit(events: list[Event]) -> Iterator[Event]:
        for event, tokens in _counted(events):
            if event.kind == "body" or (event.kind == "token" and tokens == after):
                text = json.dumps(event.payload)
                text = text[: len(text) * 2 // 3]
                yield event._replace(payload=text if event.kind == "body" else f"data: {text}")
            else:
                yield event

    return as_script(reply).edited(edit)


def error_in_stream(
    reply: str | Script = _TEXT,
    after: int = 2,
    *,
    code: int | str | None = 502,
    message: str = "Upstream provider disconnected",
    kind: str = "server_error",
) -> Script:
    """`data: {"error": …}` after `after` token chunks, then the end; without streaming, only that, with status 200."""
    return _breaks_with(reply, after, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def error_event(
    reply: str | Script = _TEXT,
    after: int = 2,
    *,
    code: int | str = "server_error",
    message: str = "The server had an error",
) -> Script:
    """`event: error` with flat JSON, then the end: clients may take it for a chunk."""
    return _breaks_with(reply, after, {"code": code, "message": message}, event="error")


def odd_chunks(reply: str | Script = _TEXT, how: Odd = "choices missing") -> Script:
    """Put an odd chunk before every token; with the "delta" forms, the finish chunk is odd as well.

    The answer stays complete: a client that ignores the odd chunks reads all of it.
    """
    what, state = how.split()

    def odd(event: Event) -> Event:
        payload: dict[str, Any] = dict(event.payload)  # type: ignore[arg-type]
        owner = payload if what == "choices" else dict(payload["choices"][0])
        owner.update({what: [] if state == "empty" else None})
        if state == "missing":
            del owner[what]
        return event._replace(payload=payload if what == "choices" else payload | {"choices": [owner]})

    def edit(events: list[Event]) -> Iterator[Event]:
        for event in events:
            if event.kind == "token":
                yield odd(event)._replace(kind="noise")
            yield odd(event) if event.kind == "finish" and what == "delta" else event

    return as_script(reply).edited(edit)


def ignores_stream(reply: str | Script = _TEXT) -> Script:
    """Answer a request for a stream with one plain JSON completion."""
    return replace(as_script(reply), streams=False)


# The format


def split_utf8(reply: str | Script = _MULTIBYTE) -> Script:
    """End a TCP write (and HTTP chunk) inside a character, in every event with a multi-byte character."""
    return replace(as_script(reply), split_utf8=True)


def crlf(reply: str | Script = _TEXT, newline: Literal["\r\n", "\r"] = "\r\n") -> Script:
    """End the lines of the stream with CRLF (or a lone CR, which the standard allows too)."""
    return replace(as_script(reply), newline=newline)


def tight(reply: str | Script = _TEXT) -> Script:
    """Write `data:{…}` without the space that most servers send."""
    return replace(as_script(reply), prefix="data:")


def pings(reply: str | Script = _TEXT, comment: str = ": ping", every: float | None = None) -> Script:
    """Put an SSE comment before every event; with `every`, also every so many seconds until the first token."""
    script = as_script(reply)

    def edit(events: list[Event]) -> Iterator[Event]:
        n_sent = 0
        for event, tokens in _counted(events):
            while every and tokens == 0 and (n_sent + 1) * every <= event.at:
                n_sent += 1
                yield Event(n_sent * every, "noise", comment)
            if event.kind != "body":
                yield Event(event.at, "noise", comment)
            yield event

    return script.edited(edit)


def one_segment(reply: str | Script = _TEXT) -> Script:
    """Write all events at once, when the first token is due."""
    script = as_script(reply)
    return script.edited(lambda events: [event._replace(at=script.ttft) for event in events], coalesce=True)


def huge(characters: int = 1_000_000, **options: Any) -> Script:
    """Send one chunk of that many characters."""
    return answer(("0123456789" * (characters // 10 + 1))[:characters], chunks=1, **options)


def gzipped(reply: str | Script = _TEXT) -> Script:
    """Compress the reply, flushed at every event, whether or not the client accepts that."""
    return replace(as_script(reply), gzip=True)


def _stopped(reply: str | Script, after: int, **changes: Any) -> Script:
    script = as_script(reply)
    if not 0 <= after <= len(script.deltas):
        raise ValueError(f"The reply has {len(script.deltas)} token chunks; it cannot stop after {after}.")
    return replace(script, stop_after=after, **changes)


def _breaks_with(reply: str | Script, after: int, payload: dict[str, Any], event: str | None = None) -> Script:
    script = _stopped(reply, after)
    line = json.dumps(payload)

    def edit(events: list[Event]) -> Iterator[Event]:
        at = 0.0
        for found, tokens in _counted(events):
            if found.kind == "body":
                yield found._replace(payload=payload)
                return
            if stops(found, tokens, after):
                break
            at = found.at
            yield found
        yield Event(at, "noise", f"event: {event}\ndata: {line}" if event else f"data: {line}")

    return script.edited(edit, stop_after=None)


def _counted(events: list[Event]) -> Iterator[tuple[Event, int]]:
    """Yield each event with the number of token chunks before it."""
    tokens = 0
    for event in events:
        yield event, tokens
        tokens += event.kind == "token"
