"""Names of the models that can be chosen.

Those of servers on this machine, such as Ollama's, are offered while something listens there.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ipyllm import embedded
from ipyllm.errors import LLMError
from ipyllm.registry import models
from ipyllm.registry.discovery import probe
from ipyllm.services import listed_models
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ask_endpoints", "available_models"]


_AGAIN_S: Final = 60.0
_asked = "", 0.0  # which endpoints were asked, and when
_CONNECT_S: Final = 0.1  # a port of this machine accepts or refuses at once, unless its server hangs
_KNOWN_FOR_S: Final = 2.0
_listening: dict[str, tuple[float, bool]] = {}


def available_models() -> list[str]:
    """Return full names of pulled models, configured services and endpoints, aliases and routes, the default first.

    No server is asked: of endpoints these are the models that they have listed so far; models of a server that has to
    be started on this machine are there while it listens.
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
        address = service.address()
    except LLMError:
        return  # without a key it cannot be used
    if service.known_models and service.how_to_start and address.is_loopback and not _listens(address.base_url):
        return
    yield from (f"{name}/{model}" for model in service.known_models)


def _listens(base_url: str) -> bool:
    """Return whether something listens at an address of this machine, as of at most two seconds ago."""
    checked_s, listens = _listening.get(base_url, (0.0, False))
    if base_url not in _listening or monotonic() - checked_s > _KNOWN_FOR_S:
        parts = urlsplit(base_url)
        try:
            with socket.create_connection(
                (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), _CONNECT_S
            ):
                listens = True
        except OSError:
            listens = False
        _listening[base_url] = monotonic(), listens
    return listens
