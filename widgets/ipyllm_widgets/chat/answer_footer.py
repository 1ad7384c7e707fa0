"""The line under an answer of a chat: :func:`ipyllm.rendering.footer_text`, of a stopped one with its likely cost."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.registry.models import create_llm_service
from ipyllm.rendering import footer_text
from ipyllm.settings import SettingsError

if TYPE_CHECKING:
    from ipyllm.response import ChatResponse

__all__ = ["answer_footer"]


def answer_footer(response: ChatResponse, *, error_shown: bool = False) -> str:
    """Return the footer. The cost of a stopped answer is estimated like its tokens, and is part of no total.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse, Usage
    >>> usage = Usage(input_tokens_estimated=1148, output_tokens_estimated=29, source="estimated")
    >>> answer_footer(ChatResponse(model="openai/gpt-6-luna", status="cancelled", usage=usage))
    'cancelled · openai/gpt-6-luna · ~1,148 → ~29 tokens · ~$0.00013'
    """
    return footer_text(response, error_shown=error_shown, likely_cost_usd=_likely_cost(response))


def _likely_cost(response: ChatResponse) -> float | None:
    """Return about what a stopped answer cost, by the usual price of its model; None if unknown."""
    usage = response.usage
    if response.status != "cancelled" or response.steps or response.cost_usd is not None or response.price_source:
        return None
    sent = usage.input_tokens_estimated if usage.input_tokens is None else usage.input_tokens
    received = usage.output_tokens_estimated if usage.output_tokens is None else usage.output_tokens
    if sent is None or received is None:
        return None
    rates = _rates(response.model, response.call_id)
    return None if rates is None else (sent * rates[0] + received * rates[1]) / 1e6


@lru_cache(maxsize=2_000)
def _rates(model: str, _call_id: str) -> tuple[float, float] | None:
    """Return US dollars per million tokens of input and of output; once for each call, whose footer is drawn often."""
    try:
        price = create_llm_service(model).price()
    except (LLMError, SettingsError):  # a model that is no more in the settings, an address that is missing
        return None
    return None if price is None else (price.input_usd_per_mtok, price.output_usd_per_mtok)
