"""Candidates for a call: the protocol between a call and a route.

A call asks for candidates one by one, each only after the one before has failed::

    errors = []
    for candidate in candidates(service, request):
        try:
            with candidate:
                return await Exchange(candidate.service, candidate.request, …).run()
        except LLMError as error:
            errors.append(error)
    raise all_candidates_failed(errors, request.model)

This runs on the service thread and never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ipyllm.errors import LLMError
from ipyllm.response import name_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category

__all__ = ["Candidate", "Router", "all_candidates_failed", "candidates", "category_of", "may_ask_another"]


class Candidate:
    """A service to ask, with the request to send. Leaving ``with candidate:`` reports the outcome to the route.

    ``service`` is never a route. With ``wait_for_slot``, a call that is refused with "too many requests" waits and
    is sent again; otherwise the refusal is an error, so that another service can be asked at once.
    """

    def __init__(self, service: Provider, request: ChatRequest) -> None:
        self.service = service
        self.request = request
        self.wait_for_slot = True
        self.error: BaseException | None = None
        self._listeners: list[Callable[[BaseException | None], None]] = []

    def on_end(self, listener: Callable[[BaseException | None], None]) -> None:
        """Call ``listener`` once with the error, or None, when the block is left."""
        self._listeners.append(listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.error = error
        for listener in self._listeners:
            listener(error)
        self._listeners.clear()


@runtime_checkable
class Router(Protocol):
    """A service that chooses among others for each call."""

    def choose(self, request: ChatRequest) -> Iterator[Candidate]:
        """Yield candidates; ask for the next only after an error that another service may not have."""
        ...


def candidates(service: Provider, request: ChatRequest) -> Iterator[Candidate]:
    """Return the candidates of a route, or the service itself."""
    choose = getattr(service, "choose", None)  # ten times faster than `isinstance(service, Router)`
    if choose is not None:
        chosen: Iterator[Candidate] = choose(request)
        return chosen
    return iter((Candidate(service, request),))


def all_candidates_failed(errors: list[LLMError], route: str) -> LLMError:
    """Return the error of a call that every candidate failed: the last error, with the others' categories."""
    if not errors:
        return LLMError(f"No service of {route!r} is left to ask. Add one.", category="connection", model=route)
    *others, last = errors
    if not others:
        return last
    failures = "; ".join(f"{error.model}, {name_failure(category_of(error))}" for error in others)
    error = LLMError(
        f"{last} (The other services of {route!r} failed too: {failures}.)",
        category=last.category,
        model=last.model,
        status_code=last.status_code,
        attempts=sum(error.attempts for error in errors),
        retry_after=last.retry_after,
        partial=last.partial,
        cause=last.cause,
        limit=last.limit,
    )
    error.__cause__ = last
    return error


def category_of(error: LLMError) -> Category:
    """Return the category of an error, or of its cause if the error is ``max_retries_exceeded``."""
    return error.cause or error.category if error.category == "max_retries_exceeded" else error.category


def may_ask_another(error: LLMError, request: ChatRequest) -> bool:
    """Return whether another service may answer after ``error``: nobody has seen a part of this answer."""
    if not _text_arrived(error):
        return True
    return bool(request.retry_after_text) and category_of(error) != "timeout"


def _text_arrived(error: LLMError) -> bool:
    partial = error.partial
    return partial is not None and bool(partial.content or partial.reasoning or partial.tool_calls)
