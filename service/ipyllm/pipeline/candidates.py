"""The protocol between a call and the service it was made on, which may be a route: who to ask, and how it went.

The call asks for candidates one by one, each only after the one before has failed::

    errors = []
    for choice in candidates(service, request):
        try:
            with choice:
                return await Exchange(choice.service, choice.request, wait_for_slot=choice.wait_for_slot, …).run()
        except LLMError as error:
            errors.append(error)
    raise exhausted(errors, request.model)

All of this happens on the service thread, and nothing of it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category

__all__ = ["Candidate", "Router", "candidates", "category_of", "exhausted", "text_was_shown"]


class Candidate:
    """A service to ask, and what to ask it. Ask inside ``with choice:``, which tells the route how it went.

    Attributes
    ----------
    service : Provider
        Never a route itself.
    request : ChatRequest
        With that service's model and defaults, and the tags ``route`` and ``arm``.
    wait_for_slot : bool
        Whether a call that is refused with "too many requests" should wait there for its turn. If not, that is an error
        like any other, because somebody else can be asked at once.
    error : BaseException or None
        How it failed; None before the end, and when it went well.
    """

    def __init__(self, service: Provider, request: ChatRequest) -> None:
        self.service = service
        self.request = request
        self.wait_for_slot = True
        self.error: BaseException | None = None
        self._listeners: list[Callable[[BaseException | None], None]] = []

    def at_end(self, listener: Callable[[BaseException | None], None]) -> None:
        """Have ``listener`` told the error, or None, when the block is left: once, whatever happens."""
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
    """What makes a service a route."""

    def choose(self, request: ChatRequest) -> Iterator[Candidate]:
        """Yield whom to ask, the next one only if the one before failed in a way that another may not."""
        ...


def candidates(service: Provider, request: ChatRequest) -> Iterator[Candidate]:
    """Whom to ask: what a route chooses, or the service itself."""
    choose = getattr(service, "choose", None)  # what `isinstance(service, Router)` asks, at a tenth of its cost
    if choose is not None:
        chosen: Iterator[Candidate] = choose(request)
        return chosen
    return iter((Candidate(service, request),))


def exhausted(errors: list[LLMError], route: str) -> LLMError:
    """Make the error of a call that no candidate answered: the last one's, with what the others had.

    Examples
    --------
    >>> broke = LLMError("openai/a has no credit.", category="quota", model="openai/a")
    >>> slow = LLMError("deepseek/b took too long.", category="timeout", model="deepseek/b")
    >>> print(exhausted([broke, slow], "fast"))
    deepseek/b took too long. (Nor did others of 'fast' answer: openai/a, quota.)
    """
    if not errors:
        return LLMError(f"{route!r} has nobody left to ask; add an endpoint to it.", category="connection", model=route)
    *others, last = errors
    if not others:
        return last
    told = ", ".join(f"{error.model}, {error.category}" for error in others)
    error = LLMError(
        f"{last} (Nor did others of {route!r} answer: {told}.)",
        category=last.category,
        model=last.model,
        status_code=last.status_code,
        attempts=sum(error.attempts for error in errors),
        retry_after=last.retry_after,
        partial=last.partial,
    )
    error.__cause__ = last
    return error


def category_of(error: LLMError) -> Category:
    """Category of what went wrong, where the error itself only says that we gave up."""
    cause = error.__cause__
    if error.category == "max_retries_exceeded" and isinstance(cause, LLMError):
        return cause.category
    return error.category


def text_was_shown(error: LLMError) -> bool:
    """Whether the user has seen something of this answer, so that another's must not follow it."""
    got = error.partial
    if got is not None and (got.content or got.reasoning or got.tool_calls):
        return True
    return isinstance(error.__cause__, LLMError) and text_was_shown(error.__cause__)
