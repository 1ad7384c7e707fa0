"""The services of ``named.toml``: providers and servers with OpenAI's protocol that differ in data only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.services.base import BaseLLMService
from ipyllm.services.service_rows import service_rows
from ipyllm.settings_models import Price, variable_source, variable_value
from ipyllm.text.secrets import secret_options
from ipyllm.transport.address import with_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pydantic import SecretStr

    from ipyllm.response import Usage
    from ipyllm.services.service_rows import ServiceRow
    from ipyllm.settings_models import Source
    from ipyllm.transport.address import Address

__all__ = ["NamedService"]


class NamedService(BaseLLMService):
    """A service of ``named.toml``. ``create_llm_service("groq/openai/gpt-oss-20b")`` makes one.

    Parameters
    ----------
    service : str
        Its name.
    model : str, optional
        The model's name there, as the provider writes it.
    **options
        As for every service.
    """

    def __init__(self, service: str, model: str | None = None, **options: Any) -> None:
        options = secret_options(options)
        row = service_rows()[service]
        self.name = service
        self.title = row.title
        self.url = row.url
        self.domain = row.domain
        self.how_to_start = row.start
        self.key_variable = row.keys[0] if row.domain is not None else None
        self.price_provider = row.prices or row.prices_by_suffix
        self.known_models = row.models
        if model is None and row.model is None:
            raise LLMError(
                f"{service!r} serves several models: write {service}/<model>; `%llm_models` lists them.",
                category="not_found",
            )
        super().__init__(model or row.model, **options)

    @property
    def _row(self) -> ServiceRow:
        return service_rows()[self.name]

    def _model_name(self, model: str) -> str:
        row = self._row
        name = model.removeprefix(row.model_prefix)
        return name if row.vendor is None or "/" in name else f"{row.vendor}/{name}"

    def listed_name(self, name: str) -> str:
        """Return a name of the server's list as it is used in calls."""
        return self._model_name(name)

    def base_url(self) -> str:
        """Return the address given, else that of the user's resource, else the provider's own."""
        row = self._row
        if self._base_url is not None or row.url_variable is None:
            return super().base_url()
        resource = (variable_value(row.url_variable) or "").strip()
        if not resource:
            raise bad_request(
                f"{row.title} needs the address of your resource: set {row.url_variable}, or pass base_url=….",
                model=self.full_name,
            )
        return with_path(resource, row.path)

    def context_window(self) -> int | None:
        """Return the context window in tokens; the server is asked where nothing else knows it."""
        return self._asked_window()

    def api_key(self) -> SecretStr | None:
        """Return the key given, else that of the environment."""
        return self._api_key or self._row.key()

    def _variable_of_key(self) -> str | None:
        return None if self._api_key else self._row.variable_of_key() or next(iter(self._row.keys), None)

    def _address_source(self) -> Source | None:
        variable = self._row.url_variable
        return super()._address_source() if self._base_url or variable is None else variable_source(variable)

    def _key_sources(self) -> set[Source | None]:
        variable = self._row.variable_of_key()
        return super()._key_sources() if self._api_key or variable is None else {variable_source(variable)}

    def price_reference(self, model: str) -> tuple[str, str] | None:
        """Return the provider id and the model's name in the price tables."""
        row = self._row
        if row.prices_by_suffix is not None:
            model, colon, provider = model.rpartition(":")
            # ":cheapest" and the like leave the provider to the service.
            return (row.prices_by_suffix + provider, model) if colon and provider not in _POLICIES else None
        reference = super().price_reference(model)
        if reference is None or not row.price_prefix or "/" in reference[1]:
            return reference
        return reference[0], row.price_prefix + reference[1]

    def price(self) -> Price | None:
        """Return the price per million tokens; 0 for a server on this machine."""
        found, address = super().price(), self._address_without_key()
        return Price(0.0, 0.0) if found is None and address is not None and self._is_free(address) else found

    def cost(
        self, usage: Usage, response_model: str | None, address: Address, at: datetime
    ) -> tuple[float | None, str | None]:
        """Return the cost; 0 for a server on this machine."""
        if self._is_free(address):
            return (0.0, "local") if usage.source is not None else (None, None)
        return super().cost(usage, response_model, address, at)

    def told_cost(self, raw_usage: Mapping[str, Any]) -> float | None:
        """Return the cost in US dollars that the usage of a response states."""
        cost = raw_usage.get("cost") if self._row.tells_cost else None
        is_amount = isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0
        return float(cost) if cost is not None and is_amount else None

    def _is_free(self, address: Address) -> bool:
        return self._row.domain is None and address.is_loopback


_POLICIES = frozenset({"fastest", "cheapest", "preferred"})
