"""One call of the user's code: posted by the service thread, run elsewhere, completed exactly once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["CLEANUP_S", "UserCodeJob", "close_loop"]

CLEANUP_S = 1.0
"""Seconds that cancelled coroutines have to clean up."""


class UserCodeJob:
    """One call of the user's code.

    Stages: created on the service thread → begun (:meth:`run`, or :meth:`start` for a coroutine) → completed:
    ``outcome`` is done, on the service thread. :meth:`cancel` completes it at any time, and cancels its coroutine.
    ``work`` is a plain function for :meth:`run`, an async one for :meth:`start`.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._service_loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[tuple[Any, BaseException | None]] = self._service_loop.create_future()
        self._on_begin: Callable[[], None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    # ---- on the service thread -------------------------------------------------------------------

    def on_begin(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the service thread when the work begins."""
        self._on_begin = listener

    def result(self) -> Any:
        """Return what the work returned, or raise what it raised."""
        value, error = self.outcome.result()
        if error is not None:
            raise error
        return value

    # ---- where the work runs ---------------------------------------------------------------------

    def run(self) -> None:
        """Run plain work in this thread. Interrupts and exits are raised; any other exception is the outcome."""
        if self.is_cancelled():
            return
        self._begin()
        work = self._take_work()
        try:
            value = work()
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - it belongs to the tool's result
            self._complete(None, exc)
        except BaseException as exc:
            self._complete(None, exc)
            raise
        else:
            self._complete(value, None)

    def start(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[UserCodeJob], None]) -> None:
        """Start async work on ``loop``, in its thread; ``on_end`` is called there afterwards."""
        if self.is_cancelled():
            on_end(self)
            return
        self._begin()
        coroutine: Coroutine[Any, Any, Any] = self._take_work()()
        self._task = loop.create_task(coroutine)
        self._task.add_done_callback(self._complete_from_task)
        self._task.add_done_callback(lambda _: on_end(self))
        if self.is_cancelled():  # by another thread, just now
            self._task.cancel()

    def run_in_worker(self) -> None:
        """Run plain work in a worker thread; no exception escapes, not even an exit."""
        with suppress(BaseException):
            self.run()

    def run_on_new_loop(self) -> None:
        """Run async work in a worker thread, on a loop of its own."""
        loop = asyncio.new_event_loop()
        try:
            self.start(loop, lambda _: None)
            if self._task is not None:
                loop.run_until_complete(asyncio.wait({self._task}))
        except BaseException as exc:  # noqa: BLE001 - an exit, which ends only this thread
            self._complete(None, exc)
        finally:
            close_loop(loop)

    # ---- from any thread -------------------------------------------------------------------------

    def cancel(self) -> None:
        """Complete it as cancelled, and cancel its coroutine."""
        self._cancelled = True
        self._complete(None, asyncio.CancelledError())
        if self._task is not None:
            with suppress(RuntimeError):  # its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def is_cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._cancelled

    def _take_work(self) -> Callable[[], Any]:
        """Return the work and forget it, so that the objects of the user that it holds end here."""
        work, self._work = self._work, None
        assert work is not None, "a job runs once"
        return work

    def _begin(self) -> None:
        if self._on_begin is not None:
            self._call_service(self._notify_begin)

    def _notify_begin(self) -> None:
        if self._on_begin is not None and not self.is_cancelled():
            self._on_begin()

    def _complete_from_task(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._complete(None if error is not None else task.result(), error)

    def _complete(self, value: Any, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Exception):
            error = asyncio.CancelledError()  # an interrupt or exit, raised on the service thread, would end its loop
        self._call_service(self._set_outcome, value, error)

    def _set_outcome(self, value: Any, error: BaseException | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result((value, error))

    def _call_service(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the service thread has ended, so no call waits
            self._service_loop.call_soon_threadsafe(function, *arguments)


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that remain on a loop of ours, give them time to clean up, and close it."""
    loop.call_soon(loop.stop)
    loop.run_forever()  # uses up a callback, left by an interrupt, that would stop the next run
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
