"""Ids of this kernel and of its calls."""

from __future__ import annotations

import random
import threading
import time

from ipyllm.fork_safety import in_forked_child

__all__ = ["kernel_id", "kernel_ids", "new_id", "set_kernel_id"]

_lock = threading.RLock()
_given: str | None = None
_made: str | None = None
# Separate from the user's, whose `random.seed` could give two kernels the same ids. Not `os.urandom`: it releases the
# GIL at each call, in the middle of a burst.
_random = random.Random()  # noqa: S311 - an id, no secret
_last = 0


def new_id() -> str:
    """Return a new ULID, which sorts after all others of this process."""
    global _last
    from ulid import ULID

    with _lock:
        _last = max(time.time_ns() // 1_000_000 << 80 | _random.getrandbits(80), _last + 1)
        return str(ULID.from_bytes(_last.to_bytes(16, "big")))


def kernel_id() -> str:
    """Return the id of this kernel: the one that was set, else a ULID made once per process."""
    global _made
    with _lock:
        if _given is not None:
            return _given
        if _made is None:
            _made = new_id()
        return _made


def kernel_ids() -> tuple[str, ...]:
    """Return every id that calls of this process have: those made before ``%load_ext`` have the generated one."""
    return tuple(dict.fromkeys((kernel_id(), *([_made] if _made is not None else []))))


def set_kernel_id(kernel: str) -> None:
    """Set the id of this kernel, also for processes forked from it: their calls count as its own."""
    global _given
    with _lock:
        _given = kernel


@in_forked_child
def _become_another_process() -> None:
    global _lock, _made
    _lock = threading.RLock()  # another thread may have held it
    _made = None
    _random.seed()  # or the child would repeat the ids of its parent
