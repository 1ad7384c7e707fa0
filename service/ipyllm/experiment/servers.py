"""What answers the calls to a service: an embedded model, or the servers of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipyllm.routing.route import Route
from ipyllm.services.local import LocalService

if TYPE_CHECKING:
    from ipyllm.services.base import BaseLLMService

__all__ = ["is_embedded", "n_servers"]


def n_servers(service: BaseLLMService) -> int:
    """Return the number of servers behind a service; each is warmed up."""
    return max(1, len(list(service._arms()))) if isinstance(service, Route) else 1  # noqa: SLF001 - a route is ours


def is_embedded(service: BaseLLMService) -> bool:
    """Return whether all calls to a service run in llama.cpp on this machine."""
    services = list(service._arms()) if isinstance(service, Route) else []  # noqa: SLF001 - a route is ours
    return all(map(is_embedded, services)) if services else isinstance(service, LocalService)
