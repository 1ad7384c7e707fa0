"""Ollama: models on this machine or one of yours, through its OpenAI-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ipyllm.errors import bad_request
from ipyllm.services.base import BaseLLMService
from ipyllm.settings import get_settings
from ipyllm.transport.address import with_path, without_password

if TYPE_CHECKING:
    from datetime import datetime

    from ipyllm.response import Usage
    from ipyllm.settings_models import Price, Source
    from ipyllm.transport.address import Address

__all__ = ["OllamaService", "base_url_of_host"]


class OllamaService(BaseLLMService):
    """Ollama's models. No key; ``OLLAMA_HOST`` is read as Ollama's own tools read it.

    Examples
    --------
    >>> OllamaService("llama3.2:1b").full_name
    'ollama/llama3.2:1b'
    """

    name = "ollama"
    title = "Ollama"
    how_to_start = "`ollama serve`"
    default_model = "llama3.2"
    known_models = ("llama3.2", "llama3.2:1b", "qwen3", "gemma3", "mistral", "phi4", "deepseek-r1", "gpt-oss")

    def base_url(self) -> str:
        """Return the address given, else that of ``OLLAMA_HOST``, else port 11434 of this machine."""
        return self._base_url or base_url_of_host(get_settings().ollama_host or "")

    def _address_source(self) -> Source | None:
        return super()._address_source() if self._base_url else get_settings().source_of("ollama_host")

    def price(self) -> Price | None:
        """Return 0 for this machine, None elsewhere."""
        from ipyllm.services.prices import price_in_settings
        from ipyllm.settings_models import Price

        configured = price_in_settings(self.full_name)
        free = self.address().is_loopback and not self.model.endswith("cloud")
        return configured if configured is not None or not free else Price(0.0, 0.0)

    def cost(
        self,
        usage: Usage,
        response_model: str | None,  # noqa: ARG002
        address: Address,
        at: datetime,  # noqa: ARG002
    ) -> tuple[float | None, str | None]:
        """Return 0 on this machine; elsewhere, and for models in Ollama's cloud, the cost is unknown."""
        if usage.source is not None and address.is_loopback and not self.model.endswith("cloud"):
            return 0.0, "local"
        return None, None


def base_url_of_host(host: str) -> str:
    """Return the base URL for a value of ``OLLAMA_HOST``."""
    given = host.strip().rstrip("/")
    has_scheme = "://" in given
    if given.count(":") > 1 and not set("[@/") & set(given):
        given = f"[{given}]"  # "::1": Ollama's tools do not require the brackets
    url = given if has_scheme else f"http://{given or '127.0.0.1'}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_request(
            f"OLLAMA_HOST is not an address: {without_password(url)!r}. Write it like 127.0.0.1:11434."
        ) from None
    name = parts.hostname or "127.0.0.1"
    if name in {"0.0.0.0", "::"}:  # noqa: S104 - an address to listen on, not to connect to
        name = "127.0.0.1"
    port = port or ({"http": 80, "https": 443}.get(parts.scheme, 11434) if has_scheme else 11434)
    shown = f"[{name}]" if ":" in name else name
    query = f"?{parts.query}" if parts.query else ""
    return with_path(f"{parts.scheme}://{shown}:{port}{parts.path}{query}", "/v1")
