"""When an interrupt may strike: not while an answer is being drawn, and not while a call is being stopped already."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["no_more_interrupts", "undisturbed"]


@contextmanager
def no_more_interrupts() -> Iterator[None]:
    """Be deaf to impatience: it is being stopped already, and a second interrupt would only lose what had come."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Raise an interrupt after a drawing instead of in its midst, where it would tear what is being shown."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[object] = []
    before = signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
