"""A call in flight, as the thread that made it sees it: start, wait, cancel, outcome.

The work is done on the service thread, by one :class:`~ipyllm.pipeline.exchange.Exchange` with the server. Whatever
happens, a call ends in exactly one :class:`~ipyllm.events.Finished` event.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.events import Finished
from ipyllm.ledger import current_ledger
from ipyllm.observability import telemetry
from ipyllm.pipeline.candidates import candidates, exhausted
from ipyllm.pipeline.exchange import Exchange
from ipyllm.response import ChatResponse
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from opentelemetry.context import Context

    from ipyllm.events import Event
    from ipyllm.pipeline.exchange import RowSink
    from ipyllm.request import ChatRequest
    from ipyllm.services.base import BaseLLMService
    from ipyllm.tools import CallerExecutor

__all__ = ["Call"]

_logger = logging.getLogger("ipyllm.call")
_CANCEL_GRACE_S = 5.0


class Call:
    """One call in flight, as any thread sees it.

    Stages: made → started (:meth:`start`) → streaming (``on_event`` is called, on the service thread) →
    done (``done`` is set, ``response`` is there, and ``error`` if it did not end well).

    Parameters
    ----------
    service : BaseLLMService
        Which server, and its quirks.
    request : ChatRequest
        What to ask.
    on_event : callable, optional
        Takes each event as it arrives, on the service thread: it must return in microseconds.
    ledger : RowSink, optional
        Where its rows go, if not to the ledger of this process.
    """

    def __init__(
        self,
        service: BaseLLMService,
        request: ChatRequest,
        on_event: Callable[[Event], None] | None = None,
        ledger: RowSink | None = None,
    ) -> None:
        self.service = service
        self.request = request
        self.done = InterruptibleEvent()
        self.response: ChatResponse | None = None
        self.error: LLMError | None = None
        self._on_event = on_event or _ignore
        # Making the request has looked which ledger the settings name.
        self._ledger = ledger if ledger is not None else current_ledger(reload_settings=False)
        self._task: asyncio.Task[None] | None = None
        self._future: Future[None] | None = None
        self._context: Context | None = None
        self._deadline: float | None = None
        self._caller_executor: CallerExecutor | None = None
        self._cancelled = False

    # ---- from any thread -------------------------------------------------------------------------

    def start(self, *, waits: bool = False) -> Call:
        """Send it on its way; ``waits`` says that this thread is about to :meth:`wait`."""
        thread = service_thread()
        if thread.is_current:
            raise RuntimeError("A blocking call from the service thread would wait for itself; use `await achat`.")
        self._context = telemetry.capture()
        if self.request.tools:
            from ipyllm.tools import CallerExecutor

            self._caller_executor = CallerExecutor(waits=waits)
        self._future = thread.submit(self._run())
        return self

    def cancel(self) -> None:
        """Stop it: the connection is closed, what has arrived is kept, the row says ``cancelled``."""
        if self.done.is_set():
            return  # and no thread is started for that, which at exit would never begin
        thread = service_thread()
        with suppress(RuntimeError):  # the loop may be closed already, at exit
            thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> ChatResponse:
        """Wait for the end and return the response.

        Raises
        ------
        LLMError
            When the call did not end well.
        KeyboardInterrupt
            When the user interrupts; the call is cancelled first.
        """
        try:
            if self._caller_executor is None:
                self.done.wait()
            else:
                self._caller_executor.wait(self.done)
        except BaseException:
            self.cancel()
            self.done.wait(_CANCEL_GRACE_S)
            raise
        return self.outcome()

    def wait_for(self, signal: InterruptibleEvent, timeout: float | None = None) -> bool:
        """Wait for ``signal`` in the thread that made the call, and run its tools meanwhile."""
        return signal.wait(timeout) if self._caller_executor is None else self._caller_executor.wait(signal, timeout)

    def before_tools(self, show: Callable[[], None]) -> None:
        """Have ``show`` called in the thread that waits, before a tool takes its time there."""
        if self._caller_executor is not None:
            self._caller_executor.before_tool = show

    async def wait_async(self) -> ChatResponse:
        """Like :meth:`wait`, for a coroutine on any loop."""
        assert self._future is not None, "start() comes first"
        try:
            await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.outcome()

    def outcome(self) -> ChatResponse:
        """Return the response of a call that is done, or raise its error."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response

    # ---- on the service thread -------------------------------------------------------------------

    async def run_here(self) -> ChatResponse:
        """Make the call in the running task, for those who are on the service thread already and read no events.

        Whatever its end, also when the task is cancelled, it is the status of what is returned, and nothing is raised.
        Tools have no side of the user's to run on: a request that has any goes by :meth:`start`.
        """
        await self._run()
        assert self.response is not None
        return self.response

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        if self._cancelled and self._task is not None:
            self._task.cancel()  # cancelled before it began: the first await below ends it
        total = self.request.timeout.total
        self._deadline = None if total is None else asyncio.get_running_loop().time() + total
        try:
            if self.request.tools or self.request.schema is not None:
                from ipyllm.pipeline.tool_loop import ToolLoop

                self.response = await ToolLoop(self.request, self._ask, self._caller_executor, self._deadline).run()
            else:
                self.response = await self._ask(self.request)
        except (asyncio.CancelledError, Exception) as exc:  # noqa: BLE001 - who waits must be told, whatever it is
            self.error = self._as_error(exc)
            self.response = self.error.partial or ChatResponse(
                status="cancelled" if self.error.category == "cancelled" else "error",
                model=self.request.model,
                error_category=self.error.category,
                error_message=str(self.error),
            )
        finally:
            if self._caller_executor is not None:
                self._caller_executor.close()
            try:
                if self.response is not None:
                    self._on_event(Finished(self.response))
            finally:
                self.done.set()

    def _as_error(self, exc: BaseException) -> LLMError:
        if isinstance(exc, LLMError):
            return exc
        model = self.request.model
        if isinstance(exc, asyncio.CancelledError):
            return LLMError(f"The call to {model} was cancelled.", category="cancelled", model=model)
        _logger.error("a call to %s failed in our own code", model, exc_info=exc)
        return LLMError(f"{model}: {type(exc).__name__}: {exc}", category="unknown_error", model=model)

    async def _ask(self, request: ChatRequest) -> ChatResponse:
        """Ask the service, or whom a route chooses, one after the other."""
        errors: list[LLMError] = []
        for choice in candidates(self.service, request):
            exchange = Exchange(
                choice.service,
                choice.request,
                self._on_event,
                self._ledger,
                self._deadline,
                self._context,
                wait_for_slot=choice.wait_for_slot,
            )
            try:
                with choice:
                    return await exchange.run()
            except LLMError as exc:
                errors.append(exc)
        raise exhausted(errors, request.model)


def _ignore(_event: Event) -> None:
    """Take no notice: the default consumer."""
