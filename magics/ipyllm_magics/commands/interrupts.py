"""Delays or ignores an interrupt while an answer is drawn or a call is stopped, and says what it stopped."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from ipyllm.response import ChatResponse

__all__ = ["delay_interrupt", "ignore_interrupts", "stopped"]


@contextmanager
def _interrupt_handler(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # interrupts reach only the main thread
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ignore_interrupts() -> AbstractContextManager[None]:
    """Ignore interrupts while a call is stopped: a second one would lose the text received so far."""
    return _interrupt_handler(signal.SIG_IGN)


@contextmanager
def delay_interrupt() -> Iterator[None]:
    """Delay an interrupt until a drawing is complete."""
    received: list[object] = []
    with _interrupt_handler(lambda *signal_and_frame: received.append(signal_and_frame)):
        yield
    if received:
        raise KeyboardInterrupt


def stopped(what: str, *responses: ChatResponse | None) -> str:
    """Say that calls were stopped, and whether any text of their answers had come.

    Examples
    --------
    >>> from ipyllm.response import ChatResponse
    >>> stopped("openai/m", ChatResponse(content="Hel"))
    'stopped openai/m; the text received so far is saved.'
    >>> stopped("openai/m", ChatResponse())
    'stopped openai/m before any text came.'
    """
    steps = [step for response in responses if response is not None for step in (response, *response.steps)]
    if any(step.content or step.reasoning for step in steps):
        return f"stopped {what}; the text received so far is saved."
    return f"stopped {what} before any text came."
