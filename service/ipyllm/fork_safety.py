"""Closes files around ``os.fork`` and at interpreter exit, and renews locks in forked children.

SQLite must not be carried through a fork: it keeps its locks in a table of the process, and a child that inherits the
table believes that it holds the parent's locks. So registered owners of files close them before the fork, and both
processes open them again when needed. In the child, callbacks then renew locks that another thread may have held.

Importing this module registers an exit handler that closes the files. ``atexit`` runs in reverse order, so handlers
that other modules register later run first, and may still write.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "EXIT_S",
    "FileOwner",
    "close_at_child_exit",
    "in_forked_child",
    "may_be_ended",
    "never_finalize",
    "register",
]

EXIT_S: Final = 10.0
"""Seconds that the interpreter's exit waits for each owner to write what it still holds."""


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


_Callback = TypeVar("_Callback", bound="Callable[[], None]")

_owners: weakref.WeakSet[FileOwner] = weakref.WeakSet()
_owners_in_fork: list[FileOwner] = []
_child_callbacks: list[Callable[[], None]] = []
_never_finalized: list[Any] = []
_fork_lock = threading.Lock()
_is_forked = False


def register(owner: FileOwner) -> None:
    """Close ``owner`` before each fork and at interpreter exit, for as long as it is referenced elsewhere."""
    _owners.add(owner)


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


def _run_all(callbacks: Iterable[Callable[[], None]]) -> None:
    """Run ``callbacks`` in order, the later ones too when one raises."""
    with ExitStack() as stack:
        for callback in reversed(list(callbacks)):
            stack.callback(callback)


def _before_fork() -> None:
    _fork_lock.acquire()
    _owners_in_fork[:] = list(_owners)
    _run_all(owner.before_fork for owner in _owners_in_fork)


def _after_fork_in_parent() -> None:
    _run_all(owner.after_fork_in_parent for owner in _owners_in_fork)
    _owners_in_fork.clear()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    global _fork_lock, _is_forked
    _is_forked = True
    _fork_lock = threading.Lock()
    owners = list(_owners_in_fork)
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
