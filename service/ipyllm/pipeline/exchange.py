"""One exchange with a service: one request, its attempts, one response, one ledger row.

Runs on the service thread: prepare → cache → budget → attempts (limiter, retries, time limits) → row.
Exactly one finished row is written, also after a cancellation or a bug of ours.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.errors import LLMError
from ipyllm.ledger.ids import new_id
from ipyllm.observability import telemetry
from ipyllm.observability.logs import log
from ipyllm.pipeline.accumulators import new_accumulator
from ipyllm.pipeline.exchange_budget import ExchangeBudget
from ipyllm.pipeline.exchange_cache import ExchangeCache, events_of
from ipyllm.pipeline.exchange_errors import (
    as_llm_error,
    error_of_complete_stream,
    gave_up,
    implausible_answer,
    took_too_long,
)
from ipyllm.pipeline.exchange_row import ExchangeRow
from ipyllm.pipeline.field_bounds import ImplausibleAnswerError
from ipyllm.pipeline.limiter_registry import limiter_for
from ipyllm.pipeline.retry import attempts, is_retryable
from ipyllm.pipeline.state import ExchangeState, Phase
from ipyllm.pipeline.stored_responses import interrupted_by_exit
from ipyllm.pipeline.waiting import what_is_awaited
from ipyllm.pipeline.watchdog import Watchdog
from ipyllm.runtime.service_thread import own_service_thread
from ipyllm.transport.address import canonical

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from opentelemetry.context import Context

    from ipyllm.events import Event
    from ipyllm.pipeline.accumulator import Accumulator
    from ipyllm.pipeline.budget import Account
    from ipyllm.pipeline.exchange_row import RowSink
    from ipyllm.pipeline.limiter import Limiter, Slot
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.runtime.loop_lag import LagMeasurement
    from ipyllm.transport.address import Address
    from ipyllm.transport.client import Chunk
    from ipyllm.transport.wire_times import WireTimes

__all__ = ["Exchange"]

_logger = logging.getLogger("ipyllm.call")
_RESEND_S = 120.0  # how long to resend a request that the server refuses because of our other calls


class Exchange:
    """One request to one service; ``deadline`` is when the whole call must have ended, in the loop's time.

    ``on_event`` takes each event as it arrives, on the service thread, and must return in microseconds. The cost is
    reserved and settled in each of ``accounts``. With ``wait_for_slot`` it waits for a turn at a server that is busy
    with our other calls. ``on_begun`` is called when a server has begun to answer, maybe before the first token.
    ``asked_ns`` is the ``perf_counter_ns`` at which the caller asked, if that was earlier.
    """

    def __init__(
        self,
        service: Provider,
        request: ChatRequest,
        on_event: Callable[[Event], None],
        ledger: RowSink,
        deadline: float | None = None,
        context: Context | None = None,
        *,
        accounts: Sequence[Account] = (),
        wait_for_slot: bool = True,
        on_begun: Callable[[], None] | None = None,
        asked_ns: int | None = None,
    ) -> None:
        self.service = service
        self.request = request
        self.call_id = new_id()
        self._on_event = on_event
        self._on_begun = on_begun  # until it is called
        self._row = ExchangeRow(self.call_id, request, ledger)
        self._deadline = deadline
        self._context = context
        self._wait_for_slot = wait_for_slot
        self._asked_ns = asked_ns
        self._cache = ExchangeCache(service, request)
        self._state: ExchangeState | None = None
        self._limiter: Limiter | None = None
        self._may_retry = True
        self._pause: asyncio.Future[None] | None = None  # between two attempts
        self._budget = ExchangeBudget(service, request, accounts)
        self._thread = own_service_thread()

    async def run(self) -> ChatResponse:
        """Send the request and return the complete response.

        Raises :class:`LLMError` for every other end, cancellation included; its ``partial`` is the response so far, as
        in the row.
        """
        state, error = ExchangeState(self._asked_ns), None
        self._state = state
        try:
            self._row.begin(state.started_at)
            try:
                if self._deadline is None:
                    await self._run(state)
                else:
                    async with asyncio.timeout_at(self._deadline):
                        await self._run(state)
            except TimeoutError:
                raise took_too_long(self.request.model, self.request.timeout.total) from None
        except BaseException as exc:  # noqa: BLE001 - the row must be finished after any error, even an exit
            error = as_llm_error(exc, self.request.model)
        response = self._finish(state, error)
        if error is not None:
            # Without the frames of the transport, whose variables hold what the server sent: it may be a key.
            raise error.with_traceback(None)
        await self._cache.keep(response)
        return response

    def stop_retrying(self) -> None:
        """Let the attempt that runs, if any, be the last, and end a wait for another. On the service thread."""
        self._may_retry = False
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    def waiting(self) -> Waiting | None:
        """Return what it waits for; None before its beginning, and once text or a function call arrives. Any thread."""
        state = self._state
        return None if state is None else what_is_awaited(state, self.service, self.request, self._limiter)

    async def _run(self, state: ExchangeState) -> None:
        state.address, state.cold = await self.service.prepare()
        limiter = self._limiter = limiter_for(state.address, self.service.limits)
        limiter.is_cold |= state.cold
        self.service.check_headers(self.request.headers, state.address)
        state.phase = Phase("begin", state.begun_ns)
        state.hit = await self._cache.look_up(state.address)
        if state.hit is not None:
            for event in events_of(state.hit):
                self._on_event(event)
            return
        await self._thread.transport.connection(state.address)  # an import at the first call is not latency
        await self.service.load_prices(state.address)
        await self._budget.hold(state)
        self._put_bound(state)
        state.cold = limiter.is_cold
        state.ready_ns = perf_counter_ns()
        await self._attempt_with_retries(state)

    # ---- attempts --------------------------------------------------------------------------------------

    def _remaining_s(self) -> float:
        if not self._may_retry:
            return 0.0
        return math.inf if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    async def _attempt_with_retries(self, state: ExchangeState) -> None:
        request, after_text = self.request, bool(self.request.retry_after_text)

        async def wait(seconds: float) -> None:
            log(_logger, logging.WARNING, "attempt failed, waiting", model=request.model, wait_s=round(seconds, 3))
            before = perf_counter_ns()
            state.phase = Phase("pause", before, before + int(seconds * 1e9))
            self._pause = asyncio.get_running_loop().create_future()
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._pause, seconds)
            finally:
                state.retry_wait_ns += perf_counter_ns() - before

        try:
            return await self._attempt_when_allowed(state)
        except LLMError as exc:
            first_error = exc  # nearly every first attempt succeeds, and setting up tenacity costs 0.1 ms
        tries = 0
        try:
            async for attempt in attempts(
                request.max_retries, wait, remaining_s=self._remaining_s, after_text=after_text
            ):
                with attempt:
                    tries += 1
                    if tries == 1:
                        raise first_error
                    if not self._may_retry and state.attempt_error is not None:
                        raise state.attempt_error
                    await self._attempt_when_allowed(state)
        except LLMError as exc:
            if 1 < tries == request.max_retries + 1 and is_retryable(exc, after_text=after_text):
                raise gave_up(exc, state.attempts, request.model) from exc.with_traceback(None)
            raise

    async def _attempt_when_allowed(self, state: ExchangeState) -> None:
        """Send when the limiter allows it; send again if the server refuses because of our other calls."""
        limiter = self._limiter
        assert limiter is not None
        slot = limiter.slot(estimate_messages(self.request.messages) if limiter.counts_tokens else 0)
        until = asyncio.get_running_loop().time() + min(_RESEND_S, self._remaining_s())
        while True:
            waited_s = slot.waited_s
            state.phase = Phase("queue", perf_counter_ns())
            try:
                async with slot:
                    state.queued_s += slot.waited_s - waited_s
                    try:
                        await self._attempt(state, slot)
                    except LLMError as exc:
                        caused_by_us = exc.category == "rate_limit" and slot.rejected(exc.retry_after)
                        send_again = caused_by_us and self._wait_for_slot and self._may_retry and is_retryable(exc)
                        if not send_again or asyncio.get_running_loop().time() > until:
                            raise
                        continue
                    counts = state.counted_usage(self.service, self.request) if limiter.counts_tokens else None
                    slot.succeeded(None if counts is None else counts.total_tokens)
                    return
            except asyncio.CancelledError:
                if state.attempts == 0:
                    state.queued_s = slot.waited_s
                raise

    async def _attempt(self, state: ExchangeState, slot: Slot) -> None:
        request = self.request
        assert state.address is not None
        await self._hold_budget(state)
        body, api = self.service.body(request), self.service.api
        state.begin_attempt(body, request)
        if state.attempts == 1:  # all attempts send the same
            self._row.sent(body)
        thread = self._thread
        stream = thread.transport.stream(
            state.address,
            body,
            model=request.model,
            connect_s=request.timeout.connect,
            api=api,
            headers=request.headers,
        )
        received = state.received = new_accumulator(self.service, self.request, api)
        state.times = stream.times
        state.phase = Phase("request", stream.times.ready_ns)
        watchdog = Watchdog(received, stream.times, request.timeout, self._row.save)
        error: LLMError | None = None
        try:
            with thread.lag.measure() as state.lag, thread.short_pauses:
                try:
                    async with watchdog, stream as chunks:
                        slot.admitted()
                        state.accepted_ns = perf_counter_ns()
                        received.sent_ns = stream.times.sent_ns or received.sent_ns
                        await self._receive(chunks, received, stream.times, state.lag, slot)
                finally:
                    self._add_rest(received)
            received.end_ns = perf_counter_ns()
            error = error_of_complete_stream(received, request.model)
            self._log_oddities(received)
        except TimeoutError:
            error = watchdog.error(request.model, reasons=self.service.reasons(request))
            if error is None:
                raise
        except (LLMError, ImplausibleAnswerError) as exc:
            error = self._explained(exc, state.address)
        state.attempt_error = error
        state.attempt_records.append(
            telemetry.Attempt(
                received.sent_ns,
                perf_counter_ns(),
                error.category if error is not None else None,
                error.status_code if error is not None else None,
            )
        )
        if error is not None:
            if received.has_tokens:  # so it is made again only if nobody has seen them
                error.partial = state.response(self.service, request, self.call_id, error)
            raise error

    async def _hold_budget(self, state: ExchangeState) -> None:
        """Reserve the cost of an attempt, and put what others must know of it before it is sent."""
        try:
            await self._budget.hold_for_attempt(state)
        except LLMError as exc:
            exc.cause = state.attempt_error.category if state.attempt_error is not None else None
            raise
        self._put_bound(state, to_be_sent=True)
        if self._budget.needs_row:
            self._row.put_waiting()
        await self._budget.sent()

    async def _receive(
        self, chunks: AsyncIterator[Chunk], received: Accumulator, times: WireTimes, lag: LagMeasurement, slot: Slot
    ) -> None:
        on_event = self._on_event
        async for chunk, arrival, text in chunks:
            for event in received.feed(chunk, arrival, text):
                on_event(event)
            if self._on_begun is not None and received.has_begun:
                on_begun, self._on_begun = self._on_begun, None
                on_begun()
            if times.awaits_first_token and received.has_tokens:
                times.first_token_arrived()
                lag.end()
                slot.answered()

    def _add_rest(self, received: Accumulator) -> None:
        """Add what was held back to a response when it has ended, however it did."""
        for event in received.close():
            self._on_event(event)

    def _explained(self, exc: LLMError | ImplausibleAnswerError, address: Address) -> LLMError:
        if isinstance(exc, ImplausibleAnswerError):
            return implausible_answer(exc, self.request.model)
        exc.hide(self.request.headers.with_defaults(address.headers).hide)
        return self.service.explain(exc, self.request)

    def _log_oddities(self, received: Accumulator) -> None:
        model = self.request.model
        if n := received.removed_inputs:
            log(_logger, logging.WARNING, "server left out items of earlier turns", model=model, items=n)
        if received.has_other_choices:
            log(_logger, logging.WARNING, "server sent several answers, the first is kept", model=model)

    def _put_bound(self, state: ExchangeState, *, to_be_sent: bool = False) -> None:
        """Put the most that the exchange can have cost so far into the row, in case this process dies."""
        if self._budget.is_limited:
            bound_usd = state.earlier_bound_usd + (state.bound_usd or 0.0 if to_be_sent else 0.0)
            self._row.put_bound(bound_usd)

    # ---- end -------------------------------------------------------------------------------------------

    def _finish(self, state: ExchangeState, error: LLMError | None) -> ChatResponse:
        if state.hit is not None and error is None:
            response = state.from_cache(state.hit, self.request, self.call_id)
        else:
            response = interrupted_by_exit(state.response(self.service, self.request, self.call_id, error))
        if error is not None:
            error.attempts = state.attempts
            error.partial = response
        address = None if state.address is None else canonical(state.address.base_url)
        self._row.finish(response, self._budget.settle(state, response), address)
        self._budget.end()
        log(
            _logger,
            logging.INFO if response.status in {"ok", "cancelled", "interrupted"} else logging.ERROR,
            "call finished",
            call_id=self.call_id,
            model=response.model,
            status=response.status,
            category=response.error_category,
            ttft_s=response.timing.ttft_s,
            total_s=response.timing.total_s,
            output_tokens=response.usage.output_tokens,
            attempts=response.timing.attempts,
        )
        telemetry.record(
            self.request,
            response,
            self._context,
            started_ns=state.opened_ns,
            ended_ns=perf_counter_ns(),
            attempts=state.attempt_records,
        )
        return response
