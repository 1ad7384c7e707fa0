"""Looks for the response of one exchange in the cache, tells it as events, and keeps the response of the service."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING

from ipyllm.events import ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.pipeline.cache import cache_key, current_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm.events import Event
    from ipyllm.pipeline.cache import ResponseCache
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.transport.address import Address

__all__ = ["ExchangeCache", "events_of"]


class ExchangeCache:
    """The cache for one exchange, if it uses one. Stages: :meth:`look_up` → :meth:`keep`."""

    def __init__(self, service: Provider, request: ChatRequest) -> None:
        self._service = service
        self._request = request
        self._cache: ResponseCache | None = None
        self._key = ""

    async def look_up(self, address: Address | None) -> ChatResponse | None:
        """Return the response to the same request at an address, if it is cached."""
        self._cache = current_cache(self._request.cache)
        if self._cache is None or address is None:
            return None
        cache, scope, body = self._cache, self._service.cache_scope(address), self._service.body(self._request)
        headers = self._request.headers.with_defaults(address.headers)

        def look_up() -> tuple[str, ChatResponse | None]:
            key = cache_key(scope, body, headers)
            return key, cache.get(key)

        self._key, found = await asyncio.to_thread(look_up)
        return found

    async def keep(self, response: ChatResponse) -> None:
        """Cache the response of the service."""
        if self._cache is not None and not response.cache_hit:
            with suppress(RuntimeError):  # no thread can be started while the interpreter exits
                await asyncio.to_thread(self._cache.put, self._key, response)


def events_of(response: ChatResponse) -> Iterator[Event]:
    """Yield what a stream of the response would have told, each part in one piece."""
    now = perf_counter_ns()
    if response.reasoning:
        yield ReasoningDelta(response.reasoning, now)
    if response.content:
        yield TextDelta(response.content, now, response.logprobs, response.refused)
    for index, call in enumerate(response.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, call.arguments, now)
