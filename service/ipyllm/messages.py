"""Messages of a conversation, in the shape of the chat-completions protocol."""

from __future__ import annotations

from typing import Any

__all__ = ["Message", "text_of", "without"]

Message = dict[str, Any]
"""A message: ``{"role": "user", "content": "…"}``."""


def text_of(message: Message) -> str:
    """Text of a message whose content is a string, a list of parts, or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    return ""


def without(message: Message, *names: str) -> Message:
    """Return a copy of a message that lacks some of its keys."""
    return {name: value for name, value in message.items() if name not in names}
