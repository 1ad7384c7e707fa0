"""Whether a service is worth asking now, where there are others.

It is out after three failures in a row, for longer each time, and is then tried by one call; or for as long as it asked
to be left alone.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.pipeline.candidates import category_of

if TYPE_CHECKING:
    from ipyllm.response import Category

__all__ = ["Health"]

_ENOUGH = 3
_FIRST_S = 1.0
_LONGEST_S = 60.0
_UNWELL: frozenset[Category] = frozenset({"connection", "timeout", "api_error"})
_SERVER_ERROR = 500


class Health:
    """What recent calls tell of a service. Only its owner touches it.

    Examples
    --------
    >>> health = Health()
    >>> for _ in range(3):
    ...     health.learn(LLMError("Nobody there.", category="connection"))
    >>> health.is_out
    True
    """

    def __init__(self) -> None:
        self._failures = 0
        self._times_out = 0
        self._out_until = 0.0
        self._tried = False

    @property
    def is_out(self) -> bool:
        """Whether it should not be asked now."""
        return monotonic() < self._out_until or (self._tried and self._failures >= _ENOUGH)

    @property
    def out_for_s(self) -> float:
        """Seconds until it is tried again; 0 when it is in, or that time has come."""
        return max(0.0, self._out_until - monotonic())

    def asked(self) -> None:
        """Learn that a call is on its way to it."""
        self._tried = self._failures >= _ENOUGH

    def learn(self, error: BaseException | None) -> None:
        """Learn how a call ended. One that was cancelled says nothing; one that was refused, that the server is up."""
        self._tried = False
        if error is not None and not isinstance(error, LLMError):
            return
        now = monotonic()
        if error is None or (error.status_code is not None and error.status_code < _SERVER_ERROR):
            self._failures = self._times_out = 0
            if error is not None and category_of(error) == "rate_limit" and error.retry_after is not None:
                self._out_until = max(self._out_until, now + error.retry_after)
        elif category_of(error) in _UNWELL:
            self._failures += 1
            # Calls that were under way when it went out fail too; they do not make it worse.
            if self._failures >= _ENOUGH and now >= self._out_until:
                self._out_until = now + min(_FIRST_S * 2**self._times_out, _LONGEST_S)
                self._times_out += 1
