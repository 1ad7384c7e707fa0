"""One exchange with a server: one request, sent as often as needed, one answer, one ledger row.

Runs on the service thread: make ready → own cache → budget → attempts (limiter, retries, time limits) → row.
Whatever happens, it ends in exactly one finished row.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from ipyllm.conversations.tokens import estimate_messages
from ipyllm.errors import LLMError
from ipyllm.events import ReasoningDelta, TextDelta
from ipyllm.ledger.ids import new_id
from ipyllm.observability import telemetry
from ipyllm.observability.logs import log
from ipyllm.pipeline import ledger_rows
from ipyllm.pipeline.accumulator import Accumulator
from ipyllm.pipeline.budget import Budget, kernel_budget
from ipyllm.pipeline.cache import cache_key, current_cache
from ipyllm.pipeline.limiter_registry import limiter_for
from ipyllm.pipeline.retry import attempts, worth_retrying
from ipyllm.pipeline.state import Progress
from ipyllm.pipeline.watchdog import Watchdog
from ipyllm.runtime.service_thread import service_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

    from ipyllm.events import Event
    from ipyllm.pipeline.budget import Reservation
    from ipyllm.pipeline.cache import ResponseCache
    from ipyllm.pipeline.limiter import Slot
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse

__all__ = ["Exchange", "RowSink"]

_logger = logging.getLogger("ipyllm.call")
_SAVE_EVERY_S = 1.0
_REJECTED_FOR_S = 120.0  # without a limit on the whole call, so long it is sent again when the server is busy with us


class RowSink(Protocol):
    """Where rows go: the ledger, or whatever brings them there from another machine."""

    def put(self, row: Mapping[str, Any], /) -> None:
        """Take a row, or more columns of one, at once."""


class PeriodicSave:
    """Saves what has arrived by the clock, not by chunk: a killed kernel loses at most a second of it."""

    __slots__ = ("_got", "_save", "_saved", "_timer")

    def __init__(self, save: Callable[[Accumulator], None], got: Accumulator) -> None:
        self._save = save
        self._got = got
        self._saved = 0

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SAVE_EVERY_S, self._look)

    def __exit__(self, *exc_info: object) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._got.n_chunks != self._saved:
            self._saved = self._got.n_chunks
            self._save(self._got)
        self._timer = asyncio.get_running_loop().call_later(_SAVE_EVERY_S, self._look)


class Exchange:
    """One request to one service.

    Parameters
    ----------
    service : Provider
        Which server, and its quirks; never a route.
    request : ChatRequest
        What to ask.
    on_event : callable
        Takes each event as it arrives: it must return in microseconds.
    ledger : RowSink
        Where the row goes.
    deadline : float or None
        When the whole call must be over, in the loop's time.
    context : Context or None
        The caller's OpenTelemetry context.
    wait_for_slot : bool
        Whether to wait for our turn at a server that is busy with our own calls.
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
        wait_for_slot: bool = True,
    ) -> None:
        self.service = service
        self.request = request
        self.call_id = new_id()
        self._on_event = on_event
        self._ledger = ledger
        self._deadline = deadline
        self._context = context
        self._wait_for_slot = wait_for_slot
        self._cache: ResponseCache | None = None
        self._cache_key = ""
        self._reservations: list[Reservation] = []

    async def run(self) -> ChatResponse:
        """Send it and return the whole answer.

        Raises
        ------
        LLMError
            However else it ended, cancellation included; ``partial`` is what had arrived, and what the row says.
        """
        progress, error = Progress(), None
        try:
            self._ledger.put(ledger_rows.opening(self.call_id, self.request, progress.started_at))
            try:
                async with asyncio.timeout_at(self._deadline):
                    await self._through(progress)
            except TimeoutError:
                raise self._too_slow(f"the whole call took more than {self.request.timeout.total:g} s") from None
        except (asyncio.CancelledError, Exception) as exc:  # noqa: BLE001 - whatever it is, the row must be finished
            error = self._as_error(exc)
        response = self._finish(progress, error)
        if error is not None:
            raise error
        await self._remember(response)
        return response

    async def _through(self, progress: Progress) -> None:
        service = self.service
        progress.address, progress.cold = await service.prepare()
        if await self._answered_by_cache(progress):
            return
        await service_thread().wire.connect(progress.address)
        await service.load_prices(progress.address)
        self._reserve(progress)
        progress.sent_first_ns = perf_counter_ns()
        await self._attempts(progress)

    # ---- our own cache -------------------------------------------------------------------------------

    async def _answered_by_cache(self, progress: Progress) -> bool:
        self._cache = current_cache(self.request.cache)
        if self._cache is None or progress.address is None:
            return False
        cache, scope, body = self._cache, self.service.cache_scope(progress.address), self.service.body(self.request)

        def look_up() -> tuple[str, ChatResponse | None]:
            key = cache_key(scope, body)
            return key, cache.get(key)

        self._cache_key, progress.hit = await asyncio.to_thread(look_up)
        if progress.hit is None:
            return False
        now = perf_counter_ns()
        if progress.hit.reasoning:
            self._on_event(ReasoningDelta(progress.hit.reasoning, now))
        if progress.hit.content:
            self._on_event(TextDelta(progress.hit.content, now))
        return True

    async def _remember(self, response: ChatResponse) -> None:
        if self._cache is not None and not response.cache_hit:
            with suppress(RuntimeError):  # at the interpreter's exit there are no threads to be had
                await asyncio.to_thread(self._cache.put, self._cache_key, response)

    # ---- budgets -------------------------------------------------------------------------------------

    def _reserve(self, progress: Progress) -> None:
        """Refuse before anything is spent, if it might be too much."""
        request = self.request
        budgets = [kernel_budget()]
        if request.max_cost_usd is not None:
            budgets.append(Budget(request.max_cost_usd, allow_unknown_price=budgets[0].allow_unknown_price))
        bound = None
        if any(budget.limit_usd is not None for budget in budgets) and progress.address is not None:
            longest = request.params.get("max_tokens") or request.params.get("max_completion_tokens")
            tokens = estimate_messages(request.messages)
            bound = self.service.estimate_cost(progress.address, tokens, longest, progress.started_at)
        for budget in budgets:
            self._reservations.append(budget.reserve(bound, model=request.model))

    def _settle(self, progress: Progress, response: ChatResponse, error: LLMError | None) -> None:
        refused = progress.attempts == 0 or (error is not None and error.status_code is not None)
        for reservation in self._reservations:
            reservation.settle(0.0 if response.cost_usd is None and refused else response.cost_usd)

    # ---- attempts ------------------------------------------------------------------------------------

    def _remaining_s(self) -> float:
        return math.inf if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    async def _attempts(self, progress: Progress) -> None:
        request = self.request

        async def wait(seconds: float) -> None:
            log(_logger, logging.WARNING, "attempt failed, waiting", model=request.model, wait_s=round(seconds, 3))
            before = perf_counter_ns()
            try:
                await asyncio.sleep(seconds)
            finally:
                progress.retry_wait_ns += perf_counter_ns() - before

        try:
            return await self._attempt_in_turn(progress)
        except LLMError as exc:
            failed = exc  # nearly every first attempt succeeds, and tenacity's preparations cost 0.1 ms
        tries = 0
        try:
            async for attempt in attempts(
                request.max_retries, wait, remaining_s=self._remaining_s, after_text=request.retry_after_text
            ):
                with attempt:
                    tries += 1
                    if tries == 1:
                        raise failed
                    await self._attempt_in_turn(progress)
        except LLMError as exc:
            if (
                tries > 1
                and tries == request.max_retries + 1
                and worth_retrying(exc, after_text=request.retry_after_text)
            ):
                raise LLMError(
                    f"Gave up after {progress.attempts} attempts: {exc}",
                    category="max_retries_exceeded",
                    model=request.model,
                    status_code=exc.status_code,
                    attempts=progress.attempts,
                    retry_after=exc.retry_after,
                ) from exc
            raise

    async def _attempt_in_turn(self, progress: Progress) -> None:
        """Send when the address's limiter lets us; what it refused only because of our own crowd is sent again."""
        assert progress.address is not None
        limiter = limiter_for(progress.address, self.service.limits)
        slot = limiter.slot(estimate_messages(self.request.messages) if limiter.counts_tokens else 0)
        until = asyncio.get_running_loop().time() + min(_REJECTED_FOR_S, self._remaining_s())
        while True:
            waited_s = slot.waited_s
            try:
                async with slot:
                    progress.queued_s += slot.waited_s - waited_s
                    try:
                        await self._attempt(progress, slot)
                    except LLMError as exc:
                        for_others = exc.category == "rate_limit" and slot.rejected(exc.retry_after)
                        again = for_others and self._wait_for_slot and worth_retrying(exc)
                        if not again or asyncio.get_running_loop().time() > until:
                            raise
                        continue
                    used = (progress.got.raw_usage or {}).get("total_tokens")
                    slot.succeeded(used if isinstance(used, int) else None)
                    return
            except asyncio.CancelledError:
                if progress.attempts == 0:
                    progress.queued_s = slot.waited_s
                raise

    async def _attempt(self, progress: Progress, slot: Slot) -> None:
        request, on_event = self.request, self._on_event
        assert progress.address is not None
        progress.attempts += 1
        body = self.service.body(request)
        wire = service_thread().wire
        got = progress.got = Accumulator(sent_ns=perf_counter_ns())
        stream = wire.stream(progress.address, body, model=request.model, connect_s=request.timeout.connect)
        watchdog = Watchdog(got, request.timeout)
        error: LLMError | None = None
        try:
            with service_thread().lag.watch() as progress.lag, PeriodicSave(self._save, got):
                async with watchdog, stream as chunks:
                    slot.admitted()
                    async for chunk, at_ns in chunks:
                        for event in got.feed(chunk, at_ns):
                            on_event(event)
            got.end_ns = perf_counter_ns()
            if not got.anything and got.finish_reason is None:
                error = LLMError(
                    f"{request.model} answered without an answer: neither text nor a reason why not; "
                    "check that the address is that of a model server.",
                    category="api_error",
                    model=request.model,
                )
            if got.finish_reason == "content_filter":
                error = LLMError(
                    f"{request.model} stopped: its content filter stepped in; rephrase the prompt.",
                    category="content_filter",
                    model=request.model,
                )
        except TimeoutError:
            if watchdog.silence is None:
                raise
            came = "no further token" if watchdog.begun else "no first token"
            error = self._too_slow(f"{came} came for {watchdog.silence:g} s")
        except LLMError as exc:
            error = exc
        progress.sent.append(
            telemetry.Attempt(
                got.sent_ns,
                perf_counter_ns(),
                error.category if error is not None else None,
                error.status_code if error is not None else None,
            )
        )
        if error is not None:
            if got.anything:  # text was shown: this error is final, and carries the text
                error.partial = progress.response(self.service, request, self.call_id, error)
            raise error

    def _save(self, got: Accumulator) -> None:
        self._ledger.put(ledger_rows.partial(self.call_id, got))

    # ---- the end -------------------------------------------------------------------------------------

    def _too_slow(self, what: str) -> LLMError:
        model = self.request.model
        return LLMError(
            f"{model} took too long: {what}; try again, or allow it longer with timeout=….",
            category="timeout",
            model=model,
        )

    def _as_error(self, exc: BaseException) -> LLMError:
        model = self.request.model
        if isinstance(exc, LLMError):
            return exc
        # While the interpreter exits nothing can be begun any more, no thread and no import: that is no fault.
        if isinstance(exc, asyncio.CancelledError) or not threading.main_thread().is_alive():
            return LLMError(f"The call to {model} was cancelled.", category="cancelled", model=model)
        _logger.error("a call to %s failed in our own code", model, exc_info=exc)
        # Not chained: what a library raised may carry the request, and with it the key. The log has the traceback.
        return LLMError(f"{model}: {type(exc).__name__}: {exc}", category="unknown_error", model=model)

    def _finish(self, progress: Progress, error: LLMError | None) -> ChatResponse:
        if progress.hit is not None and error is None:
            response = progress.from_cache(progress.hit, self.request, self.call_id)
        else:
            response = progress.response(self.service, self.request, self.call_id, error)
        if error is not None:
            error.attempts = progress.attempts
            error.partial = response
        self._settle(progress, response, error)
        self._ledger.put(ledger_rows.closing(self.call_id, response))
        log(
            _logger,
            logging.INFO if response.status in {"ok", "cancelled"} else logging.ERROR,
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
        ended_ns = perf_counter_ns()
        telemetry.record(
            self.request,
            response,
            self._context,
            started_ns=progress.opened_ns,
            ended_ns=ended_ns,
            attempts=progress.sent,
        )
        return response
