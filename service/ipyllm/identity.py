"""Which kernel this is: the name under which its calls stand in the ledger."""

from __future__ import annotations

import os
import threading

__all__ = ["kernel_id", "kernel_ids", "set_kernel_id"]

_lock = threading.Lock()
_given: str | None = None
_made: str | None = None


def kernel_id() -> str:
    """Return the id of this kernel: the one that was set, else a ULID made once in each process.

    Examples
    --------
    >>> kernel_id() == kernel_id()
    True
    """
    global _made
    with _lock:
        if _given is not None:
            return _given
        if _made is None:
            from ulid import ULID

            _made = str(ULID())
        return _made


def kernel_ids() -> tuple[str, ...]:
    """Return every id this process's calls stand under: a call before ``%load_ext`` has the one made here."""
    return tuple(dict.fromkeys((kernel_id(), *([_made] if _made is not None else []))))


def set_kernel_id(kernel: str) -> None:
    """Call this kernel ``kernel`` from now on, in processes forked from it too: their calls are its calls."""
    global _given
    with _lock:
        _given = kernel


def _after_fork() -> None:
    global _lock, _made
    _lock = threading.Lock()  # another thread may have held it at that moment
    _made = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
