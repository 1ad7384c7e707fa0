"""Describes replies: a `Script` defines what the server sends, when, and how it ends.

`answer`, `deepseek` and `status` build correct replies; `faults` and `refusals` build the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

__all__ = ["Event", "Headers", "Script", "answer", "as_script", "compact_json", "deepseek", "status", "stops"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Ending = Literal["keep", "fin", "rst", "hang", "drip"]

_ARGUMENT_CHUNK = 12  # characters of a tool call's arguments in one chunk


class Event(NamedTuple):
    """One event of a stream, or the one body of a plain reply, before it is encoded."""

    at: float  # seconds after the request was read
    kind: Literal["role", "token", "finish", "usage", "done", "noise", "body"]
    payload: dict[str, Any] | str | bytes  # dict: JSON; str: raw lines of SSE; bytes: a body


@dataclass(frozen=True, eq=False, kw_only=True)
class Script:
    """A reply. Create it with `answer`, `status` or a fault, vary it with `dataclasses.replace`.

    Times are in seconds. `edits` change the list of events before it is encoded; `stop_after` interrupts the
    reply after that many token chunks (a JSON body: in its middle), `half` adds half of the next event.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None  # sent unchanged, instead of a completion
    # content
    deltas: tuple[dict[str, Any], ...] = ()
    message: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = "stop"
    usage: dict[str, Any] | None = None
    usage_in: Literal["own chunk", "finish", "every chunk"] = "own chunk"
    usage_unasked: bool = False
    role_chunk: bool = True
    done: bool = True
    model: str | None = None  # None: as requested
    streams: bool | None = None  # None: as requested
    logprobs: tuple[list[dict[str, Any]], ...] | None = None  # beside each delta, if requested; None: made up
    # times
    ttft: float = 0.0
    gap: float = 0.0
    tail: float = 0.0
    head_s: float = 0.0
    # format
    framing: Literal["chunked", "close"] = "chunked"
    newline: str = "\n"
    prefix: str = "data: "
    coalesce: bool = True
    split_utf8: bool = False
    gzip: bool = False
    # faults
    silent: bool = False
    edits: tuple[Callable[[list[Event]], Iterable[Event]], ...] = ()
    stop_after: int | None = None
    half: bool = False
    ending: Ending = "keep"

    def edited(self, edit: Callable[[list[Event]], Iterable[Event]], **changes: Any) -> Script:
        """Return this script with one more edit of its events."""
        return replace(self, edits=(*self.edits, edit), **changes)


