"""State of a running exchange, and the response made from it at any time."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ipyllm.conversations.likely_tokens import likely_message_tokens, likely_output_tokens
from ipyllm.conversations.tokens import max_output_tokens
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.pipeline.token_counts import streamed_tokens, visible_tokens
from ipyllm.response import NOT_SENT, REFUSED, ChatResponse, Usage, is_standard_tier
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
    from ipyllm.transport.wire_times import WireTimes

__all__ = ["ExchangeState", "Phase"]

_NOTHING: Final = Accumulator(sent_ns=0)
"""What was received before the first attempt."""

_GATEWAY_ERRORS: Final = frozenset({502, 504, 524})
"""Errors of a gateway that lost the model server behind it, which may have answered."""

_BILLED_EARLIER: Final = "unknown: an earlier attempt was billed too"

_logger = logging.getLogger("ipyllm.call")


def _as_shown(response: ChatResponse) -> dict[str, str]:
    from ipyllm.rendering import answer_bundle

    return answer_bundle(response)


ChatResponse.renderer = staticmethod(_as_shown)


class Phase(NamedTuple):
    """What an exchange is doing, since when, and until when it will, as ``perf_counter_ns``."""

    name: Literal["prepare", "begin", "queue", "request", "pause"]
    since_ns: int
    until_ns: int | None = None


class ExchangeState:
    """State of one exchange. Only the exchange changes it, on the service thread."""

    def __init__(self, asked_ns: int | None = None) -> None:
        self.started_at = datetime.now(UTC)
        self.begun_ns = perf_counter_ns()
        self.opened_ns = self.begun_ns if asked_ns is None else asked_ns
        self.phase = Phase("prepare", self.begun_ns)
        self.ready_ns: int | None = None
        self.queued_s = 0.0
        self.retry_wait_ns = 0
        self.attempt_records: list[Attempt] = []
        self.attempts = 0
        self.attempt_error: LLMError | None = None
        self.accepted_ns: int | None = None  # when the response of the latest attempt began, unless it is a refusal
        self.attempt_is_open = False  # it was sent, and not counted as an earlier one yet
        self.sent_at = self.started_at
        self.body: Mapping[str, Any] = {}  # of the latest attempt
        self.bound_usd: float | None = None  # of the next or latest attempt; None without a limit
        # Attempts before the latest that were billed: their cost, if it is known, and the most that they can have cost.
        self.earlier_cost_usd: float | None = 0.0
        self.earlier_bound_usd = 0.0
        self.cold = False
        self.address: Address | None = None
        self.received = _NOTHING
        self.broken_attempts = 0  # with tokens, and made again
        self.broken_output_tokens = 0  # of these, estimated
        self.last_broken: Accumulator | None = None
        self.lag = LagMeasurement()
        self.times: WireTimes | None = None
        self.hit: ChatResponse | None = None

    def begin_attempt(self, body: Mapping[str, Any], request: ChatRequest) -> None:
        """Record that a request is sent, with this JSON."""
        if self.received.has_tokens:
            self.broken_attempts += 1
            self.broken_output_tokens += self._likely_output_tokens(request)
            self.last_broken = self.received
        self.attempts += 1
        self.attempt_error = self.accepted_ns = None
        self.attempt_is_open = True
        self.sent_at = datetime.now(UTC)
        self.body = body

    @property
    def may_be_billed(self) -> bool:
        """Whether the server may charge for the open attempt: it was reached, and did not answer by an error."""
        error = self.attempt_error
        if not self.attempt_is_open or self.received.has_tokens or error is None:
            return self.attempt_is_open
        return error.status_code in _GATEWAY_ERRORS if error.status_code is not None else error.reached_server

    def end_attempt(self, service: Provider, request: ChatRequest) -> float | None:
        """Count the open attempt as an earlier one, because another follows; return its cost, None if unknown."""
        cost, _ = self._cost(service, self._usage(service, request))
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
        return (
            response.cost_usd if self.earlier_cost_usd == 0.0 else self._cost(service, self._usage(service, request))[0]
        )

    def response(self, service: Provider, request: ChatRequest, call_id: str, error: LLMError | None) -> ChatResponse:
        """Return the response as it is now."""
        received = self.received
        usage = self._usage(service, request)
        cost, source = self._cost(service, usage)
        # Of an attempt that was made again in vain, the text is kept: it has arrived, and may have been paid for.
        text = received if error is None or received.has_tokens else self.last_broken or received
        if self.attempts and not self.may_be_billed:
            cost, source = self.earlier_cost_usd, self._source_of_unbilled(source)
            source = source if cost is not None else _BILLED_EARLIER
        elif cost is not None and self.earlier_cost_usd != 0.0:
            cost = None if self.earlier_cost_usd is None else cost + self.earlier_cost_usd
            source = source if cost is not None else _BILLED_EARLIER
        return ChatResponse(
            content=text.content,
            reasoning=text.reasoning,
            tool_calls=text.tool_calls,
            status=_status(error),
            finish_reason=received.finish_reason,
            refused=received.refused,
            output_items=received.output_items,
            logprobs=text.logprobs,
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
            cause=error.cause if error is not None else None,
            not_applied=request.not_applied,
        )

    def _source_of_unbilled(self, source: str | None) -> str | None:
        """Return the source of the cost of an exchange whose latest attempt was not billed."""
        if self.attempt_is_open and not self.earlier_bound_usd and self.attempt_error is not None:
            return REFUSED if self.attempt_error.reached_server else NOT_SENT
        return source

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
            not_applied=request.not_applied,
        )

    def counted_usage(self, service: Provider, request: ChatRequest) -> Usage:
        """Return the server's counts, as far as they hold for all that has arrived."""
        received = self.received
        if received.raw_usage is None:
            return Usage()
        try:
            counted = service.read_usage(received.raw_usage)
        except Exception as exc:  # noqa: BLE001 - a service that cannot read the usage must not lose the answer
            log_failure(_logger, "the usage of a call could not be read", exc, model=request.model)
            return Usage()
        if received.has_tokens and not (received.output_is_counted and counted.output_tokens):
            counted = replace(counted, output_tokens=None, reasoning_tokens=None)
        return counted

    def _usage(self, service: Provider, request: ChatRequest) -> Usage:
        """Return the server's counts, and estimates of what it did not count."""
        counted = self.counted_usage(service, request)
        known: dict[str, Any] = {
            "visible_tokens": visible_tokens(counted, self.received),
            "service_tier": self.received.service_tier,
            "broken_output_tokens_estimated": self.broken_output_tokens or None,
        }
        if self.received.has_tokens:
            if counted.input_tokens is None:
                known["input_tokens_estimated"] = likely_message_tokens(request.messages)
            if counted.output_tokens is None:
                known["output_tokens_estimated"] = self._likely_output_tokens(request)
            is_counted = counted.input_tokens is not None or counted.output_tokens is not None
            known["source"] = "server" if is_counted else "estimated"
        return replace(counted, **known)

    def _likely_output_tokens(self, request: ChatRequest) -> int:
        received = self.received
        return likely_output_tokens(
            received.reasoning + received.content + received.arguments,
            n_chunks=received.n_chunks,
            limit=max_output_tokens({"max_tokens": request.params.get("max_tokens"), **self.body, "n": 1}),
            reached_limit=received.finish_reason == "length",
        )

    def _cost(self, service: Provider, usage: Usage) -> tuple[float | None, str | None]:
        """Return the cost of the latest attempt, and the source of the price or why it is unknown."""
        if self.address is None or self.attempts == 0:
            return 0.0, NOT_SENT
        received = self.received
        try:
            told = service.told_cost(received.raw_usage) if received.raw_usage and received.output_is_counted else None
            if told is not None:
                return told, "provider"
            cost, source = service.cost_and_source(usage, received.response_model, self.address, self.sent_at)
        except Exception as exc:  # noqa: BLE001 - a service without a price must not lose the answer
            log_failure(_logger, "the price of a call could not be read", exc, model=service.full_name)
            return None, None
        requested = self.body.get("service_tier")
        if cost and usage.service_tier is None and not is_standard_tier(requested):
            return None, f"unknown: service tier {requested} was requested, the server named none"
        return cost, source

    def _timing(self, usage: Usage) -> Timing:
        received, now = self.received, perf_counter_ns()
        ttft, e2e = received.seconds_to(received.first_token_ns), received.seconds_to(received.last_token_ns)
        times = self.times
        send_delay_s = self._send_delay_s()
        tpot = rate = None
        n_tokens = streamed_tokens(usage, received) if received.streamed else None
        if n_tokens is not None and ttft is not None and e2e is not None:
            tpot = time_per_output_token(ttft, e2e, n_tokens)
            rate = output_tokens_per_second(ttft, e2e, n_tokens)
        ready_ns = now if self.ready_ns is None else self.ready_ns
        return Timing(
            connect_s=_seconds(times.connect_ns) if times is not None else None,
            send_delay_s=send_delay_s,
            ttft_s=ttft,
            ttfo_s=received.seconds_to(received.first_text_ns),
            thinking_s=_thinking_s(received, usage, ttft),
            e2e_s=e2e,
            stream_end_s=received.seconds_to(received.end_ns),
            streamed=received.streamed if received.has_tokens else None,
            tpot_s=tpot,
            output_tps=rate,
            max_gap_s=received.max_gap_ns / 1e9 if received.n_chunks > 1 else None,
            n_chunks=received.n_chunks,
            client_lag_s=self._client_lag_s(send_delay_s),
            arrival_clock=_arrival_clock(received),
            queue_s=(ready_ns - self.begun_ns) / 1e9 + self.queued_s,
            retry_wait_s=self.retry_wait_ns / 1e9,
            attempts=self.attempts,
            broken_attempts=self.broken_attempts,
            total_s=(now - self.opened_ns) / 1e9,
        )

    def _send_delay_s(self) -> float | None:
        """Return how late the request was sent; the first one also by how late it was begun."""
        delay_ns = self.times.send_delay_ns if self.times is not None else None
        late_ns = self.begun_ns - self.opened_ns if self.attempts == 1 else 0
        return None if delay_ns is None else (delay_ns + late_ns) / 1e9

    def _client_lag_s(self, send_delay_s: float | None) -> float:
        """Return how late the request was sent and its first token read; the loop's lag where that was not measured."""
        read_delay_ns = self.received.first_read_delay_ns
        read_delay_s = self.lag.worst_s if read_delay_ns is None else read_delay_ns / 1e9
        if read_delay_ns is not None and not self.received.stamped_by_kernel:  # since nothing waited: maybe much longer
            read_delay_s = min(read_delay_s, self.lag.longest_wait_s)
        return (send_delay_s or 0.0) + read_delay_s


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _arrival_clock(received: Accumulator) -> Literal["kernel", "process"] | None:
    if not received.has_tokens:
        return None
    return "kernel" if received.stamped_by_kernel else "process"


def _thinking_s(received: Accumulator, usage: Usage, ttft_s: float | None) -> float | None:
    """Return the time of reasoning: from its first chunk to its last, or until the first token if it is hidden."""
    if not received.streamed:
        return None
    first, last = received.first_reasoning_ns, received.last_reasoning_ns
    if first is not None and last is not None:
        return (last - first) / 1e9 if last > first else None
    return ttft_s if usage.source == "server" and usage.reasoning_tokens else None


def _status(error: LLMError | None) -> Status:
    if error is None:
        return "ok"
    if error.category == "truncated" or error.category == "cancelled":  # noqa: PLR1714 - narrows the type
        return error.category
    return "error"
