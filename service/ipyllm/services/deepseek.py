"""DeepSeek: OpenAI's protocol, with ``reasoning_content`` and its own word for cached input."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ipyllm.services.base import BaseLLMService
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from ipyllm.messages import Message
    from ipyllm.transport.client import Address

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
    key_variable = "DEEPSEEK_API_KEY"
    price_provider = "deepseek"
    known_models = ("deepseek-chat", "deepseek-reasoner")

    def base_url(self) -> str:
        """Given, or ``DEEPSEEK_BASE_URL``, or DeepSeek's own."""
        return self._base_url or get_settings().deepseek_base_url or "https://api.deepseek.com/v1"

    def api_key(self) -> str | None:
        """Given, or ``DEEPSEEK_API_KEY``."""
        if self._api_key:
            return self._api_key
        key = get_settings().deepseek_api_key
        return key.get_secret_value() if key is not None else None

    def message(self, message: Message) -> Message:
        """Send its reasoning back with tool calls, which it insists on; elsewhere it refuses it."""
        return dict(message) if message.get("tool_calls") else super().message(message)

    def needs_key(self, base_url: str) -> bool:
        """DeepSeek does; a server of one's own may not."""
        return _is_deepseek(base_url)

    def is_priced(self, address: Address) -> bool:
        """DeepSeek's prices hold at DeepSeek only."""
        return _is_deepseek(address.base_url)


def _is_deepseek(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "deepseek.com" or host.endswith(".deepseek.com")