def answer(
    text: str = "Hello from the fake.",
    *,
    chunks: int | Sequence[str] | None = None,
    ttft: float = 0.0,
    gap: float = 0.0,
    tail: float = 0.0,
    usage: bool | dict[str, Any] = True,
    usage_in: Literal["own chunk", "finish", "every chunk"] = "own chunk",
    usage_unasked: bool = False,
    prompt_tokens: int = 10,
    cached_tokens: int = 0,
    finish_reason: str | None = "stop",
    reasoning: str | Sequence[str] | None = None,
    reasoning_field: str = "reasoning_content",
    refusal: str | None = None,
    tool_calls: Sequence[tuple[str, Mapping[str, Any] | str]] = (),
    role_chunk: bool = True,
    done: bool = True,
    model: str | None = None,
    coalesce: bool = True,
    headers: Headers = (),
) -> Script:
    """Build a correct answer: streamed if the request asks for it, else one JSON completion.

    Parameters
    ----------
    text : str
        The answer.
    chunks : int or sequence of str, optional
        Number of chunks of about equal length, or the chunks. None: one per word.
    ttft, gap, tail : float
        Token chunk k is written `ttft + k * gap` seconds after the request was read; the end (finish, usage,
        [DONE]) follows `tail` seconds after the last. The head and the role chunk go out at once.
    usage : bool or dict
        True counts one token per chunk; False sends no usage, even if requested; a dict is sent unchanged.
    usage_in, usage_unasked
        In a separate chunk with `choices: []` (OpenAI), in the finish chunk (DeepSeek), or so far in every chunk
        (vLLM's `continuous_usage_stats`); also if not requested.
    finish_reason : str or None
        None: never sent. With tool calls, "stop" becomes "tool_calls".
    reasoning, reasoning_field
        Thoughts before the answer (a str is cut at words), and the name of their field on the delta.
    refusal : str, optional
        What the model says to decline, cut at words, instead of ``text``.
    tool_calls : sequence of (name, arguments)
        Arguments as a mapping, or as a str that need not be JSON.
    role_chunk, done : bool
        Whether a chunk with only the role comes first, whether `data: [DONE]` comes last.
    model : str, optional
        Name of the model in the reply; None: as requested.
    coalesce : bool
        Whether chunks due at the same time (gap 0) are sent in one write.

    Examples
    --------
    >>> [delta["content"] for delta in answer("one two three").deltas]
    ['one', ' two', ' three']
    """
    thoughts = _pieces(reasoning, None) if isinstance(reasoning, str) else tuple(reasoning or ())
    field = "content" if refusal is None else "refusal"
    words = _pieces(text if refusal is None else refusal, chunks)
    deltas = [{reasoning_field: piece} for piece in thoughts] + [{field: piece} for piece in words]
    message: dict[str, Any] = {"role": "assistant", "content": None, field: "".join(words)}
    if thoughts:
        message[reasoning_field] = "".join(thoughts)
    if tool_calls:
        calls = [_tool_call(i, name, arguments) for i, (name, arguments) in enumerate(tool_calls)]
        message |= {"content": message["content"] or None, "tool_calls": calls}
        deltas += [delta for i, call in enumerate(calls) for delta in _tool_deltas(i, call)]
        finish_reason = "tool_calls" if finish_reason == "stop" else finish_reason
    if usage is True:
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(deltas),
            "total_tokens": prompt_tokens + len(deltas),
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": len(thoughts)},
        }
    return Script(
        deltas=tuple(deltas),
        message=message,
        ttft=ttft,
        gap=gap,
        tail=tail,
        usage=usage or None,
        usage_in=usage_in,
        usage_unasked=usage_unasked,
        finish_reason=finish_reason,
        role_chunk=role_chunk,
        done=done,
        model=model,
        coalesce=coalesce,
        headers=_pairs(headers),
    )


def deepseek(text: str = "Hello from DeepSeek.", *, hit: int = 6, miss: int = 4, **options: Any) -> Script:
    """Build an answer with DeepSeek's usage: in the finish chunk, unrequested, with `prompt_cache_hit_tokens`."""
    script = answer(text, prompt_tokens=hit + miss, **options)
    usage = dict(script.usage or {}) | {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": miss}
    usage.pop("prompt_tokens_details", None)
    return replace(script, usage=usage, usage_in="finish", usage_unasked=True)


def status(code: int, body: Any = b"", headers: Headers = (), *, delay: float = 0.0) -> Script:
    """Build a reply of one body: bytes and str unchanged, anything else as JSON."""
    pairs = _pairs(headers)
    if not isinstance(body, bytes | str):
        body = compact_json(body)
        pairs = (("content-type", "application/json"), *pairs)
    return Script(status=code, body=body.encode() if isinstance(body, str) else body, headers=pairs, ttft=delay)


def as_script(reply: str | Script) -> Script:
    """Convert a plain text to a script."""
    return answer(reply) if isinstance(reply, str) else reply


def stops(event: Event, tokens: int, after: int) -> bool:
    """Whether a reply of only `after` tokens ends before this event, which has `tokens` before it."""
    return tokens >= after and (tokens > 0 or event.kind not in {"role", "noise"})


def compact_json(value: Any) -> str:
    """Serialise as the providers do: no spaces, no escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _pieces(text: str, chunks: int | Sequence[str] | None) -> tuple[str, ...]:
    if chunks is None:
        return tuple(re.findall(r"\s*\S+(?:\s+$)?|^\s+$", text))
    if not isinstance(chunks, int):
        return tuple(chunks)
    if not 0 < chunks <= len(text):
        raise ValueError(f"A text of {len(text)} characters cannot be cut into {chunks} chunks.")
    return tuple(text[len(text) * k // chunks : len(text) * (k + 1) // chunks] for k in range(chunks))


def _tool_call(index: int, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else compact_json(arguments)
    return {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": text}}


def _tool_deltas(index: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a tool call as OpenAI streams it: name and id first, then the arguments in pieces."""
    function = call["function"]
    yield {"tool_calls": [{"index": index} | call | {"function": {"name": function["name"], "arguments": ""}}]}
    for start in range(0, len(function["arguments"]), _ARGUMENT_CHUNK):
        piece = function["arguments"][start : start + _ARGUMENT_CHUNK]
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)
