"""The share of one process in the limits per minute of the services that an experiment asks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.ledger.ids import new_id
from ipyllm.pipeline.limiter_registry import limiter_for
from ipyllm.routing.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.services.base import BaseLLMService

__all__ = ["LimitShares"]


class LimitShares:
    """Lets this process send its equal share of what all senders of a run together may; on the service thread."""

    def __init__(self, services: Iterable[BaseLLMService]) -> None:
        self._owner = new_id()
        self._limited = [each for service in services for each in _members(service) if any(each.limits[:2])]

    def take_one_of(self, n_senders: int) -> None:
        """Take an equal share; 1 for the whole."""
        for service in self._limited:
            with suppress(LLMError):  # a missing key, for example, which the call reports
                limiter_for(service.address(), service.limits).share(self._owner, n_senders)


def _members(service: BaseLLMService) -> Iterator[BaseLLMService]:
    """Yield the services that a service may ask: itself, or the members of a route."""
    if isinstance(service, Route):
        for member in service._arms():  # noqa: SLF001 - a route is ours
            yield from _members(member)
    else:
        yield service
