"""Says in one line what a call waits for before its first token.

Nobody is told: the pipeline notes its phase a few times in each attempt, and who shows the call asks about once a
second, from any thread. A chunk costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic_ns, perf_counter_ns
from typing import TYPE_CHECKING, Final

from ipyllm.text.format import count

if TYPE_CHECKING:
    from ipyllm.errors import LLMError
    from ipyllm.pipeline.limiter import Limiter
    from ipyllm.pipeline.state import ExchangeState, Phase
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import Category

__all__ = ["Waiting", "what_is_awaited"]

_CLOCK_DIFFERENCE_NS: Final = perf_counter_ns() - monotonic_ns()  # 0 on Linux; the limiter has the other clock

_KEEP_ALIVE_NS: Final = 1_000_000_000
"""What arrives so much later than the response began, and is no token, keeps the connection alive."""

_FAILURES: Final[dict[Category, str]] = {
    "rate_limit": "rate limited",
    "connection": "connection broke",
    "truncated": "connection broke",
    "timeout": "no answer in time",
    "api_error": "server error",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a call waits for, with a clock that runs up from ``at_ns``, or down to it. All text is ours.

    Examples
    --------
    >>> Waiting("thinking · ", at_ns=0).line(41_900_000_000)
    'thinking · 41 s'
    >>> Waiting("rate limited, next try in ", at_ns=20_000_000_000, after=" s, attempt 2 of 3", counts_down=True).line(
    ...     1_500_000_000)
    'rate limited, next try in 19 s, attempt 2 of 3'
    """

    before: str
    at_ns: int
    after: str = " s"
    counts_down: bool = False

    def seconds(self, now_ns: int | None = None) -> float:
        """Return what the clock shows now: seconds, not rounded."""
        elapsed_s = ((perf_counter_ns() if now_ns is None else now_ns) - self.at_ns) / 1e9
        return max(0.0, -elapsed_s if self.counts_down else elapsed_s)

    def line(self, now_ns: int | None = None) -> str:
        """Return the line as of now."""
        seconds = self.seconds(now_ns)
        return f"{self.before}{math.ceil(seconds) if self.counts_down else math.floor(seconds)}{self.after}"


def what_is_awaited(
    state: ExchangeState, service: Provider, request: ChatRequest, limiter: Limiter | None
) -> Waiting | None:
    """Return what an exchange waits for; None once text or a function call arrives."""
    phase = state.phase
    if phase.name == "request":
        return _response(state, phase, _attempt(state.attempts, request), service, request)
    attempt = _attempt(state.attempts + 1, request)
    if phase.name == "pause" and phase.until_ns is not None:
        return _next_try(_failure(state.attempt_error), phase.until_ns, attempt)
    if phase.name == "queue" and limiter is not None:
        return _queue(limiter, phase, attempt)
    return _since("starting the model" if phase.name == "prepare" else "preparing", phase.since_ns)


def _response(
    state: ExchangeState, phase: Phase, attempt: str, service: Provider, request: ChatRequest
) -> Waiting | None:
    received, times = state.received, state.times
    reasons = received.first_reasoning_ns is not None
    if received.first_text_ns is not None or (received.has_tokens and not reasons):
        return None
    if times is None or times.is_connecting:
        return _since(f"connecting{attempt}", phase.since_ns)
    if reasons or service.reasons(request):
        what = "thinking"
    elif state.accepted_ns is not None and (times.heard_ns or 0) - state.accepted_ns > _KEEP_ALIVE_NS:
        what = "the server is at work"
    else:
        what = "waiting for the first token"
    return _since(what + attempt, phase.since_ns + (times.connect_ns or 0))


def _queue(limiter: Limiter, phase: Phase, attempt: str) -> Waiting:
    paused_until_ns = int(limiter.paused_until * 1e9) + _CLOCK_DIFFERENCE_NS
    if paused_until_ns > perf_counter_ns():
        return _next_try("rate limited", paused_until_ns, attempt)
    in_flight = limiter.in_flight
    others = f"{count(in_flight, 'call')} in flight" if in_flight >= limiter.limit else "the rate limit"
    return _since(f"queued behind {others}{attempt}", phase.since_ns)


def _failure(error: LLMError | None) -> str:
    if error is None:
        return "failed"
    if not error.reached_server:
        return "the server cannot be reached"
    status = f" {error.status_code}" if error.category == "api_error" and error.status_code is not None else ""
    return _FAILURES.get(error.category, "failed") + status


def _attempt(number: int, request: ChatRequest) -> str:
    """Return which attempt this is, if it is not the first; those that our own other calls caused are not limited."""
    limit = request.max_retries + 1
    return "" if number <= 1 else f", attempt {number}" + (f" of {limit}" if number <= limit else "")


def _since(what: str, since_ns: int) -> Waiting:
    return Waiting(f"{what} · ", since_ns)


def _next_try(why: str, at_ns: int, attempt: str) -> Waiting:
    return Waiting(f"{why}, next try in ", at_ns, f" s{attempt}", counts_down=True)
