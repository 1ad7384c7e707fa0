"""What all routes share: they look like a service, adapt a request to the arm they chose, and tag its row."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.pipeline.candidates import Candidate
from ipyllm.pipeline.timeouts import Timeout
from ipyllm.registry.models import create_llm_service
from ipyllm.services.base import BaseLLMService
from ipyllm.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from ipyllm.request import ChatRequest

__all__ = ["Route", "as_service"]

_BETWEEN = " → "  # a route within a route: the arm's tag has both


class Route(BaseLLMService):
    """A service that chooses among others for each call.

    The row of a call names the service that was asked; its tags ``route`` and ``arm`` say how it was chosen.
    Defaults of the route hold for all its arms, unless an arm was made with its own. What a call says comes
    before both.

    Parameters
    ----------
    name : str
        What users call it.
    **options
        ``timeout``, ``max_retries`` and default parameters, as for every service.
    """

    name = "route"
    title = "The route"

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)

    def __repr__(self) -> str:
        return f"{self.model}({', '.join(self._labels())})"

    @property
    def full_name(self) -> str:
        """The route's name alone, as the settings have it."""
        return self.model

    def base_url(self) -> str:
        """Not known before an arm is chosen."""
        raise NotImplementedError(f"{self.model!r} is a route: the address is that of the service it chooses.")

    def check(self) -> None:
        """See whether one of its arms can be asked; which one, is decided at each call."""
        errors: list[LLMError] = []
        for arm in self._arms():
            try:
                arm.check()
            except LLMError as exc:
                errors.append(exc)
            else:
                return
        if errors:
            raise errors[0]

    def context_window(self) -> int | None:
        """Return the smallest of its arms', so that a history fits whichever is chosen; None if none is known."""
        return min((window for arm in self._arms() if (window := arm.context_window()) is not None), default=None)

    def with_defaults(self, *, timeout: Any = None, max_retries: int | None = None, **params: Any) -> Self:
        """Return this route with other defaults; what it has learnt of its arms stays shared."""
        again = copy(self)
        fresh = Route(self.model, timeout=timeout, max_retries=max_retries, **params)
        again.params = {**self.params, **fresh.params}
        again._timeout = fresh._timeout or self._timeout  # noqa: SLF001 - of one class
        again._max_retries = self._max_retries if max_retries is None else max_retries  # noqa: SLF001
        return again

    def choose(self, request: ChatRequest) -> Iterator[Candidate]:
        """Yield whom to ask, the next one only if the one before failed in a way that another may not."""
        return self.choices(request, (self.model,))

    def choices(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Like :meth:`choose`, for a route within routes: ``path`` has their names, its own last."""
        raise NotImplementedError

    def _arms(self) -> Iterable[BaseLLMService]:
        raise NotImplementedError

    def _labels(self) -> Iterable[str]:
        return [arm.full_name for arm in self._arms()]

    def _ask(
        self, arm: BaseLLMService, request: ChatRequest, path: tuple[str, ...], label: str | None = None
    ) -> Iterator[Candidate]:
        """Yield the choice of ``arm``, or if it is a route, the choices of that."""
        request = self._adapted(arm, request)
        path = (*path, label or arm.full_name)
        if isinstance(arm, Route):
            yield from arm.choices(request, path)
            return
        tags = {**request.provenance.tags, "route": path[0], "arm": _BETWEEN.join(path[1:])}
        yield Candidate(arm, replace(request, provenance=replace(request.provenance, tags=tags)))

    def _adapted(self, arm: BaseLLMService, request: ChatRequest) -> ChatRequest:
        """Return the request as ``arm`` would have made it.

        The nearest word counts: the call's, then the arm's, then the route's, then the settings'. A request no longer
        tells the call's from the route's, so what equals the route's is taken for that.
        """
        timeout, again = request.timeout, request.max_retries
        own_timeout, own_retries = arm._timeout, arm._max_retries  # noqa: SLF001 - a route is a service too
        if own_timeout is not None and timeout == (self._timeout or Timeout.of(get_settings().timeout)):
            timeout = own_timeout
        usual = self._max_retries if self._max_retries is not None else get_settings().max_retries
        if own_retries is not None and again == usual:
            again = own_retries
        asked = {k: v for k, v in request.params.items() if k not in self.params or self.params[k] != v}
        params = {**self.params, **arm.params, **asked}
        return replace(request, model=arm.full_name, params=params, timeout=timeout, max_retries=again)


def as_service(arm: str | BaseLLMService) -> BaseLLMService:
    """Take a service, or the name of a model."""
    if isinstance(arm, BaseLLMService):
        return arm
    if not isinstance(arm, str):
        raise LLMError(
            f"A route is made of services or names like 'openai/gpt-5-mini', not {arm!r}.", category="bad_request"
        )
    return create_llm_service(arm)
