"""A call in flight: start, wait, cancel, outcome.

The service thread does the work, in one :class:`~ipyllm.pipeline.exchange.Exchange` or several. Every call ends in
exactly one :class:`~ipyllm.events.Finished` event.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.fork_safety import may_be_ended
from ipyllm.ledger import Ledger, ledger_for_calls
from ipyllm.observability import telemetry
from ipyllm.observability.logs import log_failure
from ipyllm.pipeline.budget import Budget, Reservation, account_of_experiment, kernel_budget
from ipyllm.pipeline.call_scope import current_scope
from ipyllm.pipeline.candidates import all_candidates_failed, candidates
from ipyllm.pipeline.exchange import Exchange
from ipyllm.pipeline.exchange_errors import as_llm_error, failed_response
from ipyllm.runtime.interruptible import CANCEL_GRACE_S, InterruptibleEvent
from ipyllm.runtime.service_thread import ServiceThread, service_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from ipyllm.events import Event
    from ipyllm.pipeline.budget import Account
    from ipyllm.pipeline.exchange_row import RowSink
    from ipyllm.pipeline.waiting import Waiting
    from ipyllm.provider import Provider
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.tools import CallerExecutor

__all__ = ["Call"]

_DURABLE_S = 2.0
"""Longest wait for a row to be written, in seconds; a ledger that cannot be written fails at once."""
_logger = logging.getLogger("ipyllm.call")


class Call:
    """One call in flight; usable from any thread.

    Stages: created → started (:meth:`start`) → streaming (``on_event`` is called on the service thread, and must return
    in microseconds) → done (``done`` is set, with ``response``, and ``error`` if the call failed). Without ``on_event``
    nobody sees an answer before it is complete, so one that breaks off may be asked for again. Rows go to ``ledger``,
    by default that of this process. The cost is also reserved and settled in ``account``, by default that of its
    experiment. ``on_begun`` is called like ``on_event``, when a server has begun to answer: maybe before the first
    token, and again if another server has to be asked. A call that is made while a scorer runs belongs to the
    experiment of the answer that is scored.
    """

    def __init__(
        self,
        service: Provider,
        request: ChatRequest,
        on_event: Callable[[Event], None] | None = None,
        ledger: RowSink | None = None,
        account: Account | None = None,
        on_begun: Callable[[], None] | None = None,
    ) -> None:
        self.service = service
        self._scope = current_scope()
        request = request if self._scope is None else self._scope.adopt(request)
        if request.retry_after_text is None and on_event is None:
            request = replace(request, retry_after_text=True)
        self.request = request
        self.done = InterruptibleEvent()
        self.response: ChatResponse | None = None
        self.error: LLMError | None = None
        self._on_event = on_event or _ignore
        self._on_begun = on_begun
        # The request has just read the settings.
        self._ledger = ledger if ledger is not None else ledger_for_calls(reload_settings=False)
        self._account = account or account_of_experiment(request.provenance.experiment)
        self._budget: Budget | None = None
        if request.max_cost_usd is not None:
            allow_unknown_price = kernel_budget().allow_unknown_price
            self._budget = Budget(request.max_cost_usd, allow_unknown_price=allow_unknown_price)
        self._task: asyncio.Task[None] | None = None
        self._thread: ServiceThread | None = None
        self._context: Context | None = None
        self._deadline: float | None = None
        self._asked_ns: int | None = None  # until the first exchange has begun
        self._exchange: Exchange | None = None
        self._caller_executor: CallerExecutor | None = None
        self._cancelled = False

    # ---- from any thread -------------------------------------------------------------------------

    def start(self, *, waits: bool = False) -> Call:
        """Start the call; ``waits`` promises that this thread will :meth:`wait`, and so can run its tools."""
        thread = service_thread()
        if waits:
            _refuse_to_block(thread)
        self._asked_ns = perf_counter_ns()
        self._context = telemetry.capture()
        if self._runs_user_code:
            self._caller_executor = _caller_executor(waits=waits)
        self._thread, self.done.set_by = thread, thread.liveness
        thread.start(self._run())
        return self

    def cancel(self) -> None:
        """Cancel the call: the connection is closed, the text so far is kept, the row says ``cancelled``."""
        thread = self._thread
        if self.done.is_set() or thread is None or not thread.alive:  # not alive: the parent's, in a forked child
            return
        with suppress(RuntimeError):  # the loop may be closed already, at exit
            thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> ChatResponse:
        """Wait until the call has ended; return the response, or raise its error. An interrupt cancels the call."""
        if self._thread is not None:
            _refuse_to_block(self._thread)
        try:
            if self._caller_executor is None:
                self.done.wait()
            else:
                self._caller_executor.wait(self.done)
        except BaseException:
            self.cancel()
            with suppress(LLMError):  # where waiting is of no use, as the first error says
                self.done.wait(CANCEL_GRACE_S)
            raise
        return self.outcome()

    def check_process(self) -> None:
        """Raise ``bad_request`` in a forked child, if the call was started before the fork."""
        if self._thread is not None:
            self._thread.liveness.check_process()

    def wait_for(self, event: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for an event in the thread that made the call, and run the call's tools meanwhile."""
        return event.wait(timeout) if self._caller_executor is None else self._caller_executor.wait(event, timeout)

    def waiting(self) -> Waiting | None:
        """Return what the call waits for; None once text or a function call arrives, and between exchanges."""
        exchange = self._exchange
        return None if exchange is None else exchange.waiting()

    def before_tools(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the waiting thread before each tool runs there."""
        if self._caller_executor is not None:
            self._caller_executor.before_tool = callback

    async def wait_async(self) -> ChatResponse:
        """Like :meth:`wait`, for a coroutine on any loop."""
        try:
            await self.done.wait_async()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.outcome()

    def outcome(self) -> ChatResponse:
        """Return the response of a finished call, or raise its error."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response

    # ---- on the service thread -------------------------------------------------------------------

    def stop_retrying(self) -> None:
        """Let the attempt that runs be the last of its exchange: the server is given up."""
        if self._exchange is not None:
            self._exchange.stop_retrying()

    async def run_on_service_thread(self) -> ChatResponse:
        """Make the call in the running task of the service thread, and return the response, of any status.

        It raises nothing, even when the task is cancelled. Tools run in worker threads, async ones each on a loop.
        """
        await self._run()
        assert self.response is not None
        return self.response

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        if self._scope is not None:
            self._scope.add(self)
        if self._cancelled and self._task is not None:
            self._task.cancel()  # cancelled before it started: the first await below raises
        total = self.request.timeout.total
        self._deadline = None if total is None else asyncio.get_running_loop().time() + total
        try:
            if self._runs_user_code:
                self.response = await self._run_tool_loop()
            else:
                self.response = await self._ask(self.request)
        except BaseException as exc:  # noqa: BLE001 - the waiting thread must learn of every error, even of an exit
            self.error = as_llm_error(exc, self.request.model)
            self.response = failed_response(self.error, self.request.model)
        finally:
            if self._caller_executor is not None:
                self._caller_executor.close()
            try:
                await self._make_durable()
                if self.response is not None:
                    self._on_event(Finished(self.response))
            except BaseException as exc:  # noqa: BLE001 - the call has ended, whatever its reader does
                log_failure(_logger, "the reader of a call failed", exc, model=self.request.model)
            finally:
                self.done.set()

    async def _make_durable(self) -> None:
        """In a worker, which may be ended once it has returned its result, wait until the rows are written."""
        if may_be_ended() and isinstance(self._ledger, Ledger):
            # No thread can be started while the interpreter exits; and a call that has ended is not cancelled.
            with suppress(RuntimeError, asyncio.CancelledError):
                await asyncio.to_thread(self._ledger.flush, _DURABLE_S)

    @property
    def _runs_user_code(self) -> bool:
        return bool(self.request.tools) or self.request.schema is not None

    async def _run_tool_loop(self) -> ChatResponse:
        from ipyllm.pipeline.tool_loop import ToolLoop
        from ipyllm.structured import learned_mode, remember_mode

        schema, first_mode = self.request.schema, self.service.schema_mode
        if schema is not None:
            first_mode = learned_mode(self.service, schema) or first_mode
        loop = ToolLoop(
            self.request,
            self._ask,
            self._caller_executor or _caller_executor(waits=False, caller_has_loop=False),
            self._deadline,
            schema_mode=first_mode,
            record=lambda call_id, columns: self._ledger.put({"call_id": call_id, **columns}),
        )
        response = await loop.run()
        if schema is not None and loop.mode != first_mode:
            remember_mode(self.service, schema, loop.mode)
        return response

    async def _ask(self, request: ChatRequest) -> ChatResponse:
        """Ask the service, or the candidates of a route one after the other."""
        errors: list[LLMError] = []
        for candidate in candidates(self.service, request):
            exchange = Exchange(
                candidate.service,
                candidate.request,
                self._on_event,
                self._ledger,
                self._deadline,
                self._context,
                accounts=self._accounts(),
                wait_for_slot=candidate.wait_for_slot,
                on_begun=self._on_begun,
                asked_ns=self._asked_ns,
            )
            self._asked_ns = None
            self._exchange = exchange
            try:
                with candidate:
                    return await exchange.run()
            except LLMError as exc:
                errors.append(exc)
            finally:
                self._exchange = None
        raise all_candidates_failed(errors, request.model)

    def _accounts(self) -> list[Account]:
        """Return the accounts of one exchange: of this process, of all exchanges of the call, and the one given."""
        accounts: list[Account] = [Reservation(kernel_budget())]
        if self._budget is not None:
            accounts.append(Reservation(self._budget))
        if self._account is not None:
            accounts.append(self._account)
        return accounts


def _refuse_to_block(thread: ServiceThread) -> None:
    if thread.is_current:
        raise RuntimeError("A blocking call from the service thread would wait for itself; use `await achat`.")


def _caller_executor(*, waits: bool, caller_has_loop: bool = True) -> CallerExecutor:
    from ipyllm.tools import CallerExecutor

    return CallerExecutor(waits=waits, caller_has_loop=caller_has_loop)


def _ignore(_event: Event) -> None:
    """Ignore an event: the default consumer."""
