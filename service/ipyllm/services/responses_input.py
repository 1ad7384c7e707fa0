"""Converts a conversation to the input items of the Responses API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ipyllm.messages import begin_of_last_answer, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.messages import Message

__all__ = ["input_items", "text_of_items"]


def input_items(messages: Iterable[Message], model: str) -> list[dict[str, Any]]:
    """Return the input items of ``messages``.

    An answer of the same ``model`` (its full name) is sent as the items that it consisted of, unchanged: its encrypted
    reasoning counts only in place, before the message or the calls that followed it. Where tools were called, these
    are the calls and their results too. An answer of another model, or one
    that was edited, is sent as text and calls.

    Examples
    --------
    >>> question = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    >>> input_items([question], "openai/gpt-6-luna")
    [{'role': 'user', 'content': [{'type': 'input_text', 'text': 'Hi'}]}]
    """
    return [item for message in messages for item in _items(message, model)]


def _items(message: Message, model: str) -> Iterator[dict[str, Any]]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": message.get("tool_call_id", ""),
            "output": content if isinstance(content, str) else _parts(content or ""),
        }
        return
    if role == "assistant":
        kept = _own_items(message, model)
        if kept is not None:
            yield from kept
            return
        if text := text_of(message):
            # llama.cpp's server accepts no shorter form.
            yield {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        for call in message.get("tool_calls") or ():
            yield _call(call)
        return
    yield {"role": role, "content": _parts(content or "")}


def _own_items(message: Message, model: str) -> list[dict[str, Any]] | None:
    """Return the items that the answer consisted of; None if another model wrote it, or if it was edited since."""
    kept = message.get("output_items")
    if not isinstance(kept, dict) or kept.get("model") != model or not isinstance(kept.get("items"), list):
        return None
    items = [item for item in kept["items"] if isinstance(item, dict)]
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    last = items[begin_of_last_answer(items) :]
    own_calls = [item for item in last if item.get("type") == "function_call"]
    edited = text_of_items(last) != text_of(message) or list(map(_key, calls)) != list(map(_key, own_calls))
    # A server that stores nothing cannot find reasoning by its id alone.
    return None if edited else [item for item in items if item.get("type") != "reasoning" or _has_reasoning(item)]


def _has_reasoning(item: dict[str, Any]) -> bool:
    return bool(item.get("encrypted_content") or item.get("content"))


def text_of_items(items: Iterable[dict[str, Any]]) -> str:
    """Return the text of a response's items: what its messages say, with an empty line between two messages."""
    texts = []
    for item in items:
        parts = item.get("content") if item.get("type") == "message" else None
        if isinstance(parts, list):
            texts.append("".join(part.get("text") or part.get("refusal") or "" for part in parts))
    return "\n\n".join(text for text in texts if text)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    return {
        "type": "function_call",
        "call_id": call.get("id", ""),
        "name": function.get("name", ""),
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False),
    }


def _key(call: dict[str, Any]) -> tuple[Any, Any, Any]:
    arguments = call.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return call.get("call_id") or call.get("id"), call.get("name"), text


def _parts(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": text}:
            return {"type": "input_text", "text": text}
        case {"type": "image_url", "image_url": {"url": url, **more}}:
            return {"type": "input_image", "image_url": url, "detail": more.get("detail") or "auto"}
        case {"type": "image_url", "image_url": str(url)}:
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        case {"type": "file", "file": dict(file)}:
            return {"type": "input_file", **file}
    return part  # a part of the Responses API already, or one that only its server knows
