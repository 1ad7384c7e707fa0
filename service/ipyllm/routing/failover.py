"""Fallbacks: the next service is asked when one fails with an error that the next may not have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ipyllm.errors import LLMError, bad_request
from ipyllm.observability.logs import log
from ipyllm.pipeline.candidates import category_of, may_ask_another
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

# Errors that another provider may not have. Not: an invalid request, a content filter (whether to ask another provider
# what one refuses is a person's decision), a cancellation, and bugs of ours.
_ANOTHER_MAY_SUCCEED: frozenset[Category] = frozenset(
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
    """Services in order of preference, see :func:`ipyllm.fallback`."""

    def __init__(self, *arms: str | BaseLLMService, name: str = "fallback", **options: Any) -> None:
        super().__init__(name, **options)
        if not arms:
            raise bad_request("A fallback needs services to choose from.", model=name)
        self._order = [(self._as_service(arm), Health()) for arm in arms]

    def _arms(self) -> Iterable[BaseLLMService]:
        return [arm for arm, _ in self._order]

    def nested_candidates(self, request: ChatRequest, path: tuple[str, ...]) -> Iterator[Candidate]:
        """Yield the services in order, unhealthy ones last."""
        for arm, health in sorted(self._order, key=lambda entry: entry[1].is_paused):
            health.call_started()
            error: BaseException | None = None
            for candidate in self._candidates_of(arm, request, path):
                candidate.on_end(health.call_ended)
                yield candidate
                error = candidate.error
            if error is not None and not _is_worth_another_service(error, request):
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


def _is_worth_another_service(error: BaseException, request: ChatRequest) -> bool:
    if not isinstance(error, LLMError) or category_of(error) not in _ANOTHER_MAY_SUCCEED:
        return False
    return may_ask_another(error, request)
