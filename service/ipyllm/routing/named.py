"""Creates the routes that the settings name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.fork_safety import in_forked_child, renewed_in_child
from ipyllm.routing.balancing import Pool
from ipyllm.routing.failover import Fallback
from ipyllm.routing.splitting import Split
from ipyllm.services.destination import check_destination, key_sources
from ipyllm.settings import get_settings
from ipyllm.transport.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.routing.route import Resolver, Route
    from ipyllm.settings_models import RouteSettings

__all__ = ["named_route"]

_routes: dict[str, tuple[object, Route]] = {}
_making: list[str] = []
_lock = renewed_in_child(threading.RLock())


@in_forked_child
def _forget_unfinished() -> None:
    _making.clear()  # another thread was making them


def named_route(name: str, routes: Mapping[str, RouteSettings], resolver: Resolver, made_from: object = None) -> Route:
    """Return the route of this name: the same object, with its state, until its settings change.

    ``made_from`` is everything else the arms depend on (endpoints, aliases). Routes that contain one another raise
    ``not_found``.
    """
    with _lock:
        settings = routes[name]
        definition = settings, settings.key(), made_from
        known = _routes.get(name)
        if known is not None and known[0] == definition:
            return known[1]
        if name in _making:
            raise LLMError(
                f"Routes contain one another in a circle: {' → '.join([*_making, name])}.", category="not_found"
            )
        _making.append(name)
        try:
            route = _make(name, settings, resolver)
        finally:
            _making.pop()
        _routes[name] = definition, route
        return route


def _make(name: str, settings: RouteSettings, resolver: Resolver) -> Route:
    if settings.fallback is not None:
        return Fallback(*settings.fallback, name=name, resolver=resolver)
    if settings.split is not None:
        sticky = None if settings.sticky == "none" else settings.sticky
        return Split(settings.split, seed=settings.seed, sticky=sticky, name=name, resolver=resolver)
    endpoints = settings.pool or ()
    key_from = key_sources(settings, "routes", name)
    for address in endpoints if key_from else ():
        if "://" in address and not Address(address).is_loopback:
            address_from = get_settings().source_of("routes", name, "pool")
            check_destination(address, address_from, key_from, title=f"the pool {name!r}", model=name)
    return Pool(*endpoints, model=settings.model, api_key=settings.key(), name=name, resolver=resolver)
