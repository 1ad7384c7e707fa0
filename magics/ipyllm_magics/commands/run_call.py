"""Ask a model from a cell: start the call, draw at the drawing's own pace, stop cleanly when interrupted.

The main thread only waits and draws; timestamps are taken on the service thread and owe nothing to it.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from ipyllm.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm_magics.commands.interrupts import no_more_interrupts, undisturbed
from ipyllm_magics.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipyllm.events import Event
    from ipyllm.pipeline.call import Call
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.display.renderer import Drawing

__all__ = ["ask"]

_SAY_WAITING_AFTER_S = 0.2
_SAY_WAITING_EVERY_S = 1.0
_STOP_S = 5.0


def ask(service: BaseLLMService, request: ChatRequest, drawing: Drawing, keep: Callable[[ChatResponse], None]) -> Call:
    """Return the call when it is done, drawn to its end and kept.

    Parameters
    ----------
    service, request
        Whom to ask, and what.
    drawing : Drawing
        Where the answer grows.
    keep : callable
        Takes the response, whatever its status, before anything is raised.

    Raises
    ------
    Interrupted
        After an interrupt: the call was cancelled, what had arrived is kept and drawn.
    """
    events: SimpleQueue[Event] = SimpleQueue()
    begun = InterruptibleEvent()

    def on_event(event: Event) -> None:
        events.put(event)
        if not begun.is_set() and isinstance(event, (TextDelta, Finished)):
            begun.set()

    call = service.call(request, on_event, waits=True)
    interrupted = False
    try:
        _follow(call, events, begun, drawing)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Also when drawing failed: the request must not go on, and what came must not be lost.
        with no_more_interrupts():
            if not call.done.is_set():
                call.cancel()
                call.done.wait(_STOP_S)
            if call.response is not None:
                keep(call.response)
                if interrupted:
                    _take(events, drawing)
                    drawing.finish(call.response)
    if interrupted:
        raise Interrupted(f"stopped {request.model}; what had arrived is kept.")
    assert call.response is not None
    try:
        with undisturbed():
            drawing.finish(call.response)
    except KeyboardInterrupt:
        raise Interrupted(f"the answer of {request.model} was there already; it is shown and kept.") from None
    return call


def _follow(call: Call, events: SimpleQueue[Event], begun: InterruptibleEvent, drawing: Drawing) -> None:
    def show() -> None:
        _take(events, drawing)
        with undisturbed():
            drawing.draw()

    call.before_tools(show)
    since, wait_s = monotonic(), _SAY_WAITING_AFTER_S
    while not call.wait_for(begun, wait_s):
        _take(events, drawing)
        with undisturbed():
            drawing.waiting(monotonic() - since)
        wait_s = _SAY_WAITING_EVERY_S
    while True:
        if call.done.is_set():
            _take(events, drawing)
            return
        show()
        call.wait_for(call.done, drawing.pause())


def _take(events: SimpleQueue[Event], drawing: Drawing) -> None:
    """Hand over everything that has come."""
    while True:
        try:
            event = events.get_nowait()
        except Empty:
            return
        if isinstance(event, TextDelta):
            drawing.text(event.text)
        elif isinstance(event, ReasoningDelta):
            drawing.reasoning(event.text)
        elif isinstance(event, ToolCallDelta):
            if event.name is not None:
                drawing.tool(event.name)
            drawing.arguments(event.arguments)
