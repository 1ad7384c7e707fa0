"""``pool``: several endpoints for one model; each call goes to the least busy of those that are well."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.pipeline.candidates import category_of, text_was_shown
from ipyllm.routing.health import Health
from ipyllm.routing.route import Route
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.services.base import BaseLLMService
from ipyllm.transport.client import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.pipeline.candidates import Candidate
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category

__all__ = ["Pool", "PoolEndpoint"]

_MAY_GO_BETTER_NEXT_DOOR: frozenset[Category] = frozenset(
    {"connection", "timeout", "api_error", "truncated", "rate_limit"}
)


@dataclass(frozen=True, slots=True)
class PoolEndpoint:
    """An endpoint of a pool, as it stands: ``out_for_s`` is above 0 while it is left out for its failures."""

    url: str
    in_flight: int
    out_for_s: float
    draining: bool


class Pool(Route):
    """Endpoints of one model, see :func:`ipyllm.pool`. Grows and shrinks from any thread."""

    def __init__(
        self,
        *endpoints: str | BaseLLMService,
        model: str | None = None,
        api_key: str | None = None,
        name: str = "pool",
        **options: Any,
    ) -> None:
        super().__init__(name, api_key=api_key, **options)
        self._serves = model
        self._members: dict[str, _Member] = {}
        self._leaving: dict[str, _Member] = {}
        self._lock = threading.Lock()
        self._turns = count(1)
        for endpoint in endpoints:
            self.add(endpoint)

    @property
    def endpoints(self) -> tuple[PoolEndpoint, ...]:
        """Its endpoints as they stand, those that are being drained last."""
        with self._lock:
            return tuple(
                PoolEndpoint(url, member.in_flight, member.health.out_for_s, group is self._leaving)
                for group in (self._members, self._leaving)
                for url, member in group.items()
            )

    def add(self, endpoint: str | BaseLLMService) -> None:
        """Take an endpoint in: an address up to and with ``/v1``, a name like ``lab/llama``, or a service."""
        service = self._service(endpoint)
        with self._lock:
            self._members.setdefault(_url(service), _Member(service))

    def drain(self, endpoint: str | BaseLLMService, timeout: float | None = None) -> None:
        """Send an endpoint no more calls, and return when those it has are done.

        Raises
        ------
        TimeoutError
            When they are not done in ``timeout`` seconds; it gets no new ones all the same.
        """
        done = self._leave(endpoint)
        if not done.done() and service_thread().is_current:
            raise RuntimeError("Waiting on the service thread would wait for itself; use `await pool.adrain(…)`.")
        gone = InterruptibleEvent()
        done.add_done_callback(lambda _: gone.set())
        gone.wait(timeout)
        done.result(0)

    async def adrain(self, endpoint: str | BaseLLMService) -> None:
        """Like :meth:`drain`, for coroutines on any loop."""
        await asyncio.shield(asyncio.wrap_future(self._leave(endpoint)))

    def choices(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield each endpoint once at most, the least busy first; the last has the retries that are left."""
        tried: list[_Member] = []
        while (member := self._take(tried)) is not None:
            tried.append(member)
            error: BaseException | None = None
            for choice in self._ask(member.service, request, path, member.host):
                choice.wait_for_slot = self._nobody_else(tried)
                again = max(0, choice.request.max_retries - len(tried) + 1) if choice.wait_for_slot else 0
                choice.request = replace(choice.request, max_retries=again)
                choice.on_end(partial(self._give_back, member))
                yield choice
                error = choice.error
            if error is None or not _is_for_the_next(error):
                return

    def _arms(self) -> Iterable[BaseLLMService]:
        with self._lock:
            return [member.service for member in self._members.values()]

    def _labels(self) -> Iterable[str]:
        with self._lock:
            return list(self._members)

    def _service(self, endpoint: str | BaseLLMService) -> BaseLLMService:
        if isinstance(endpoint, str) and "://" in endpoint:
            if self._serves is None:
                raise LLMError(
                    "A pool of addresses needs the name of the model they serve: pool(…, model=…).",
                    category="bad_request",
                    model=self.model,
                )
            service: BaseLLMService = _Server(self.model, self._serves, endpoint, self._api_key)
            service.address()  # whether it is a URL is better said now than at the first call
            return service
        service = self._as_service(endpoint)
        try:
            service.base_url()
        except NotImplementedError:
            raise LLMError(
                f"{service.full_name} has no address of its own and cannot be part of a pool.",
                category="bad_request",
                model=self.model,
            ) from None
        return service

    def _take(self, tried: list[_Member]) -> _Member | None:
        """Choose and count in one step, so that a drain cannot slip in between."""
        with self._lock:
            left = [member for member in self._members.values() if member not in tried]
            well = [member for member in left if not member.health.is_out]
            if well:
                chosen = min(well, key=lambda member: (member.in_flight, member.turn))
            elif left and not tried:  # all are out: the one whose time is nearest is better than nobody
                chosen = min(left, key=lambda member: member.health.out_for_s)
            else:
                return None
            chosen.in_flight += 1
            chosen.turn = next(self._turns)
            chosen.health.asked()
            return chosen

    def _nobody_else(self, tried: list[_Member]) -> bool:
        with self._lock:
            return all(member in tried or member.health.is_out for member in self._members.values())

    def _give_back(self, member: _Member, error: BaseException | None) -> None:
        with self._lock:
            member.in_flight -= 1
            member.health.learn(error)
            if not member.in_flight and self._leaving.get(member.url) is member:
                del self._leaving[member.url]
                member.idle.set_result(None)

    def _leave(self, endpoint: str | BaseLLMService) -> Future[None]:
        url = _url(self._service(endpoint))
        with self._lock:
            member = self._members.pop(url, None) or self._leaving.get(url)
            if member is None:
                known = ", ".join(self._members) or "none"
                raise LLMError(
                    f"{self.model!r} has no endpoint {url}; it has: {known}.", category="not_found", model=self.model
                )
            if member.in_flight:
                self._leaving[url] = member
            else:
                member.idle.set_result(None)
            return member.idle


class _Member:
    """An endpoint of a pool; the pool's lock is held by whoever touches it."""

    def __init__(self, service: BaseLLMService) -> None:
        self.service = service
        self.url = _url(service)
        self.host = Address(self.url).host
        self.health = Health()
        self.in_flight = 0
        self.turn = 0
        self.idle: Future[None] = Future()  # done when it has left and its last call is over


class _Server(BaseLLMService):
    """A server of one's own. Its models go by the pool's name; it gets the pool's key, never a provider's."""

    def __init__(self, name: str, model: str, url: str, api_key: str | None) -> None:
        self.name = name  # type: ignore[misc]  # the name is the user's, one per instance
        self.title = f"The pool {name!r}"  # type: ignore[misc]
        super().__init__(model, base_url=url, api_key=api_key)

    def base_url(self) -> str:
        return self._base_url or ""


def _url(service: BaseLLMService) -> str:
    return service.base_url().rstrip("/")


def _is_for_the_next(error: BaseException) -> bool:
    return isinstance(error, LLMError) and category_of(error) in _MAY_GO_BETTER_NEXT_DOOR and not text_was_shown(error)
