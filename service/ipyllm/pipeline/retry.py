"""Decides whether and when a failed attempt is retried. tenacity runs the loop."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import AsyncRetrying, RetryCallState

    from ipyllm.response import Category

__all__ = ["LONGEST_RETRY_AFTER_S", "attempts", "is_retryable"]

LONGEST_RETRY_AFTER_S = 120.0
"""Longest accepted ``Retry-After``, in seconds; if it is longer, the call fails with the server's message."""

_TRANSIENT: frozenset[Category] = frozenset({"rate_limit", "api_error", "connection", "timeout", "truncated"})
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_SERVER_ERROR = 500
_TOO_LARGE = 413


def is_retryable(error: BaseException, *, after_text: bool = False) -> bool:
    """Whether the same request may succeed if sent again.

    False after a part of the answer has arrived, which may have been shown and would appear twice, unless
    ``after_text`` allows it. False for errors that remain: a wrong key, no quota, a certificate that is not trusted, a
    request that the server does not understand, or a wait of over two minutes. False for a request that a time limit
    ended while the server may have been at work on it, because both may be billed.
    """
    if not isinstance(error, LLMError) or error.is_lasting or error.may_be_at_work:
        return False
    if error.category not in _TRANSIENT:
        return False
    if error.partial is not None and not after_text:
        return False
    if error.retry_after is not None and error.retry_after > LONGEST_RETRY_AFTER_S:
        return False
    if error.status_code == _TOO_LARGE and error.retry_after is None:  # this request alone exceeds the rate limit
        return False
    # Any other 4xx will be refused again.
    return error.category != "api_error" or error.status_code is None or error.status_code >= _SERVER_ERROR


def _wait_s(state: RetryCallState) -> float:
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome is not None else None
    retry_after = error.retry_after if isinstance(error, LLMError) else None
    if retry_after is not None:
        return retry_after
    return wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)(state)


def attempts(
    max_retries: int,
    sleep: Callable[[float], Awaitable[None]],
    *,
    remaining_s: Callable[[], float] = lambda: math.inf,
    after_text: bool = False,
) -> AsyncRetrying:
    """Return tenacity's loop over the attempts of one call: ``Retry-After``, or exponential backoff with full jitter.

    ``sleep`` is awaited with the seconds to wait, which the caller records as ``retry_wait_s``. If a wait
    would last until ``remaining_s()``, the time until the call must end, the loop stops instead.
    """
    from tenacity import AsyncRetrying, retry_if_exception

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number > max_retries or state.upcoming_sleep >= remaining_s()

    return AsyncRetrying(
        stop=stop,
        wait=_wait_s,
        retry=retry_if_exception(partial(is_retryable, after_text=after_text)),
        sleep=sleep,
        reraise=True,
    )
