"""Runs a call from a cell: start it, draw the answer, stop cleanly on an interrupt.

The main thread only waits and draws. Timestamps are taken on the service thread, independent of the drawing.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from ipyllm.errors import LLMError
from ipyllm.events import Finished, TextDelta
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm_magics.commands.interrupts import delay_interrupt, ignore_interrupts, stopped
from ipyllm_magics.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipyllm.events import Event
    from ipyllm.pipeline.call import Call
    from ipyllm.request import ChatRequest
    from ipyllm.response import ChatResponse
    from ipyllm.services.base import BaseLLMService
    from ipyllm_magics.display.renderer import Renderer

__all__ = ["STOP_S", "drain", "run_call"]

_FIRST_WAIT_S = 0.2
_WAIT_INTERVAL_S = 1.0
STOP_S = 5.0
"""Longest wait for a cancelled call to end."""

_Item = TypeVar("_Item")


def run_call(
    service: BaseLLMService, request: ChatRequest, renderer: Renderer, store: Callable[[ChatResponse], None]
) -> Call:
    """Run a call to its end, draw its answer and store its response, also after an interrupt or an error."""
    events: SimpleQueue[Event] = SimpleQueue()
    started = InterruptibleEvent()

    def on_event(event: Event) -> None:
        events.put(event)
        if not started.is_set() and isinstance(event, (TextDelta, Finished)):
            started.set()

    call = service.call(request, on_event, waits=True)
    started.set_by = call.done.set_by
    interrupted = False
    try:
        _draw_until_done(call, events, started, renderer)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Also when drawing failed: the request must end, and what arrived must not be lost.
        with ignore_interrupts():
            if not call.done.is_set():
                call.cancel()
                with suppress(LLMError):  # the service thread cannot end it
                    call.done.wait(STOP_S)
            if call.response is not None:
                store(call.response)
                if interrupted:
                    _feed(events, renderer)
                    renderer.finish(call.response)
    if interrupted:
        raise Interrupted(stopped(request.model, call.response))
    assert call.response is not None
    try:
        with delay_interrupt():
            renderer.finish(call.response)
    except KeyboardInterrupt:
        raise Interrupted(f"the answer of {request.model} was already complete; it is shown and saved.") from None
    return call


def _draw_until_done(call: Call, events: SimpleQueue[Event], started: InterruptibleEvent, renderer: Renderer) -> None:
    def show() -> None:
        _feed(events, renderer)
        with delay_interrupt():
            renderer.draw()

    call.before_tools(show)
    start, wait_s = monotonic(), _FIRST_WAIT_S
    while not call.wait_for(started, wait_s):
        _feed(events, renderer)
        with delay_interrupt():
            renderer.waiting(monotonic() - start, call.waiting())
        wait_s = _WAIT_INTERVAL_S
    while True:
        if call.done.is_set():
            _feed(events, renderer)
            return
        show()
        call.wait_for(call.done, renderer.pause())


def _feed(events: SimpleQueue[Event], renderer: Renderer) -> None:
    for event in drain(events):
        if not isinstance(event, Finished):  # the response is passed to ``finish``
            renderer.feed(event)


def drain(queue: SimpleQueue[_Item]) -> Iterator[_Item]:
    """Yield what is in the queue now, without waiting."""
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
