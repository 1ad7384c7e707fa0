"""State of a running exchange, and the response made from it at any time."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.response import ChatResponse, Usage, is_standard_tier
from ipyllm.runtime.loop_lag import LagMeasurement
from ipyllm.timing import Timing, output_tokens_per_second, time_per_output_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipyllm.errors import LLMError
    from ipyllm.observability.telemetry import Attempt
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import Status
    from ipyllm.transport.address import Address

__all__ = ["ExchangeState"]

_logger = logging.getLogger("ipyllm.call")


class ExchangeState:
    """State of one exchange. Only the exchange changes it, on the service thread."""

    def __init__(self) -> None:
        self.started_at = datetime.now(UTC)
        self.opened_ns = perf_counter_ns()
        self.ready_ns: int | None = None
        self.queued_s = 0.0
        self.retry_wait_ns = 0
        self.attempt_records: list[Attempt] = []
        self.attempts = 0
        self.attempt_error: LLMError | None = None
        self.attempt_is_open = False  # it was sent, and not counted as an earlier one yet
        self.sent_at = self.started_at
        self.body: Mapping[str, Any] = {}  # of the latest attempt
        self.bound_usd: float | None = None  # of the next or latest attempt; None without a limit
        # Attempts before the latest that were billed: their cost, if it is known, and the most that they can have cost.
        self.earlier_cost_usd: float | None = 0.0
        self.earlier_bound_usd = 0.0
        self.cold = False
        self.address: Address | None = None
        self.received = Accumulator(sent_ns=self.opened_ns)
        self.lag = LagMeasurement()
        self.hit: ChatResponse | None = None

    def begin_attempt(self, body: Mapping[str, Any]) -> None:
        """Record that a request is sent, with this JSON."""
        self.attempts += 1
        self.attempt_error = None
        self.attempt_is_open = True
        self.sent_at = datetime.now(UTC)
        self.body = body

    @property
    def may_be_billed(self) -> bool:
        """Whether the server may charge for the open attempt: it was reached, and did not refuse."""
        error = self.attempt_error
        if not self.attempt_is_open or self.received.has_tokens or error is None:
            return self.attempt_is_open
        return error.status_code is None and error.reached_server

    def end_attempt(self, service: Provider, request: ChatRequest) -> float | None:
        """Count the open attempt as an earlier one, because another follows; return its cost, None if unknown."""
        _, cost, _ = self._usage_and_cost(service, request)
        self.attempt_is_open = False
        self.earlier_bound_usd += cost if cost is not None else self.bound_usd or 0.0
        # An attempt of which nothing came back was probably not billed: the bound counts it, the cost does not.
        if self.earlier_cost_usd is not None and (cost is not None or self.received.has_tokens):
            self.earlier_cost_usd = None if cost is None else self.earlier_cost_usd + cost
        return cost

    def cost_of_open_attempt(self, service: Provider, request: ChatRequest, response: ChatResponse) -> float | None:
        """Return the cost of the open attempt, which ended in ``response``; None if unknown."""
        if self.hit is not None or not self.may_be_billed:
            return 0.0
        return response.cost_usd if self.earlier_cost_usd == 0.0 else self._usage_and_cost(service, request)[1]

    def response(self, service: Provider, request: ChatRequest, call_id: str, error: LLMError | None) -> ChatResponse:
        """Return the response as it is now."""
        received = self.received
        usage, cost, source = self._usage_and_cost(service, request)
        if self.attempts and not self.attempt_is_open:
            cost = self.earlier_cost_usd
        elif cost is not None and self.earlier_cost_usd != 0.0:
            cost = None if self.earlier_cost_usd is None else cost + self.earlier_cost_usd
            source = source if cost is not None else "unknown: an earlier attempt was billed too"
        return ChatResponse(
            content=received.content,
            reasoning=received.reasoning,
            tool_calls=received.tool_calls,
            status=_status(error),
            finish_reason=received.finish_reason,
            model=request.model,
            response_model=received.response_model,
            endpoint=self.address.host if self.address is not None else "",
            usage=usage,
            timing=self._timing(usage),
            cost_usd=cost,
            price_source=source,
            cold=self.cold,
            call_id=call_id,
            started_at=self.started_at,
            error_category=error.category if error is not None else None,
            error_message=str(error) if error is not None else None,
        )

    def from_cache(self, hit: ChatResponse, request: ChatRequest, call_id: str) -> ChatResponse:
        """Return the response of a call answered by the cache: no latency, no cost."""
        return replace(
            hit,
            model=request.model,
            endpoint=self.address.host if self.address is not None else "",
            timing=Timing(total_s=(perf_counter_ns() - self.opened_ns) / 1e9),
            cost_usd=0.0,
            price_source="cache",
            cold=self.cold,
            cache_hit=True,
            call_id=call_id,
            started_at=self.started_at,
        )

    def _usage_and_cost(self, service: Provider, request: ChatRequest) -> tuple[Usage, float | None, str | None]:
        received = self.received
        usage, cost, source = Usage(), None, None
        try:
            usage = replace(self._usage(service, request), service_tier=received.service_tier)
            if self.address is not None:
                cost, source = service.cost_and_source(usage, received.response_model, self.address, self.sent_at)
        except Exception:  # a service that cannot read the usage must not lose the answer
            _logger.exception("usage or price of a call to %s could not be read", request.model)
        requested = self.body.get("service_tier")
        if cost and received.service_tier is None and not is_standard_tier(requested):
            return usage, None, f"unknown: service tier {requested} was requested, the server named none"
        return usage, cost, source

    def _usage(self, service: Provider, request: ChatRequest) -> Usage:
        received = self.received
        if received.raw_usage is not None:
            return service.read_usage(received.raw_usage)
        if not received.has_tokens:
            return Usage()
        return Usage(
            input_tokens=estimate_messages(request.messages),
            output_tokens=estimate(received.content + received.reasoning),
            source="estimated",
        )

    def _timing(self, usage: Usage) -> Timing:
        received, now = self.received, perf_counter_ns()
        ttft, e2e = received.seconds_to(received.first_token_ns), received.seconds_to(received.last_token_ns)
        tpot = rate = None
        if usage.source == "server" and usage.output_tokens is not None and ttft is not None and e2e is not None:
            tpot = time_per_output_token(ttft, e2e, usage.output_tokens)
            rate = output_tokens_per_second(ttft, e2e, usage.output_tokens)
        ready_ns = now if self.ready_ns is None else self.ready_ns
        return Timing(
            ttft_s=ttft,
            ttfo_s=received.seconds_to(received.first_text_ns),
            e2e_s=e2e,
            stream_end_s=received.seconds_to(received.end_ns),
            tpot_s=tpot,
            output_tps=rate,
            max_gap_s=received.max_gap_ns / 1e9 if received.n_chunks > 1 else None,
            n_chunks=received.n_chunks,
            client_lag_s=self.lag.worst_s,
            queue_s=(ready_ns - self.opened_ns) / 1e9 + self.queued_s,
            retry_wait_s=self.retry_wait_ns / 1e9,
            attempts=self.attempts,
            total_s=(now - self.opened_ns) / 1e9,
        )


def _status(error: LLMError | None) -> Status:
    if error is None:
        return "ok"
    if error.category == "truncated" or error.category == "cancelled":  # noqa: PLR1714 - narrows the type
        return error.category
    return "error"
