"""Cost of a call in US dollars, or its upper limit. An unknown cost is None, never 0.

Prices in the settings come first, then the offline tables of ``genai-prices``, with their conditions: date, time of
day, length of the prompt, kind of token, and service tier.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from ipyllm.response import is_standard_tier
from ipyllm.settings_models import Price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genai_prices.types import PriceCalculation

    from ipyllm.response import Usage

__all__ = [
    "BY_SETTINGS",
    "context_window",
    "cost_of",
    "estimate_cost",
    "load",
    "no_price_of_tier",
    "price_in_settings",
    "price_in_tables",
]

BY_SETTINGS: Final = "settings"
"""The ``price_source`` of a cost that the prices in the settings give."""

_MTOK: Final = 1_000_000
_SHORT_PROMPT: Final = 1_000  # tokens
_BATCH: Final = "batch"
_DEARER_KINDS: Final = {
    "input_tokens": ("cache_read_tokens", "cache_write_tokens", "input_audio_tokens", "input_image_tokens"),
    "output_tokens": ("output_reasoning_tokens", "output_audio_tokens", "output_image_tokens"),
}
"""Kinds of tokens with a price of their own, if a model has one, by what they are part of."""


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
    return Price(found[0], found[1])


def load() -> None:
    """Import the price tables (150 ms, once) before a call is timed."""
    import genai_prices  # noqa: F401


@cache
def _source() -> str:
    from importlib.metadata import version

    # The package has no snapshot date; its version identifies the prices.
    return f"genai-prices {version('genai-prices')}"


def cost_of(usage: Usage, *, provider: str, model: str, at: datetime) -> tuple[float | None, str | None]:
    """Return the cost by the tables, and the source of the price.

    Prices change, some with the time of day: ``at`` is when the request was sent. An unknown cost is None, and then the
    second value is the reason if it is the service tier, else None.
    """
    if not usage.is_consistent:
        return None, None
    counts = {
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    calculation = _calculate(counts, provider, model, at, usage.service_tier)
    if calculation is None:
        return None, None
    if not _has_tier(calculation, usage.service_tier, at):
        return None, no_price_of_tier(usage.service_tier)
    return float(calculation.total_price), _source()


def no_price_of_tier(tier: str | None) -> str:
    """Return the reason why a cost is unknown, for the column ``price_source``."""
    return f"unknown: no price of service tier {tier}"


def estimate_cost(
    provider: str,
    model: str,
    input_tokens: int,
    max_output_tokens: int | None,
    *,
    at: datetime | None = None,
    service_tier: str | None = None,
) -> float | None:
    """Return the most a call may cost; None if the tables do not know the price, or nothing limits the answer.

    Without ``max_output_tokens`` only the context window limits the answer. The dearest kind of input and of output
    counts: for example, some providers charge extra for input that they write to their cache, and for audio.
    """
    # By the minute, so that the bounds of calls sent together are computed once.
    minute = (at or datetime.now(UTC)).replace(second=0, microsecond=0)
    return _highest_cost(provider, model, input_tokens, max_output_tokens, minute, service_tier)


@lru_cache(maxsize=10_000)
def _highest_cost(
    provider: str,
    model: str,
    input_tokens: int,
    max_output_tokens: int | None,
    at: datetime,
    service_tier: str | None,
) -> float | None:
    if max_output_tokens is None:
        # Not less the input: that is an upper estimate, and what it exceeds the true count by is left for the answer.
        max_output_tokens = context_window(provider, model)
        if max_output_tokens is None:
            return None
    counts = {"input_tokens": input_tokens, "output_tokens": max_output_tokens}
    usual = _calculate(counts, provider, model, at, service_tier)
    if usual is None or not _has_tier(usual, service_tier, at):
        return None
    dearer = [
        _calculate({**counts, kind: counts[direction]}, provider, model, at, service_tier)
        for direction, kinds in _DEARER_KINDS.items()
        for kind in kinds
    ]
    calculations = [usual, *(each for each in dearer if each is not None)]
    return max(float(each.input_price) for each in calculations) + max(
        float(each.output_price) for each in calculations
    )


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
            price_context=_condition(service_tier),
        )
    except (LookupError, ValueError):  # not in the tables; impossible counts
        return None
    # Some models in the tables are sold by the hour or the image: their price per token is unknown, not 0.
    known = calculation.model_price.input_mtok is not None and calculation.model_price.output_mtok is not None
    return calculation if known else None


def _condition(service_tier: str | None) -> dict[str, str] | None:
    """Return the condition of a tier's price in the tables; None for the usual price."""
    if is_standard_tier(service_tier):
        return None
    return {"processing": _BATCH} if service_tier == _BATCH else {"service_tier": str(service_tier)}


def _has_tier(calculation: PriceCalculation, service_tier: str | None, at: datetime) -> bool:
    """Return whether the price is that of the tier: for one that they do not know, the tables give the usual price."""
    condition = _condition(service_tier)
    if condition is None:
        return True
    model = calculation.model
    return any(model is own for own in calculation.provider.models) and any(
        variant.when == condition and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )
