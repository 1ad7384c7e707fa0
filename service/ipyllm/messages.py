"""Messages of a conversation, in the shape of the chat-completions protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SYSTEM", "Message", "begin_of_last_answer", "text_of", "without"]

Message = dict[str, Any]
"""A message: ``{"role": "user", "content": "…"}``."""

SYSTEM: Final = frozenset({"system", "developer"})
"""Roles of system prompts."""


def text_of(message: Message) -> str:
    """Text of a message whose content is a string, a list of parts, or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and part.get("text") is not None)
    return ""


def without(message: Message, *names: str) -> Message:
    """Return a copy of a message that lacks some of its keys."""
    return {name: value for name, value in message.items() if name not in names}


def begin_of_last_answer(items: Sequence[Any]) -> int:
    """Return where the items of the last answer of a turn begin: behind the results of its tools.

    Examples
    --------
    >>> begin_of_last_answer([{"type": "function_call"}, {"type": "function_call_output"}, {"type": "message"}])
    2
    """
    outputs = (n for n, item in enumerate(items) if isinstance(item, dict) and item.get("type") == _TOOL_RESULT)
    return max(outputs, default=-1) + 1


_TOOL_RESULT = "function_call_output"
