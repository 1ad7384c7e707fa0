"""Calls that are made while a scorer runs: they belong to the experiment whose answer it scores.

The scope is a context variable. So it holds in coroutines and their tasks, in ``asyncio.to_thread``, and in the threads
that ipyllm starts for scorers and tools, but not in threads and processes that the scorer starts by itself.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ipyllm.totals import CostTotal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["CallScope", "StartedCall", "current_scope"]

_current: ContextVar[CallScope | None] = ContextVar("ipyllm_call_scope", default=None)


def current_scope() -> CallScope | None:
    """Return the scope of the running code, if it has one."""
    return _current.get()


class StartedCall(Protocol):
    """A call that was started: its response, None until it has ended."""

    response: ChatResponse | None


class CallScope:
    """What the calls of one piece of code have in common; it collects them.

    Parameters
    ----------
    experiment : str or None
        The experiment that they belong to, and from whose budget they are paid.
    tags : mapping
        Their tags.
    """

    __slots__ = ("_calls", "_experiment", "_tags")

    def __init__(self, experiment: str | None, tags: Mapping[str, str]) -> None:
        self._experiment = experiment
        self._tags = tags
        self._calls: list[StartedCall] = []

    def run(self, function: Callable[[], Any]) -> Any:
        """Call ``function`` in this scope, and return its result; an awaitable one must be awaited in its own task."""
        token = _current.set(self)
        try:
            result = function()
        finally:
            _current.reset(token)
        return self._await(result) if inspect.isawaitable(result) else result

    async def _await(self, result: Awaitable[Any]) -> Any:
        _current.set(self)  # until the task ends
        return await result

    def adopt(self, request: ChatRequest) -> ChatRequest:
        """Return the request of a call in this scope, as one of the experiment; one of another stays as it is."""
        own = request.provenance
        if own.experiment is not None:
            return request
        provenance = replace(
            own,
            origin="experiment" if own.origin == "api" else own.origin,
            tags={**self._tags, **own.tags},
            experiment=self._experiment,
        )
        return replace(request, provenance=provenance)

    def add(self, call: StartedCall) -> None:
        """Count a call whose cost belongs to this scope."""
        self._calls.append(call)

    @property
    def cost_usd(self) -> float | None:
        """What its calls cost, in US dollars; None if there were none, or one has not ended, or has an unknown cost."""
        responses = [call.response for call in self._calls]
        if not responses or None in responses:
            return None
        total = sum((CostTotal.of_response(response) for response in responses if response), CostTotal())
        return None if total.n_unknown else total.usd
