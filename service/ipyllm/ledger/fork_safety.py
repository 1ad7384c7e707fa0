"""What becomes of ledgers when their process forks or ends.

SQLite must not be carried through a fork: it keeps its locks in a table of the process, and a child that
inherits the table believes that it holds the parent's locks. So ledgers close their files before, and both
sides open anew.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipyllm.ledger.writer import Ledger

__all__ = ["EXIT_S", "close_at_child_exit", "watch"]

EXIT_S: Final = 10.0
"""How long the interpreter's exit waits for the rows of a ledger to be written."""

_STORE = "ipyllm.ledger.store"
_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
_forking: list[Ledger] = []
_one_fork = threading.Lock()


def watch(ledger: Ledger) -> None:
    """Take care of ``ledger`` for as long as someone holds it."""
    _ledgers.add(ledger)


def close_at_child_exit(ledger: Ledger) -> None:
    """Close ``ledger`` at the end of a child of multiprocessing, which knows finalizers but no ``atexit``."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, ledger.close, args=(EXIT_S,), exitpriority=0)


def _before_fork() -> None:
    if _STORE in sys.modules:  # another thread may be importing it just now: a child would have half of it for ever
        importlib.import_module(_STORE)
    _one_fork.acquire()
    _forking[:] = list(_ledgers)
    for ledger in _forking:
        ledger.before_fork()


def _after_fork_in_parent() -> None:
    for ledger in _forking:
        ledger.after_fork_in_parent()
    _forking.clear()
    _one_fork.release()


def _after_fork_in_child() -> None:
    global _one_fork
    for ledger in _forking:
        ledger.after_fork_in_child()
    _forking.clear()
    _one_fork = threading.Lock()


def _at_exit() -> None:
    for ledger in list(_ledgers):
        if not ledger.close(EXIT_S):
            logging.getLogger("ipyllm.ledger").warning("%r was not written in full before the exit.", ledger)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
