"""Base of the routes: a service that chooses another service for each call and tags its row."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.pipeline.candidates import Candidate
from ipyllm.plain_values import plain_value
from ipyllm.services.base import BaseLLMService

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Self

    from ipyllm.request import ChatRequest
    from ipyllm.timeout import Timeout

__all__ = ["Resolver", "Route"]

Resolver = Callable[[str], BaseLLMService]
"""Makes the service for a model name."""

_ARM_SEPARATOR = " → "  # in the tag ``arm`` of a call that went through a route within a route


class Route(BaseLLMService):
    """A service that chooses another service for each call.

    The row of a call names the service that was asked; its tags ``route`` and ``arm`` say how it was chosen. An option
    of the call comes before a default of the route, which comes before a default of the service. ``resolver`` makes the
    service for an arm that is given as a model name.
    """

    name = "route"
    title = "The route"

    def __init__(self, name: str, *, resolver: Resolver | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.defaults = replace(self.defaults, headers=self._default_headers)
        self._resolver = resolver

    def _model_name(self, model: str) -> str:
        return model

    def __repr__(self) -> str:
        try:
            return f"{self.model}({', '.join(self._labels())})"
        except AttributeError:  # half made: a traceback that shows variables shows it
            return f"{type(self).__name__}()"

    @property
    def full_name(self) -> str:
        """Name of the route, as in the settings."""
        return self.model

    def identity(self) -> list[Any]:
        """Return the name and the kind of the route, and the identities and defaults of its arms."""
        arms = [[arm.identity(), plain_value(dict(arm.params)), arm.headers().digest()] for arm in self._arms()]
        return [self.full_name, type(self).__name__, arms]

    def base_url(self) -> str:
        """Raise: the address is known once an arm is chosen."""
        raise NotImplementedError(f"{self.model!r} is a route: it has no address of its own.")

    def check(self) -> None:
        """Check that at least one arm can be asked."""
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
        """Return the smallest window of its arms, so that a conversation fits every arm; None if none is known."""
        return min((window for arm in self._arms() if (window := arm.context_window()) is not None), default=None)

    def retirement_note(self) -> str | None:
        """Return the notes about its arms, each the first time it is asked for."""
        return " ".join(note for arm in self._arms() if (note := arm.retirement_note()) is not None) or None

    def weak_key_note(self) -> str | None:
        """Return the note about the key of an arm."""
        return next((note for arm in self._arms() if (note := arm.weak_key_note()) is not None), None)

    def with_defaults(
        self,
        *,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        cache: bool | None = None,
        default_headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Self:
        """Return this route with other defaults. Both share the state of the arms (health, calls in flight)."""
        other = copy(self)
        options = self.options(params, timeout, max_retries, cache, default_headers)
        other.defaults = options.with_defaults(self.defaults)
        return other

    def choose(self, request: ChatRequest) -> Iterator[Candidate]:
        """Yield candidates; the next one is asked for only after an error that another service may not have."""
        return self.nested_candidates(request, (self.model,))

    def nested_candidates(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield candidates, for a route within routes: ``path`` holds their names, this one's last."""
        raise NotImplementedError

    def _arms(self) -> Iterable[BaseLLMService]:
        raise NotImplementedError

    def _labels(self) -> Iterable[str]:
        return [arm.full_name for arm in self._arms()]

    def _candidates_of(
        self, arm: BaseLLMService, request: ChatRequest, path: tuple[str, ...], label: str | None = None
    ) -> Iterator[Candidate]:
        """Yield the candidate for ``arm``, or the candidates of an arm that is a route."""
        request = replace(request, route_options=request.route_options.with_defaults(self.defaults))
        path = (*path, label or arm.full_name)
        if isinstance(arm, Route):
            yield from arm.nested_candidates(request, path)
            return
        tags = {**request.provenance.tags, "route": path[0], "arm": _ARM_SEPARATOR.join(path[1:])}
        yield Candidate(arm, replace(arm.resolve(request), provenance=replace(request.provenance, tags=tags)))

    def _as_service(self, arm: str | BaseLLMService) -> BaseLLMService:
        if isinstance(arm, BaseLLMService):
            return arm
        if not isinstance(arm, str) or self._resolver is None:
            raise bad_request(f"A route is made of services or names like 'openai/gpt-6-luna', not {arm!r}.")
        return self._resolver(arm)
