"""OpenAI, and through ``base_url`` anything that speaks its protocol."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ipyllm.services.base import BaseLLMService
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from ipyllm.request import ChatRequest
    from ipyllm.transport.address import Address

__all__ = ["OpenAIService"]

_OWN = "https://api.openai.com/v1"


class OpenAIService(BaseLLMService):
    """OpenAI's chat completions.

    Examples
    --------
    >>> OpenAIService(model="gpt-5-mini", base_url="http://127.0.0.1:8000/v1", max_retries=0, temperature=0)
    OpenAIService(model='gpt-5-mini')
    """

    name = "openai"
    title = "OpenAI"
    default_model = "gpt-5-mini"
    key_variable = "OPENAI_API_KEY"
    price_provider = "openai"
    known_models = (
        "gpt-5",
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4o",
        "gpt-4o-mini",
        "o4-mini",
    )

    def base_url(self) -> str:
        """Given, or ``OPENAI_BASE_URL``, or OpenAI's own."""
        return self._base_url or get_settings().openai_base_url or _OWN

    def api_key(self) -> str | None:
        """Given, or ``OPENAI_API_KEY``."""
        if self._api_key:
            return self._api_key
        key = get_settings().openai_api_key
        return key.get_secret_value() if key is not None else None

    def needs_key(self, base_url: str) -> bool:
        """OpenAI does; a server of one's own may not."""
        return _is_openai(base_url)

    def is_priced(self, address: Address) -> bool:
        """OpenAI's prices hold at OpenAI only."""
        return _is_openai(address.base_url)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Use OpenAI's newer name for ``max_tokens``, which its reasoning models insist on."""
        body = super().body(request)
        if _is_openai(self.base_url()) and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body


@lru_cache(maxsize=256)
def _is_openai(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")
