"""Keeps daemon threads silent while the process exits: a traceback of their cancelled calls says nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ipyllm.errors import LLMError
from ipyllm.fork_safety import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["begin_exit", "is_exit_error", "is_exiting", "silence_daemon_threads"]

_REFUSALS = ("after interpreter shutdown", "register atexit after shutdown")  # of CPython
_exiting = renewed_in_child(threading.Event())
_lock = renewed_in_child(threading.Lock())
_installed = False


def begin_exit() -> None:
    """Note that the process exits."""
    _exiting.set()


def is_exit_error(exc: BaseException) -> bool:
    """Return whether an exception was raised because the process exits, and note that it does.

    No thread can be started then, and no module imported that registers a handler for the exit.
    """
    if isinstance(exc, RuntimeError) and str(exc).endswith(_REFUSALS):
        begin_exit()
    return is_exiting()


def silence_daemon_threads() -> None:
    """Let ``threading.excepthook`` ignore cancelled calls of daemon threads from the beginning of the exit on."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        print_traceback = threading.excepthook

    def excepthook(args: threading.ExceptHookArgs) -> None:
        is_daemon = args.thread is None or args.thread.daemon
        if not (is_daemon and is_exiting() and any(map(_is_cancelled, _chain(args.exc_value)))):
            print_traceback(args)

    threading.excepthook = excepthook


def is_exiting() -> bool:
    """Return whether the process exits."""
    return _exiting.is_set() or not threading.main_thread().is_alive()


def _is_cancelled(exc: BaseException) -> bool:
    return isinstance(exc, LLMError) and exc.category == "cancelled"


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from or while handling."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__
