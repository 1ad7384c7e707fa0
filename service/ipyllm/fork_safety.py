"""Closes files around ``os.fork`` and at interpreter exit, and renews locks in forked children: all of ipyllm's.

A child has only the thread that forked. A lock that another thread held stays locked in it for ever, so every lock of
ours is made with :func:`renewed_in_child`, and state that only other threads could end (calls in flight) is reset.

SQLite must not be carried through a fork: it keeps its locks in a table of the process, and a child that inherits the
table believes that it holds the parent's locks. So registered owners of files close them before the fork, and both
processes open them again when needed. A module that another thread is importing is imported to its end before the fork:
the child would have half of it, and wait for the rest.

Importing this module registers an exit handler that closes the files. ``atexit`` runs in reverse order, so handlers
that other modules register later run first, and may still write.
"""

from __future__ import annotations

import _frozen_importlib
import _imp
import atexit
import logging
import os
import sys
import threading
import time
import weakref
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "EXIT_S",
    "FileOwner",
    "HasCallsInFlight",
    "close_at_child_exit",
    "in_forked_child",
    "is_renewed_in_child",
    "may_be_ended",
    "never_finalize",
    "register",
    "renewed_in_child",
    "reset_in_child",
]

EXIT_S: Final = 10.0
"""Seconds that the interpreter's exit waits for each owner to write what it still holds."""

_IMPORTS_S: Final = 10.0
"""Seconds that a fork waits for the imports of other threads."""


class FileOwner(Protocol):
    """Object that keeps a file open and can close it at any time."""

    def close(self, timeout: float) -> bool:
        """Write what is pending and close the file, in ``timeout`` seconds; return whether that succeeded."""

    def give_up(self) -> None:
        """At exit, keep what could not be written in another place, and say so."""

    def before_fork(self) -> None:
        """Close the file and hold all locks."""

    def after_fork_in_parent(self) -> None:
        """Release the locks."""

    def after_fork_in_child(self) -> None:
        """Start with new locks and without the parent's pending work."""


class HasCallsInFlight(Protocol):
    """Object that counts or holds calls in flight."""

    def after_fork_in_child(self) -> None:
        """Forget the calls of the parent."""


_Primitive = TypeVar("_Primitive")
_Callback = TypeVar("_Callback", bound="Callable[[], None]")

_owners: weakref.WeakSet[FileOwner] = weakref.WeakSet()
_owners_in_fork: list[FileOwner] = []
_primitives: weakref.WeakSet[Any] = weakref.WeakSet()
_with_calls_in_flight: weakref.WeakSet[HasCallsInFlight] = weakref.WeakSet()
_child_callbacks: list[Callable[[], None]] = []
_never_finalized: list[Any] = []
_is_forked = False
_no_imports = ExitStack()
"""What keeps other threads from importing, during a fork."""


def register(owner: FileOwner) -> None:
    """Close ``owner`` before each fork and at interpreter exit, for as long as it is referenced elsewhere."""
    _owners.add(owner)


def renewed_in_child(primitive: _Primitive) -> _Primitive:
    """Return a lock, condition or event of :mod:`threading`, which is unlocked in each forked child.

    Events stay set or unset. What a lock guards must be whole between any two steps, or be reset by a callback.

    Examples
    --------
    >>> import threading
    >>> lock = renewed_in_child(threading.Lock())
    >>> with lock:
    ...     lock.locked()
    True
    """
    _primitives.add(primitive)
    return primitive


def is_renewed_in_child(primitive: object) -> bool:
    """Return whether :func:`renewed_in_child` has returned ``primitive``."""
    return primitive in _primitives


def reset_in_child(owner: HasCallsInFlight) -> None:
    """Let ``owner`` forget the parent's calls in each forked child, for as long as it is referenced elsewhere."""
    _with_calls_in_flight.add(owner)


