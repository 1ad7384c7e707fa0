"""Pools: several endpoints for one model. Each call goes to the least busy healthy endpoint."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.fork_safety import renewed_in_child, reset_in_child
from ipyllm.pipeline.candidates import category_of, may_ask_another
from ipyllm.routing.health import Health
from ipyllm.routing.route import Route
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.services.base import BaseLLMService
from ipyllm.text.secrets import as_secret
from ipyllm.transport.address import Address, normalized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import SecretStr

    from ipyllm.pipeline.candidates import Candidate
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category

__all__ = ["Pool", "PoolEndpoint"]

_ANOTHER_MAY_SUCCEED: frozenset[Category] = frozenset({"connection", "timeout", "api_error", "truncated", "rate_limit"})


@dataclass(frozen=True, slots=True)
class PoolEndpoint:
    """Current state of an endpoint of a pool. ``out_for_s`` is above 0 while it is skipped after failures."""

    url: str
    in_flight: int
    out_for_s: float
    draining: bool


class Pool(Route):
    """Endpoints of one model, see :func:`ipyllm.pool`. Endpoints can be added and drained from any thread."""

    def __init__(
        self,
        *endpoints: str | BaseLLMService,
        model: str | None = None,
        api_key: str | SecretStr | None = None,
        name: str = "pool",
        **options: Any,
    ) -> None:
        api_key = as_secret(api_key)
        super().__init__(name, api_key=api_key, **options)
        self._served_model = model
        self._members: dict[str, _EndpointState] = {}
        self._draining: dict[str, _EndpointState] = {}
        self._lock = renewed_in_child(threading.Lock())
        self._choices = count(1)
        for endpoint in endpoints:
            self.add(endpoint)
        reset_in_child(self)

    @property
    def endpoints(self) -> tuple[PoolEndpoint, ...]:
        """Current state of the endpoints, those being drained last."""
        with self._lock:
            return tuple(
                PoolEndpoint(url, member.in_flight, member.health.paused_for_s, group is self._draining)
                for group in (self._members, self._draining)
                for url, member in group.items()
            )

    def add(self, endpoint: str | BaseLLMService) -> None:
        """Add an endpoint: an address up to and with ``/v1``, a name like ``lab/llama``, or a service."""
        service = self._service(endpoint)
        with self._lock:
            self._members.setdefault(_url(service), _EndpointState(service))

    def drain(self, endpoint: str | BaseLLMService, timeout: float | None = None) -> None:
        """Send no more calls to an endpoint, and return when its calls in flight have ended.

        Raises
        ------
        TimeoutError
            When they have not ended within ``timeout`` seconds. The endpoint gets no new calls in any case.
        """
        done = self._start_draining(endpoint)
        if not done.done() and service_thread().is_current:
            raise RuntimeError("drain() would block the service thread; use `await pool.adrain(…)`.")
        ended = InterruptibleEvent()
        ended.set_by = service_thread().liveness
        done.add_done_callback(lambda _: ended.set())
        ended.wait(timeout)
        done.result(0)

    async def adrain(self, endpoint: str | BaseLLMService) -> None:
        """Like :meth:`drain`, for coroutines on any loop."""
        await asyncio.shield(asyncio.wrap_future(self._start_draining(endpoint)))

    def nested_candidates(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield each endpoint at most once, the least busy first; the last one gets the remaining retries."""
        tried: list[_EndpointState] = []
        while (member := self._choose(tried)) is not None:
            tried.append(member)
            error: BaseException | None = None
            for candidate in self._candidates_of(member.service, request, path, member.host):
                candidate.wait_for_slot = self._is_last_candidate(tried)
                retries = max(0, candidate.request.max_retries - len(tried) + 1) if candidate.wait_for_slot else 0
                candidate.request = replace(candidate.request, max_retries=retries)
                candidate.on_end(partial(self._call_ended, member))
                yield candidate
                error = candidate.error
            if error is None or not _is_worth_another_endpoint(error, request):
                return

    def after_fork_in_child(self) -> None:
        """Forget the parent's calls: they do not end here, and a drain would wait for them."""
        for member in [*self._members.values(), *self._draining.values()]:
            member.in_flight = 0
        for member in self._draining.values():
            member.drained = Future()
            member.drained.set_result(None)
        self._draining.clear()

    def identity(self) -> list[Any]:
        """Return the identity of the route, whatever the order of its servers."""
        name, kind, arms = super().identity()
        return [name, kind, sorted(arms, key=repr)]

    def _arms(self) -> Iterable[BaseLLMService]:
        with self._lock:
            return [member.service for member in self._members.values()]

    def _labels(self) -> Iterable[str]:
        with self._lock:
            return list(self._members)

    def _service(self, endpoint: str | BaseLLMService) -> BaseLLMService:
        if isinstance(endpoint, str) and "://" in endpoint:
            if self._served_model is None:
                raise bad_request(
                    "A pool of addresses needs the name of the model they serve: pool(…, model=…).", model=self.model
                )
            service: BaseLLMService = _AddressService(self.model, self._served_model, endpoint, self._api_key)
            service.address()  # refuse a wrong URL now, not at the first call
            return service
        service = self._as_service(endpoint)
        try:
            service.base_url()
        except NotImplementedError:
            raise bad_request(
                f"{service.full_name} has no address of its own and cannot be part of a pool.", model=self.model
            ) from None
        return service

    def _choose(self, tried: list[_EndpointState]) -> _EndpointState | None:
        """Choose an endpoint and count the call in one step, so that no drain can come between."""
        with self._lock:
            untried = [member for member in self._members.values() if member not in tried]
            healthy = [member for member in untried if not member.health.is_paused]
            if healthy:
                chosen = min(healthy, key=lambda member: (member.in_flight, member.last_chosen))
            elif untried and not tried:  # all are paused: take the one that can be asked soonest
                chosen = min(untried, key=lambda member: member.health.paused_for_s)
            else:
                return None
            chosen.in_flight += 1
            chosen.last_chosen = next(self._choices)
            chosen.health.call_started()
            return chosen

    def _is_last_candidate(self, tried: list[_EndpointState]) -> bool:
        with self._lock:
            return all(member in tried or member.health.is_paused for member in self._members.values())

    def _call_ended(self, member: _EndpointState, error: BaseException | None) -> None:
        with self._lock:
            member.in_flight -= 1
            member.health.call_ended(error)
            if not member.in_flight and self._draining.get(member.url) is member:
                del self._draining[member.url]
                member.drained.set_result(None)

    def _start_draining(self, endpoint: str | BaseLLMService) -> Future[None]:
        url = _url(self._service(endpoint))
        with self._lock:
            member = self._members.pop(url, None) or self._draining.get(url)
            if member is None:
                known = ", ".join(self._members) or "none"
                raise LLMError(
                    f"{self.model!r} has no endpoint {url}; it has: {known}.", category="not_found", model=self.model
                )
            if member.in_flight:
                self._draining[url] = member
            else:
                member.drained.set_result(None)
            return member.drained


class _EndpointState:
    """State of an endpoint of a pool. Hold the pool's lock to use it."""

    def __init__(self, service: BaseLLMService) -> None:
        self.service = service
        self.url = _url(service)
        self.host = Address(self.url).host
        self.health = Health()
        self.in_flight = 0
        self.last_chosen = 0
        self.drained: Future[None] = Future()  # done once it was removed and its last call has ended


class _AddressService(BaseLLMService):
    """The service for an address in a pool, under the pool's name. It gets the pool's key, never a provider's."""

    def __init__(self, name: str, model: str, url: str, api_key: SecretStr | None) -> None:
        self.name = name
        self.title = f"The pool {name!r}"
        super().__init__(model, base_url=url, api_key=api_key)

    def base_url(self) -> str:
        return self._base_url or ""

    def api_key(self) -> SecretStr | None:
        return self._api_key


def _url(service: BaseLLMService) -> str:
    return normalized(service.base_url())


def _is_worth_another_endpoint(error: BaseException, request: ChatRequest) -> bool:
    if not isinstance(error, LLMError) or category_of(error) not in _ANOTHER_MAY_SUCCEED:
        return False
    return may_ask_another(error, request)
