"""Finds the limiter of an address: one for each event loop, address and set of limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ipyllm.pipeline.limiter import Limiter

if TYPE_CHECKING:
    from ipyllm.provider import Limits
    from ipyllm.transport.address import Address

__all__ = ["limiter_for"]

_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Address, Limits], Limiter]] = WeakKeyDictionary()


def limiter_for(address: Address, limits: Limits) -> Limiter:
    """Return the limiter that calls to ``address`` on the running loop share."""
    limiters = _limiters.setdefault(asyncio.get_running_loop(), {})
    limiter = limiters.get((address, limits))
    if limiter is None:
        limiter = limiters[address, limits] = Limiter(*limits)
    return limiter
