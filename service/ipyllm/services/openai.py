"""OpenAI, and through ``base_url`` any server with its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from ipyllm.request import ChatRequest

__all__ = ["OpenAIService"]


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
    url = "https://api.openai.com/v1"
    domain = "api.openai.com"
    key_variable = "OPENAI_API_KEY"
    price_provider = "openai"
    known_models = ("gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o4-mini")

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Use OpenAI's newer name of ``max_tokens``, which its reasoning models require."""
        body = super().body(request)
        if self._is_own_domain(self.base_url()) and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body
