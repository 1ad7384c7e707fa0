"""Names of the models that can be chosen."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm import embedded
from ipyllm.errors import LLMError
from ipyllm.registry import models
from ipyllm.registry.discovery import probe
from ipyllm.services import listed_models
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ask_endpoints", "available_models"]


_AGAIN_S = 60.0
_asked = "", 0.0  # which endpoints were asked, and when


def available_models() -> list[str]:
    """Return full names of pulled models, configured services and endpoints, aliases and routes, the default first.

    No server is asked: of endpoints these are the models that they have listed so far.
    """
    return list(dict.fromkeys(_names()))


def ask_endpoints() -> None:
    """Ask the endpoints in the settings for their models, at most once a minute, and at most three seconds.

    Those that do not answer list none.
    """
    global _asked
    endpoints = get_settings().endpoints
    key = repr(sorted((name, endpoint.base_url) for name, endpoint in endpoints.items()))
    known, at = _asked
    if endpoints and (key != known or monotonic() - at > _AGAIN_S):
        _asked = key, monotonic()
        probe(sorted(endpoints))


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
            with suppress(LLMError):  # without its key it cannot be used
                address = models.service_without_model(service).address()
                yield from (f"{service}/{model}" for model in listed_models.names(address.base_url))
        elif service not in settings.routes and service != "local":
            yield from _models_of(service)


def _models_of(name: str) -> Iterator[str]:
    try:
        service = models.create_llm_service(name)
        service.address()
    except LLMError:
        return  # without a key it cannot be used
    yield from (f"{name}/{model}" for model in service.known_models)
