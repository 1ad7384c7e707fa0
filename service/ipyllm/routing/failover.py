"""``fallback``: the next service when one fails in a way that it may not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError
from ipyllm.observability.logs import log
from ipyllm.pipeline.candidates import category_of, text_was_shown
from ipyllm.routing.health import Health
from ipyllm.routing.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipyllm.pipeline.candidates import Candidate
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category
    from ipyllm.services.base import BaseLLMService

__all__ = ["Fallback"]

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
    """Services in the order of preference, see :func:`ipyllm.fallback`."""

    def __init__(self, *arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> None:
        super().__init__(name, **options)
        if not arms:
            raise LLMError("A fallback needs services to choose from.", category="bad_request", model=name)
        self._order = [(self._as_service(arm), Health()) for arm in arms]

    def _arms(self) -> Iterable[BaseLLMService]:
        return [arm for arm, _ in self._order]

    def choices(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield the services in their order, those that are out last."""
        for arm, health in sorted(self._order, key=lambda entry: entry[1].is_out):
            health.asked()
            error: BaseException | None = None
            for choice in self._ask(arm, request, path):
                choice.on_end(health.learn)
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
