"""Names of the models that can be chosen, without a request to any server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ipyllm import embedded
from ipyllm.errors import LLMError
from ipyllm.registry import models
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["available_models"]


def available_models() -> list[str]:
    """Return full names of pulled models, configured services and endpoints, aliases and routes, the default first."""
    return list(dict.fromkeys(_names()))


def _names() -> Iterator[str]:
    settings = get_settings()
    with suppress(LLMError):  # the first call reports a default that does not exist
        yield models.create_llm_service().full_name
    yield from sorted({*settings.aliases, *settings.routes})
    yield from (f"local/{name}" for name in embedded.catalogue_names() if embedded.find(name) is not None)
    for service in models.service_names():
        if service in settings.endpoints:
            if model := settings.endpoints[service].model:
                yield f"{service}/{model}"
        elif service not in settings.routes and service != "local":
            yield from _models_of(service)


def _models_of(name: str) -> Iterator[str]:
    try:
        service = models.create_llm_service(name)
        service.address()
    except LLMError:
        return  # without a key it cannot be used
    yield from (f"{name}/{model}" for model in service.known_models)
