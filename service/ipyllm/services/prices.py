"""Cost of a call in US dollars, or its upper limit. An unknown cost is None, never 0.

Prices in the settings come first, then the offline tables of ``genai-prices``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from ipyllm.settings_models import Price

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from genai_prices.types import PriceCalculation

    from ipyllm.response import Usage

__all__ = ["BY_SETTINGS", "context_window", "cost_of", "estimate_cost", "load", "price_in_settings", "price_in_tables"]

BY_SETTINGS: Final = "settings"
"""The ``price_source`` of a cost that the prices in the settings give."""

_MTOK: Final = 1_000_000
_SHORT_PROMPT: Final = 1_000  # tokens


def price_in_settings(model: str) -> Price | None:
    """Return the price that the settings give for a full model name, or for its endpoint."""
    from ipyllm.settings import get_settings

    settings = get_settings()
    if model in settings.prices:
        return settings.prices[model]
    endpoint = settings.endpoints.get(model.partition("/")[0])
    return endpoint.price if endpoint is not None else None


def price_in_tables(provider: str, model: str) -> Price | None:
    """Return the price of ``model`` by the offline tables; None if they do not know it.

    Where a price depends on the length of the prompt, it is that of a short one.
    """
    found = []
    for kind in ("input_tokens", "output_tokens"):
        calculation = _calculate({kind: _SHORT_PROMPT}, provider, model, None, None)
        if calculation is None:
            return None
        found.append(round(float(calculation.total_price) * _MTOK / _SHORT_PROMPT, 6))
    return Price(*found)


def load() -> None:
    """Import the price tables (150 ms, once) before a call is timed."""
    import genai_prices  # noqa: F401


@cache
def _source() -> str:
    from importlib.metadata import version

    # The package has no snapshot date; its version identifies the prices.
    return f"genai-prices {version('genai-prices')}"


def cost_of(
    usage: Usage,
    *,
    provider: str,
    model: str,
    at: datetime,
    service_tier: str | None = None,
    cache_write_tokens: int | None = None,
) -> tuple[float | None, str | None]:
    """Return the cost by the tables, and the source of the price; (None, None) if unknown.

    Prices change, some with the time of day: ``at`` is when the request was sent. ``service_tier`` is as in the
    response (``"flex"``, ``"priority"``). ``cache_write_tokens`` is input that the server wrote to its cache, if it
    charges for it.
    """
    if not usage.is_consistent:
        return None, None
    counts = {
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cached_tokens,
        "cache_write_tokens": cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    calculation = _calculate(counts, provider, model, at, service_tier)
    return (None, None) if calculation is None else (float(calculation.total_price), _source())


def estimate_cost(
    provider: str,
    model: str,
    input_tokens: int,
    max_output_tokens: int | None,
    *,
    at: datetime | None = None,
    service_tier: str | None = None,
) -> float | None:
    """Return the most a call may cost; None if the tables do not know the model, or nothing limits the answer.

    Without ``max_output_tokens`` only the context window limits the answer.
    """
    if max_output_tokens is None:
        window = context_window(provider, model)
        if window is None:
            return None
        max_output_tokens = max(0, window - input_tokens)
    counts = {"input_tokens": input_tokens, "output_tokens": max_output_tokens}
    # Some providers charge extra for input that they write to their cache.
    variants = [counts, *({**counts, kind: input_tokens} for kind in ("cache_write_tokens", "cache_read_tokens"))]
    calculations = [_calculate(variant, provider, model, at, service_tier) for variant in variants]
    costs = [float(calculation.total_price) for calculation in calculations if calculation is not None]
    return max(costs, default=None)


def context_window(provider: str, model: str) -> int | None:
    """Return the context window of ``model`` in tokens; None if unknown."""
    import genai_prices

    try:
        return genai_prices.calc_price(genai_prices.Usage(), model, provider_id=provider).model.context_window
    except LookupError:
        return None


def _calculate(
    counts: Mapping[str, int | None], provider: str, model: str, at: datetime | None, service_tier: str | None
) -> PriceCalculation | None:
    import genai_prices

    try:
        calculation = genai_prices.calc_price(
            genai_prices.Usage(**{name: count for name, count in counts.items() if count}),
            model,
            provider_id=provider,
            genai_request_timestamp=at,
            price_context={"service_tier": service_tier} if service_tier else None,
        )
    except (LookupError, ValueError):  # not in the tables; impossible counts
        return None
    # Some models in the tables are sold by the hour or the image: their price per token is unknown, not 0.
    known = calculation.model_price.input_mtok is not None and calculation.model_price.output_mtok is not None
    return calculation if known else None
