"""Upper estimates of token counts, offline: for trimming and for budgets. Never shown as counts."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

from ipyllm.messages import begin_of_last_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.messages import Message

__all__ = [
    "BYTES_PER_TOKEN",
    "IMAGES",
    "estimate",
    "estimate_body",
    "estimate_messages",
    "max_output_tokens",
    "messages_of",
]

BYTES_PER_TOKEN = 3
"""Of an upper estimate, for all measured samples of prose, code and JSON; 4 is too low for JSON."""

_BLOCK = 1 << 20  # characters that are copied at once
_ONE_TOKEN_EACH = (string.digits + string.punctuation).encode()
_SENT_BACK = frozenset({"reasoning", "chat_fields"})  # kinds of items
_PER_MESSAGE = 4  # role and separators, as chat templates add them
# OpenAI cuts an image into at most 1,536 patches and counts up to 2.46 tokens for each (gpt-4.1-nano): 3,779. Its
# tiled models stay below 1,500, except gpt-4o-mini, which bills a multiple of its counts.
_PER_IMAGE = 4096
IMAGES = {"image_url", "input_image", "image"}
"""Types of a message's parts that are images."""
_NOT_READ = {
    *("messages", "input", "model", "stream", "stream_options", "stop", "logit_bias", "metadata", "user"),
    *("service_tier", "store", "include", "prompt_cache_key"),
}
"""Fields of a request that the model does not read as text, or that are estimated apart."""
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def estimate(text: str) -> int:
    """Return an upper estimate of the tokens of ``text``: one per digit or punctuation mark, else UTF-8 bytes / 3.

    Small models' tokenizers split numbers into digits: a table of numbers has nearly as many tokens as characters.
    """
    n_marks = n_bytes = 0
    for start in range(0, len(text), _BLOCK):
        encoded = text[start : start + _BLOCK].encode("utf-8", "surrogatepass")
        words = encoded.translate(None, _ONE_TOKEN_EACH)  # of bytes, because of text it takes a hundred times as long
        n_marks += len(encoded) - len(words)
        n_bytes += len(words)
    return n_marks + -(-n_bytes // BYTES_PER_TOKEN)


def estimate_messages(messages: Iterable[Message]) -> int:
    """Return an upper estimate of the tokens of a conversation: the sum of its messages' estimates.

    Text counts as in :func:`estimate`, an image of any size as 4,096, and everything else in a message (tool calls,
    ids, audio) by its JSON. Of an answer's ``output_items`` only what does not repeat the message counts: reasoning,
    and the calls of functions with their results.
    """
    return sum(map(_message_tokens, messages))


def estimate_body(body: Mapping[str, Any]) -> int:
    """Return an upper estimate of the input tokens of a request's JSON: messages, tool definitions, schema.

    Examples
    --------
    >>> estimate_body({"model": "m", "messages": [{"role": "user", "content": "Hello there"}], "temperature": 0})
    8
    """
    read = (value for name, value in body.items() if name not in _NOT_READ)
    return estimate_messages(messages_of(body)) + sum(
        _json_tokens(value) for value in read if isinstance(value, dict | list | str)
    )


def messages_of(body: Mapping[str, Any]) -> Sequence[Message]:
    """Return the messages in a request's JSON; on the Responses API, its input items."""
    messages: Sequence[Message] = body.get("messages") or body.get("input") or ()
    return messages


def max_output_tokens(body: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a request's JSON allows for its answers, reasoning included; None for no limit."""
    limits = [body[name] for name in _OUTPUT_LIMITS if isinstance(body.get(name), int)]
    answers = body.get("n")
    return max(limits) * (answers if isinstance(answers, int) else 1) if limits else None


def _message_tokens(message: Message) -> int:
    tokens = _PER_MESSAGE
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            tokens += sum(map(_part_tokens, value))
        elif name == "content" and isinstance(value, str):
            tokens += estimate(value)
        elif name == "output_items" and value is not None:
            items = value["items"]
            begin = begin_of_last_answer(items)
            tokens += sum(_json_tokens(item) for item in items[:begin])
            tokens += sum(_json_tokens(item) for item in items[begin:] if item.get("type") in _SENT_BACK)
        elif name != "role" and value is not None:
            tokens += _json_tokens(value)
    return tokens


def _part_tokens(part: Any) -> int:
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            return estimate(part["text"])
        if part.get("type") in IMAGES:
            return _PER_IMAGE
    return _json_tokens(part)


def _json_tokens(value: Any) -> int:
    return estimate(json.dumps(value, ensure_ascii=False, default=str))
