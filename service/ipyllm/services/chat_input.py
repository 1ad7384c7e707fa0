"""Completes a message of a conversation for chat completions with what its server wants back unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.messages import without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.messages import Message

__all__ = ["with_own_fields", "with_reasoning", "with_signed_calls"]

_NO_REASONING = " "  # DeepSeek refuses a message without reasoning, and an empty one: NousResearch/hermes-agent#18263


def with_own_fields(message: Message, model: str) -> Message:
    """Return ``message`` without ``output_items``, and with the fields in them if ``model`` (full name) wrote it.

    These are the signatures of Gemini's thoughts, in the ``extra_content`` of each call, OpenRouter's
    ``reasoning_details``, and the reasoning of DeepSeek and Kimi. Another model would refuse them.

    Examples
    --------
    >>> call = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    >>> items = [{"type": "chat_fields", "extra_content": {"c1": {"google": {"thought_signature": "c2ln"}}}}]
    >>> message = {"role": "assistant", "content": None, "tool_calls": [call]}
    >>> message["output_items"] = {"model": "gemini/m", "items": items}
    >>> with_own_fields(message, "gemini/m")["tool_calls"][0]["extra_content"]
    {'google': {'thought_signature': 'c2ln'}}
    >>> with_own_fields(message, "openai/m") == {"role": "assistant", "content": None, "tool_calls": [call]}
    True
    """
    kept = message.get("output_items")
    if kept is None:
        return message
    sent = without(message, "output_items")
    if not isinstance(kept, dict) or kept.get("model") != model or not isinstance(kept.get("items"), list):
        return sent
    for item in kept["items"]:
        if not isinstance(item, dict) or item.get("type") != "chat_fields":
            continue
        for name in ("reasoning_details", "reasoning_content"):
            if item.get(name) and name not in sent:
                sent[name] = item[name]
        extra = item.get("extra_content")
        if isinstance(extra, dict) and isinstance(sent.get("tool_calls"), list):
            sent["tool_calls"] = [
                {**call, "extra_content": extra[call["id"]]} if call.get("id") in extra else call
                for call in sent["tool_calls"]
            ]
    return sent


def with_reasoning(message: Message) -> Message:
    """Return an answer with ``reasoning_content``, blank if it is not known, as models want it that get it back.

    Examples
    --------
    >>> with_reasoning({"role": "assistant", "content": "Hi"})["reasoning_content"]
    ' '
    """
    if message.get("role") != "assistant" or message.get("reasoning_content"):
        return message
    return {**message, "reasoning_content": _NO_REASONING}


def with_signed_calls(message: Message, unsigned_call: Mapping[str, Any]) -> Message:
    """Return a message whose function calls have the ``extra_content`` of unsigned ones, if none has a signature.

    Of the calls of one answer, only the first need have one.
    """
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or any(call.get("extra_content") for call in calls):
        return message
    return {**message, "tool_calls": [{**call, "extra_content": dict(unsigned_call)} for call in calls]}
