"""OpenAI, and through ``base_url`` any server with its protocol."""

from __future__ import annotations

from ipyllm.services.base import BaseLLMService

__all__ = ["OpenAIService"]


class OpenAIService(BaseLLMService):
    """OpenAI's models.

    Examples
    --------
    >>> OpenAIService(model="gpt-6-luna", base_url="http://127.0.0.1:8000/v1", max_retries=0, effort="low")
    OpenAIService(model='gpt-6-luna')
    """

    name = "openai"
    title = "OpenAI"
    default_model = "gpt-6-luna"
    url = "https://api.openai.com/v1"
    domain = "api.openai.com"
    key_variable = "OPENAI_API_KEY"
    price_provider = "openai"
    known_models = (
        "gpt-6-luna",
        "gpt-6-sol",
        "gpt-6.1-terra",
        "gpt-6.1-sol",
        "gpt-6.2-sol",
        "gpt-6.2-astra",
        "gpt-5.6",
    )
