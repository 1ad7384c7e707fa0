"""``fallback``: the next service when one fails in a way that it may not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log
from ipyllm.pipeline.candidates import category_of, text_was_shown
from ipyllm.routing.health import Health
from ipyllm.routing.route import Route, as_service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.errors import Category
    from ipyllm.pipeline.candidates import Candidate
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService

__all__ = ["Fallback", "fallback"]

_logger = logging.getLogger("ipyllm.routing")

# What another provider may not have. Not here: a request that is wrong in itself, a content filter (to carry on
# elsewhere what one provider refuses is for a person to decide), what the user cancelled, and faults of our own.
_MAY_GO_BETTER_ELSEWHERE: frozenset[Category] = frozenset(
    {
        "connection",
        "timeout",
        "api_error",
        "truncated",
        "rate_limit",
        "quota",
        "authentication",
        "not_found",
        "context_length",
    }
)


class Fallback(Route):
    """Services in the order of preference, see :func:`fallback`."""

    def __init__(self, *arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> None:
        super().__init__(name, **options)
        if not arms:
            raise LLMError("A fallback needs services to choose from.", category="bad_request", model=name)
        self._order = [(as_service(arm), Health()) for arm in arms]

    def _arms(self) -> Iterable[BaseLLMService]:
        return [arm for arm, _ in self._order]

    def choices(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield the services in their order, those that are out last."""
        for arm, health in sorted(self._order, key=lambda entry: entry[1].is_out):
            health.asked()
            error: BaseException | None = None
            for choice in self._ask(arm, request, path):
                choice.at_end(health.learn)
                yield choice
                error = choice.error
            if error is not None and not _is_for_the_next(error):
                return
            if isinstance(error, LLMError):
                log(
                    _logger,
                    logging.WARNING,
                    "falling back",
                    route=self.model,
                    failed=arm.full_name,
                    category=error.category,
                )


def _is_for_the_next(error: BaseException) -> bool:
    return isinstance(error, LLMError) and category_of(error) in _MAY_GO_BETTER_ELSEWHERE and not text_was_shown(error)


def fallback(*arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> Fallback:
    """Ask the first service; when it fails in a way that the next may not, ask that.

    A service that cannot be reached, is too slow, fails, is out of calls or credit, refuses the key, lacks the model or
    has too small a context window is followed by the next; a request that is wrong in itself, or that a content filter
    refused, is not sent on. Nor is anything once text of an answer was shown. Each service makes its own retries first:
    give those before the last ``max_retries=0`` to have the next one asked at once. One that failed three times in a
    row is asked last for a second, then two, four, up to a minute; one that is out of calls, for as long as it says.

    Parameters
    ----------
    *arms : str or BaseLLMService
        Names like ``"openai/gpt-5-mini"``, services, or routes.
    name : str
        What to call it, in the tag ``route`` of its rows too.
    **options
        ``timeout``, ``max_retries`` and parameters for all of them.

    Examples
    --------
    >>> fallback("openai/gpt-5-mini", "deepseek/deepseek-chat")
    fallback(openai/gpt-5-mini, deepseek/deepseek-chat)
    """
    return Fallback(*arms, name=name, **options)
