"""Asks several services at the same time which models they have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.registry.models import create_llm_service, service_without_model
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import own_service_thread, service_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipyllm.services.base import BaseLLMService

__all__ = ["ProbeResult", "probe"]

_GRACE_S = 5.0  # added to the time limit before all probes are given up


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of asking one service for its models. ``service`` is None when it cannot be created."""

    name: str
    service: BaseLLMService | None
    models: tuple[str, ...] = ()
    error: LLMError | None = None
    elapsed_s: float = 0.0


def probe(names: Sequence[str], *, timeout_s: float = 3.0) -> list[ProbeResult]:
    """Ask services or endpoints for their models (``GET /models``), all at once, each in at most ``timeout_s`` seconds.

    Results are in the order of ``names``; a service that fails is an item with an ``error``, never an exception.
    """
    targets = [_probe_target(name) for name in names]
    thread = service_thread()
    if thread.is_current:
        raise RuntimeError("probe() would block the service thread.")
    done = InterruptibleEvent()
    future = thread.submit(_probe_all([target for target in targets if target.service is not None], timeout_s))
    future.add_done_callback(lambda _: done.set())
    try:
        done.wait(timeout_s + _GRACE_S)
        found = {result.name: result for result in future.result(0)} if done.is_set() else {}
    finally:
        future.cancel()
    late = LLMError(f"No answer within {timeout_s:g} s.", category="timeout")
    return [found.get(target.name, replace(target, error=target.error or late)) for target in targets]


def _probe_target(name: str) -> ProbeResult:
    try:
        service = service_without_model(name)
        service.check()
    except LLMError as exc:
        if name != "local":  # a missing embedded model says nothing about the others
            return ProbeResult(name, None, error=exc)
        service = create_llm_service(name)
    return ProbeResult(name, service)


async def _probe_all(targets: Sequence[ProbeResult], timeout_s: float) -> list[ProbeResult]:
    return list(await asyncio.gather(*(_probe_one(target, timeout_s) for target in targets)))


async def _probe_one(target: ProbeResult, timeout_s: float) -> ProbeResult:
    assert target.service is not None
    started = perf_counter()
    try:
        if target.name != "local":  # importing the client takes 400 ms, once: not the server's time
            await own_service_thread().transport.connection(target.service.address())
            started = perf_counter()
        models = await asyncio.wait_for(target.service.models(timeout_s=timeout_s), timeout_s)
    except TimeoutError:
        error = LLMError(
            f"{target.service.title} did not answer within {timeout_s:g} s.", category="timeout", model=target.name
        )
        return ProbeResult(target.name, target.service, error=error, elapsed_s=perf_counter() - started)
    except LLMError as exc:
        return ProbeResult(target.name, target.service, error=exc, elapsed_s=perf_counter() - started)
    return ProbeResult(target.name, target.service, tuple(models), elapsed_s=perf_counter() - started)
