"""DeepSeek: OpenAI's protocol, with its own field for cached input."""

from __future__ import annotations

from ipyllm.services.base import BaseLLMService

__all__ = ["DeepSeekService"]


class DeepSeekService(BaseLLMService):
    """DeepSeek's models.

    Examples
    --------
    >>> DeepSeekService(effort="none", temperature=0).full_name
    'deepseek/deepseek-flash'
    """

    name = "deepseek"
    title = "DeepSeek"
    default_model = "deepseek-flash"
    url = "https://api.deepseek.com/v1"
    domain = "deepseek.com"
    key_variable = "DEEPSEEK_API_KEY"
    price_provider = "deepseek"
    known_models = ("deepseek-flash",)
