"""Notices that a wait cannot end: in a forked child, or because the thread that would end it is gone or stuck.

Every wait for the service thread looks once a second (:class:`~ipyllm.runtime.interruptible.InterruptibleEvent`,
:func:`wait_for_future`). A wait of more than some seconds also asks the loop for a sign of life.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from ipyllm.errors import LLMError

if TYPE_CHECKING:
    import threading
    from concurrent.futures import Future

__all__ = ["CHECK_S", "Liveness", "Watch", "wait_for_future"]

CHECK_S = 1.0
"""Seconds between two looks."""

_ASK_AFTER_S = 5.0  # nearly every call has ended by then, and costs nothing
STUCK_S = 60.0
"""Seconds without a sign of life after which a wait for a loop is given up."""

_T = TypeVar("_T")


class Liveness:
    """Whether a thread of this process, and the loop that it runs, can still end the waits of others.

    ``name`` is the thread's in sentences. A thread that was found stuck is given up (``is_stuck``).
    """

    def __init__(self, thread: threading.Thread, name: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.thread = thread
        self.name = name
        self.loop = loop
        self.is_stuck = False
        self._pid = os.getpid()

    @property
    def is_of_parent(self) -> bool:
        """Whether this is a forked child of the process that has the thread."""
        return self._pid != os.getpid()

    def watch(self) -> Watch:
        """Begin a wait."""
        return Watch(self)

    def check_process(self) -> None:
        """Raise ``bad_request`` in a forked child."""
        if self.is_of_parent:
            raise LLMError(
                f"This call was made by the parent process ({self._pid}) and ends there; this is a fork of it. "
                "Make a call of its own here.",
                category="bad_request",
            )

    def position(self) -> str:
        """Return what the thread executes now, for a sentence."""
        frame = sys._current_frames().get(self.thread.ident or 0)  # noqa: SLF001 - how to see another thread's frames
        if frame is None:
            return "nothing"
        return f"{frame.f_code.co_name} ({frame.f_code.co_filename}, line {frame.f_lineno})"


class Watch:
    """A wait for a thread, of one thread or several. It does not count time in which the process was stopped."""

    def __init__(self, liveness: Liveness) -> None:
        self._liveness = liveness
        self._checked_s = monotonic()
        self._silent_s = 0.0
        self._asked = False

    def trouble(self) -> LLMError | None:
        """Return why the wait cannot end, if so. Call it at least every :data:`CHECK_S` while waiting."""
        now = monotonic()
        self._silent_s += min(now - self._checked_s, CHECK_S)
        self._checked_s = now
        liveness = self._liveness
        try:
            liveness.check_process()
        except LLMError as exc:
            return exc
        if not liveness.thread.is_alive():
            return _failed(f"{liveness.name} has ended, so this call cannot end. Ask again: it will be started anew.")
        if liveness.loop is None or self._silent_s < _ASK_AFTER_S:
            return None
        if not self._asked:
            self._asked = True
            with suppress(RuntimeError):  # just closed, which the next look finds
                liveness.loop.call_soon_threadsafe(self._answer)
        elif self._silent_s > _ASK_AFTER_S + STUCK_S:
            liveness.is_stuck = True
            return _failed(
                f"{liveness.name} has not answered for {STUCK_S:.0f} s, so this call was given up: it executes "
                f"{liveness.position()}. Ask again: another one will be started."
            )
        return None

    def _answer(self) -> None:
        self._silent_s, self._asked = 0.0, False


def _failed(sentence: str) -> LLMError:
    return LLMError(sentence, category="unknown_error")


async def wait_for_future(future: Future[_T], liveness: Liveness | None) -> _T:
    """Return the result of a future that another thread completes; raise LLMError when it cannot.

    Cancelling this does not cancel the future.
    """
    wrapped = asyncio.wrap_future(future)
    watch = None if liveness is None else liveness.watch()
    while not (await asyncio.wait({wrapped}, timeout=CHECK_S))[0]:
        if watch is not None and (error := watch.trouble()) is not None and not future.done():
            raise error
    return wrapped.result()