def in_forked_child(callback: _Callback) -> _Callback:
    """Register ``callback``, to be used as a decorator, to run in each forked child after the files' owners.

    Callbacks run in the order of their registration. One that raises does not keep the others from running.
    """
    _child_callbacks.append(callback)
    return callback


def never_finalize(inherited: object) -> None:
    """In a forked child, keep ``inherited`` referenced for ever, so that the child never closes the parent's object."""
    _never_finalized.append(inherited)


def close_at_child_exit(owner: FileOwner) -> None:
    """Close ``owner`` at the end of a multiprocessing child, which runs finalizers but not ``atexit``."""
    if _is_child_of_multiprocessing():
        from multiprocessing.util import Finalize

        Finalize(None, _close_at_exit, args=(owner,), exitpriority=0)


def may_be_ended() -> bool:
    """Return whether this is a worker, forked or spawned, which its pool may end at any time without an exit."""
    return _is_forked or _is_child_of_multiprocessing()


def _is_child_of_multiprocessing() -> bool:
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


_fork_lock = renewed_in_child(threading.Lock())


def _run_all(callbacks: Iterable[Callable[[], None]]) -> None:
    """Run ``callbacks`` in order, the later ones too when one raises."""
    with ExitStack() as stack:
        for callback in reversed(list(callbacks)):
            stack.callback(callback)


def _finish_imports() -> None:
    """Wait for the modules that other threads are importing, at most :data:`_IMPORTS_S`."""
    until = time.monotonic() + _IMPORTS_S
    while _others_import() and time.monotonic() < until:
        time.sleep(0.005)


def _others_import() -> bool:
    """Return whether another thread is finding or running a module; CPython has no public name for these locks."""
    _imp.acquire_lock()
    try:
        locks = [reference() for reference in _frozen_importlib._module_locks.values()]  # type: ignore[attr-defined]  # noqa: SLF001
    finally:
        _imp.release_lock()
    return any(lock is not None and lock.owner not in {None, threading.get_ident()} for lock in locks)


def _begin_no_imports() -> None:
    """Wait for the imports of other threads, and keep new ones from beginning until the fork is done.

    Logging's lock is taken first: a thread that holds it may import a handler, and this thread's fork takes it, too.
    """
    global _no_imports
    until = time.monotonic() + _IMPORTS_S
    while True:
        with ExitStack() as held:
            held.enter_context(logging._lock)  # type: ignore[attr-defined]  # noqa: SLF001
            _imp.acquire_lock()
            held.callback(_imp.release_lock)
            if not _others_import() or time.monotonic() > until:
                _no_imports = held.pop_all()
                return
        time.sleep(0.005)


def _before_fork() -> None:
    _finish_imports()
    _fork_lock.acquire()
    _owners_in_fork[:] = list(_owners)
    _run_all(owner.before_fork for owner in _owners_in_fork)
    _begin_no_imports()


def _after_fork_in_parent() -> None:
    _no_imports.close()
    _run_all(owner.after_fork_in_parent for owner in _owners_in_fork)
    _owners_in_fork.clear()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _is_forked
    _is_forked = True
    _no_imports.pop_all()
    if _imp.lock_held():  # not if the wait for imports was interrupted; `logging` has renewed its own lock
        _imp.release_lock()
    for primitive in list(_primitives):
        primitive._at_fork_reinit()  # noqa: SLF001 - as `logging` and `concurrent.futures` renew theirs
    owners = [*_owners_in_fork, *_with_calls_in_flight]
    _owners_in_fork.clear()
    _run_all([*(owner.after_fork_in_child for owner in owners), *_child_callbacks])


def _close_at_exit(owner: FileOwner) -> None:
    if not owner.close(EXIT_S):
        owner.give_up()


def _at_exit() -> None:
    _run_all(partial(_close_at_exit, owner) for owner in list(_owners))


atexit.register(_at_exit)
# `logging`, imported above, has already registered its hooks. Hooks before a fork run in reverse order, so a thread
# that logs while it holds one of our locks can finish before logging's own locks are taken.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
