"""DeepSeek: OpenAI's protocol, with ``reasoning_content`` and its own field for cached input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from ipyllm.messages import Message

__all__ = ["DeepSeekService"]


class DeepSeekService(BaseLLMService):
    """DeepSeek's chat completions.

    Examples
    --------
    >>> DeepSeekService(temperature=0).full_name
    'deepseek/deepseek-chat'
    """

    name = "deepseek"
    title = "DeepSeek"
    default_model = "deepseek-chat"
    url = "https://api.deepseek.com/v1"
    domain = "deepseek.com"
    key_variable = "DEEPSEEK_API_KEY"
    price_provider = "deepseek"
    known_models = ("deepseek-chat", "deepseek-reasoner")

    def message(self, message: Message) -> Message:
        """Send the reasoning back with tool calls, where DeepSeek requires it; elsewhere it refuses it."""
        return dict(message) if message.get("tool_calls") else super().message(message)
