"""Services that choose among services: :func:`fallback`, :func:`split` and :func:`pool`. Used wherever a service is.

``choice`` has the protocol between a route and the call that follows it; the rest is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyllm.routing.balancing import pool
    from ipyllm.routing.failover import fallback
    from ipyllm.routing.splitting import split

__all__ = ["fallback", "pool", "split"]

# Loaded late: these build on services.base, by way of which `routing.choice` is imported.
_WHERE = {
    "fallback": "ipyllm.routing.failover",
    "pool": "ipyllm.routing.balancing",
    "split": "ipyllm.routing.splitting",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'ipyllm.routing' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
