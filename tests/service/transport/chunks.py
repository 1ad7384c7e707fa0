"""Chunks, answers and streams of chat completions, as JSON and as bytes."""

from __future__ import annotations

import json
from typing import Any

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
EMOJI = "\N{GRINNING FACE}"


def call(name="add", arguments: Any = '{"x": 1}', **fields):
    return {**fields, "type": "function", "function": {"name": name, "arguments": arguments}}


def delta(finish_reason=None, /, *, index=0, native=None, **fields):
    """Return one chunk."""
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return {"choices": [choice | ({"native_finish_reason": native} if native else {})]}


def message(finish_reason="stop", /, *, native=None, **fields):
    """Return a whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish_reason}
    return {"choices": [choice | ({"native_finish_reason": native} if native else {})]}


def events(chunks):
    """Return the bytes of a stream; lone surrogates are written as JSON's escapes."""
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
