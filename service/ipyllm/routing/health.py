"""Health of a service of a route: a circuit breaker.

After three failures in a row the service is paused, each time for longer, and is then tried by a single call. A
``Retry-After`` pauses it for as long as it says.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.pipeline.candidates import category_of

if TYPE_CHECKING:
    from ipyllm.response import Category

__all__ = ["Health"]

_FAILURES_TO_OPEN = 3
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_FAILURE_CATEGORIES: frozenset[Category] = frozenset({"connection", "timeout", "api_error"})
_SERVER_ERROR = 500


class Health:
    """Health of one service, judged by its recent calls. Only its owner uses it."""

    def __init__(self) -> None:
        self._failures = 0
        self._pauses = 0
        self._paused_until = 0.0
        self._on_trial = False

    @property
    def is_paused(self) -> bool:
        """Whether the service should not be asked now."""
        return monotonic() < self._paused_until or (self._on_trial and self._failures >= _FAILURES_TO_OPEN)

    @property
    def paused_for_s(self) -> float:
        """Seconds until it is tried again; 0 when it can be asked."""
        return max(0.0, self._paused_until - monotonic())

    def call_started(self) -> None:
        """Note that a call is sent to the service."""
        self._on_trial = self._failures >= _FAILURES_TO_OPEN

    def call_ended(self, error: BaseException | None) -> None:
        """Note the outcome of a call. A cancelled call does not count; a rejected one shows that the server is up."""
        self._on_trial = False
        if error is not None and not isinstance(error, LLMError):
            return
        now = monotonic()
        if error is None or (error.status_code is not None and error.status_code < _SERVER_ERROR):
            self._failures = self._pauses = 0
            if error is not None and category_of(error) == "rate_limit" and error.retry_after is not None:
                self._paused_until = max(self._paused_until, now + error.retry_after)
        elif category_of(error) in _FAILURE_CATEGORIES:
            self._failures += 1
            # Calls that were in flight when the pause began fail too, and do not lengthen it.
            if self._failures >= _FAILURES_TO_OPEN and now >= self._paused_until:
                self._paused_until = now + min(_FIRST_PAUSE_S * 2**self._pauses, _LONGEST_PAUSE_S)
                self._pauses += 1
