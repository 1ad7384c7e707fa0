"""Costs of calls: by the settings, by the price tables, or as the server states them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.hidden_tokens import hidden_tokens, kind_of
from ipyllm.conversations.tokens import estimate_body, max_output_tokens
from ipyllm.pipeline.billed_tiers import expected_tier
from ipyllm.response import Usage
from ipyllm.services.address_and_key import AddressAndKey
from ipyllm.services.profiles.profile import profile_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ipyllm.request import ChatRequest
    from ipyllm.settings_models import Price
    from ipyllm.transport.address import Address

__all__ = ["Pricing"]


class Pricing(AddressAndKey):
    """The part of a provider that knows what calls cost."""

    price_provider: str | None = None
    """Provider id in the price tables."""

    @abstractmethod
    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of a request."""

    @abstractmethod
    def context_window(self) -> int | None:
        """Return the context window in tokens; None when unknown."""

    def price(self) -> Price | None:
        """Return the price per million tokens, by the settings or the price tables; None when unknown."""
        from ipyllm.services.prices import price_in_settings, price_in_tables

        configured = price_in_settings(self.full_name)
        if configured is not None or not self.is_in_price_tables():
            return configured
        reference = self.price_reference(self.model)
        return None if reference is None else price_in_tables(*reference)

    def price_reference(self, model: str) -> tuple[str, str] | None:
        """Return the provider id and the model's name in the price tables; None where a price there would be wrong."""
        listed = profile_of(f"{self.name}/{model}").price_model
        if self.price_provider is None or listed == "":
            return None
        return self.price_provider, listed or model

    async def load_prices(self, address: Address) -> None:
        """Import the price tables before the clock starts."""
        if self.price_tables_apply(address):
            from ipyllm.services import prices

            await asyncio.to_thread(prices.load)

    def is_in_price_tables(self) -> bool:
        """Return whether the price tables hold for the service's address; no key is needed to know it."""
        address = self._address_without_key()
        return address is not None and self.price_tables_apply(address)

    def price_tables_apply(self, address: Address) -> bool:
        """Return whether the price tables hold for this address."""
        if self.price_provider is None:
            return False
        return not address.is_loopback if self.domain is None else self._is_own_domain(address.base_url)

    def cost(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """Return the cost in US dollars and the source of the price; (None, None) when unknown."""
        if not self.price_tables_apply(address) or self.price_provider is None:
            return None, None
        from ipyllm.services.prices import cost_of

        reference = self.price_reference(response_model or self.model)
        if reference is None:
            return None, None
        return cost_of(usage, provider=reference[0], model=reference[1], at=at)

    def told_cost(self, raw_usage: Mapping[str, Any]) -> float | None:  # noqa: ARG002 - of most services
        """Return the cost in US dollars that the usage of a response states; None for most services."""
        return None

    def cost_and_source(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """Return the cost by the prices in the settings, else by :meth:`cost`."""
        from ipyllm.services.prices import BY_SETTINGS, no_price_of_tier, price_in_settings

        configured = price_in_settings(self.full_name)
        if configured is None:
            return self.cost(usage, response_model, address, at)
        if configured.factor_of(usage.service_tier) is None:
            return None, no_price_of_tier(usage.service_tier)
        cost = configured.cost(usage)
        return cost, BY_SETTINGS if cost is not None else None

    def max_cost(self, request: ChatRequest, address: Address, at: datetime) -> float | None:
        """Return the most that sending a request once may cost, in US dollars; None when unknown."""
        from ipyllm.services.prices import estimate_cost, price_in_settings

        body = self.body(request)
        input_tokens = hidden_tokens().bound(kind_of(address.base_url, body), estimate_body(body))
        # A service may have its own name for the limit in the body.
        limits = [limit for each in (body, request.params) if (limit := max_output_tokens(each)) is not None]
        longest = max(limits, default=None)
        tier = expected_tier(address.base_url, body["model"], body.get("service_tier"))
        configured = price_in_settings(self.full_name)
        if configured is not None:
            output_tokens = longest or self.context_window()
            return None if output_tokens is None else configured.estimate(input_tokens, output_tokens, tier)
        if self.price_provider is None or not self.price_tables_apply(address):
            fixed_cost, _ = self.cost(Usage(0, 0, source="server"), None, address, at)
            return fixed_cost
        reference = self.price_reference(self.model)
        if reference is None:
            return None
        return estimate_cost(*reference, input_tokens, longest, at=at, service_tier=tier)
