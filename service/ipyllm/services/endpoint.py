"""OpenAI-compatible servers named in the settings: ``[endpoints.lab]`` serves ``lab/<model>``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.services.base import BaseLLMService
from ipyllm.services.destination import key_sources
from ipyllm.settings import get_settings
from ipyllm.text.secrets import secret_options

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ipyllm.services.profiles.profile import Profile
    from ipyllm.settings_models import Source

__all__ = ["EndpointService"]


class EndpointService(BaseLLMService):
    """A server named in the settings. Without ``model`` it uses the endpoint's default."""

    def __init__(self, endpoint: str, model: str | None = None, **options: Any) -> None:
        options = secret_options(options)
        settings = get_settings().endpoints[endpoint]
        self.name = endpoint
        self.title = f"The endpoint {endpoint!r}"
        self.key_variable = settings.api_key_env
        self._settings = settings
        chosen = model or settings.model
        if settings.model == f"{endpoint}/{model}":  # its id begins with the endpoint's name, as "openrouter/auto"
            chosen = settings.model
        if chosen is None:
            raise LLMError(
                f"{endpoint!r} serves several models: write {endpoint}/<model>, or set its `model` in the settings.",
                category="not_found",
            )
        super().__init__(chosen, **options)
        self._default_headers = self._default_headers.with_defaults(self._checked_headers(settings.headers))

    def _model_name(self, model: str) -> str:
        return model

    @property
    def profile(self) -> Profile:
        """What the model takes; the ``api`` of the endpoint's own settings comes first."""
        profile = super().profile
        return profile if self._settings.api is None else replace(profile, api=self._settings.api)

    def base_url(self) -> str:
        """Return the address given, or that of the settings."""
        return self._base_url or self._settings.base_url

    def context_window(self) -> int | None:
        """Return the context window in tokens; the server is asked where nothing else knows it."""
        return self._asked_window()

    def api_key(self) -> SecretStr | None:
        """Return the key given, or that of the settings."""
        return self._api_key or self._settings.key()

    def ca_file(self) -> str | None:
        """Return the endpoint's own file of trusted authorities, else that of all services."""
        return self._settings.ca_file or super().ca_file()

    def _address_source(self) -> Source | None:
        if self._base_url:
            return super()._address_source()
        return get_settings().source_of("endpoints", self.name, "base_url")

    def _key_sources(self) -> set[Source | None]:
        return super()._key_sources() if self._api_key else key_sources(self._settings, "endpoints", self.name)

    def _header_sources(self) -> set[Source | None]:
        of_settings = {get_settings().source_of("endpoints", self.name, "headers")} if self._settings.headers else set()
        return super()._header_sources() | of_settings
