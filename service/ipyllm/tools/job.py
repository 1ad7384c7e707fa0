"""A piece of the user's code on its way: posted by the service thread, done elsewhere, settled once, from anywhere."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Job", "end_loop"]

_GRACE_S = 1.0


class Job:
    """One call of the user's code.

    Stages: made on the service thread → begun (:meth:`do`, or :meth:`start` for a coroutine) → settled: ``outcome`` is
    done, on the service thread. :meth:`drop` settles it at any time, and cancels a coroutine.

    Parameters
    ----------
    work : callable
        A plain function for :meth:`do`, an async one for :meth:`start`.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._service = asyncio.get_running_loop()
        self.outcome: asyncio.Future[tuple[Any, BaseException | None]] = self._service.create_future()
        self._on_begin: Callable[[], None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped = False

    # ---- on the service thread -------------------------------------------------------------------

    def on_begin(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called, on the service thread, when the work begins."""
        self._on_begin = listener

    def result(self) -> Any:
        """Return what the work returned, or raise what it raised."""
        value, error = self.outcome.result()
        if error is not None:
            raise error
        return value

    # ---- where the work is done ------------------------------------------------------------------

    def do(self) -> None:
        """Do plain work here and now. An interrupt or exit goes on to the caller; any other exception is the result."""
        if self.is_dropped():
            return
        self._begun()
        try:
            value = self._work()
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - it belongs to the tool's result
            self._settle(None, exc)
        except BaseException as exc:
            self._settle(None, exc)
            raise
        else:
            self._settle(value, None)

    def start(self, loop: asyncio.AbstractEventLoop, ended: Callable[[Job], None]) -> None:
        """Begin async work on ``loop``, in its thread; ``ended`` is called there when it is over."""
        if self.is_dropped():
            ended(self)
            return
        self._begun()
        coroutine: Coroutine[Any, Any, Any] = self._work()
        self._task = loop.create_task(coroutine)
        self._task.add_done_callback(self._done)
        self._task.add_done_callback(lambda _: ended(self))
        if self.is_dropped():  # by another thread, just now
            self._task.cancel()

    def do_here(self) -> None:
        """Do plain work in a worker thread, where nobody is to be interrupted."""
        with suppress(BaseException):
            self.do()

    def do_in_own_loop(self) -> None:
        """Do async work in a worker thread, on a loop for nothing else."""
        loop = asyncio.new_event_loop()
        try:
            self.start(loop, lambda _: None)
            if self._task is not None:
                loop.run_until_complete(asyncio.wait({self._task}))
        except BaseException as exc:  # noqa: BLE001 - an exit, which ends nothing but this thread
            self._settle(None, exc)
        finally:
            end_loop(loop)

    # ---- from any thread -------------------------------------------------------------------------

    def cancel(self) -> None:
        """Give it up: whoever waits for it is told that it is cancelled, and so is its coroutine."""
        self._dropped = True
        self._settle(None, asyncio.CancelledError())
        if self._task is not None:
            with suppress(RuntimeError):  # its loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def is_dropped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._dropped

    def _begun(self) -> None:
        if self._on_begin is not None:
            self._to_service(self._tell_begin)

    def _tell_begin(self) -> None:
        if self._on_begin is not None and not self.is_dropped():
            self._on_begin()

    def _done(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._settle(None if error is not None else task.result(), error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Exception):
            error = asyncio.CancelledError()  # an interrupt or exit, raised on the service thread, would end its loop
        self._to_service(self._set, value, error)

    def _set(self, value: Any, error: BaseException | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result((value, error))

    def _to_service(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the service thread has ended, and nobody waits
            self._service.call_soon_threadsafe(function, *arguments)


def end_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a loop of ours, let it clean up for a second, close the loop."""
    loop.call_soon(loop.stop)
    loop.run_forever()  # an interrupt may have left a callback behind that stops the next run: let it be this one
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_GRACE_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
