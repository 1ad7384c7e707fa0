"""Renders a `Script` as a reply of the Responses API: a stream of events, or one response.

The order of the events, and their fields, are those of `openai.types.responses` and of streams that were captured from
OpenAI (vercel/ai, packages/openai/src/responses/__fixtures__).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from tests.fakes.logprobs import token_logprobs
from tests.fakes.script import Event, Script, compact_json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["response_events", "whole_response"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_REASONING_FIELDS = ("reasoning_content", "reasoning")


class _Item:
    """One item of the output, as it grows."""

    def __init__(self, kind: str, number: int, call: dict[str, Any]) -> None:
        self.kind, self.number, self.call = kind, number, call
        self.text = ""
        self.logprobs: list[Any] = []

    def goes_on(self, kind: str, call: dict[str, Any]) -> bool:
        """Whether a delta of this kind, or of this call, belongs to the item."""
        return kind == self.kind and call.get("index") == self.call.get("index")

    @property
    def id(self) -> str:
        return {"reasoning": "rs", "function_call": "fc"}.get(self.kind, "msg") + f"_{self.number}"

    def begun(self) -> dict[str, Any]:
        if self.kind == "reasoning":
            return {"id": self.id, "type": "reasoning", "summary": [], "encrypted_content": "gAAAbegun"}
        if self.kind == "function_call":
            return self._function_call("in_progress", "")
        return self._message("in_progress", [])

    def done(self, status: str = "completed") -> dict[str, Any]:
        if self.kind == "reasoning":
            summary = [{"type": "summary_text", "text": self.text}]
            return {"id": self.id, "type": "reasoning", "summary": summary, "encrypted_content": f"gAAA{self.number}"}
        if self.kind == "function_call":
            return self._function_call(status, self.text)
        return self._message(status, [self.part()]) | {"phase": "final_answer"}

    def part(self, *, empty: bool = False) -> dict[str, Any]:
        text = "" if empty else self.text
        if self.kind == "reasoning":
            return {"type": "summary_text", "text": text}
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": [] if empty else self.logprobs}

    def _function_call(self, status: str, arguments: str) -> dict[str, Any]:
        name = self.call.get("function", {}).get("name", "")
        head = {"id": self.id, "type": "function_call", "status": status, "call_id": self.call.get("id", "")}
        return head | {"name": name, "arguments": arguments}

    def _message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def extra(self) -> dict[str, Any]:
        """Return what events with its text have besides; those of a call only at its end."""
        if self.kind == "function_call":
            return {"name": self.begun()["name"]}
        return {"logprobs": []} if self.kind == "message" else {}

    def place(self) -> dict[str, Any]:
        part = {} if self.kind == "function_call" else {_part_index(self.kind): 0}
        return {"item_id": self.id, "output_index": self.number, **part}


_NAMES = {
    "reasoning": ("reasoning_summary_part", "reasoning_summary_text", "text"),
    "message": ("content_part", "output_text", "text"),
    "refusal": ("content_part", "refusal", "refusal"),
    "function_call": ("", "function_call_arguments", "arguments"),
}


def response_events(script: Script, model: str, end: float, top_logprobs: int | None = None) -> Iterator[Event]:
    """Yield the events of a stream: token chunk k is the delta k of the script."""
    numbers = count()
    items: list[_Item] = []

    def event(at: float, kind: Any, name: str, /, **fields: Any) -> Event:
        payload = {"type": f"response.{name}", "sequence_number": next(numbers), **fields}
        return Event(at, kind, f"event: {payload['type']}\n{script.prefix}{compact_json(payload)}")

    def begin(at: float, kind: str, call: dict[str, Any]) -> Iterator[Event]:
        item = _Item(kind, len(items), call)
        items.append(item)
        yield event(at, "role", "output_item.added", output_index=item.number, item=item.begun())
        if part := _NAMES[kind][0]:
            yield event(at, "role", f"{part}.added", **item.place(), part=item.part(empty=True))

    def finish(at: float, status: str) -> Iterator[Event]:
        if not items:
            return
        item = items[-1]
        part, text, field = _NAMES[item.kind]
        yield event(at, "role", f"{text}.done", **item.place(), **{field: item.text}, **item.extra())
        if part:
            yield event(at, "role", f"{part}.done", **item.place(), part=item.part())
        yield event(at, "role", "output_item.done", output_index=item.number, item=item.done(status))

    for name in ("created", "in_progress"):
        yield event(0.0, "role", name, response=_response(script, model, "in_progress", []))
    for k, delta in enumerate(script.deltas):
        at = script.ttft + k * script.gap
        kind, text, call = _read(delta)
        if not items or not items[-1].goes_on(kind, call):
            yield from finish(at, "completed")
            yield from begin(at, kind, call)
        items[-1].text += text
        if text:
            extra = items[-1].extra() if kind == "message" else {}
            if extra and top_logprobs is not None:
                extra = {"logprobs": token_logprobs(text, top_logprobs, with_bytes=False)}
                items[-1].logprobs += token_logprobs(text, top_logprobs)
            yield event(at, "token", f"{_NAMES[kind][1]}.delta", **items[-1].place(), delta=text, **extra)
    if script.finish_reason is None:
        return
    status = _status(script)
    yield from finish(end, status)
    yield event(end, "finish", status, response=_response(script, model, status, _output(items, status)))


def whole_response(script: Script, model: str, top_logprobs: int | None = None) -> dict[str, Any]:
    """Return the response to a request that does not ask for a stream."""
    items: list[_Item] = []
    for delta in script.deltas:
        kind, text, call = _read(delta)
        if not items or not items[-1].goes_on(kind, call):
            items.append(_Item(kind, len(items), call))
        items[-1].text += text
        if kind == "message" and top_logprobs is not None:
            items[-1].logprobs += token_logprobs(text, top_logprobs)
    return _response(script, model, _status(script), _output(items, _status(script)))


def _output(items: list[_Item], status: str) -> list[dict[str, Any]]:
    return [item.done(status if item is items[-1] else "completed") for item in items]


def _part_index(kind: str) -> str:
    return "summary_index" if kind == "reasoning" else "content_index"


def _read(delta: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the kind of item that a delta of chat completions belongs to, its text, and the call."""
    for field in _REASONING_FIELDS:
        if field in delta:
            return "reasoning", delta[field], {}
    if "tool_calls" in delta:
        [call] = delta["tool_calls"]
        return "function_call", call["function"]["arguments"], call
    return ("refusal", delta["refusal"], {}) if "refusal" in delta else ("message", delta["content"], {})


def _status(script: Script) -> str:
    return "incomplete" if script.finish_reason in _INCOMPLETE else "completed"


def _response(script: Script, model: str, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    ended = status != "in_progress"
    reason = {"reason": _INCOMPLETE[str(script.finish_reason)]} if status == "incomplete" else None
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "error": None,
        "incomplete_details": reason,
        "model": script.model or model,
        "output": output,
        "service_tier": "default",
        "usage": _usage(script.usage) if ended and script.usage else None,
    }


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the usage of chat completions under the names of Responses."""
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    names |= {f"{name}_details": f"{other}_details" for name, other in names.items()}
    renamed = {names.get(name, name): value for name, value in usage.items()}
    if "input_tokens_details" in renamed:
        renamed["input_tokens_details"] = {"cache_write_tokens": 0} | renamed["input_tokens_details"]
    return renamed
