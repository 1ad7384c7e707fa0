"""Ids of this kernel and of its calls."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime
from typing import Final

from ipyllm.fork_safety import in_forked_child, renewed_in_child

__all__ = ["kernel_id", "kernel_ids", "made_at", "new_id", "set_kernel_id"]

_lock = renewed_in_child(threading.RLock())
_given_id: str | None = None
_generated: str | None = None
# Separate from the user's, whose `random.seed` could give two kernels the same ids. Not `os.urandom`: it releases the
# GIL at each call, in the middle of a burst.
_random = random.Random()  # noqa: S311 - an id, no secret
_last_ulid = 0
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's, of five bits
_PAIRS: Final = tuple(one + other for one in _DIGITS for other in _DIGITS)
_SHIFTS: Final = range(120, -1, -10)  # of the 13 pairs of an id


def new_id() -> str:
    """Return a new ULID, which sorts after all others of this process."""
    global _last_ulid
    with _lock:
        _last_ulid = max(time.time_ns() // 1_000_000 << 80 | _random.getrandbits(80), _last_ulid + 1)
        number = _last_ulid
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def made_at(ulid: str) -> datetime | None:
    """Return when an id of :func:`new_id` was made; None for any other text.

    Examples
    --------
    >>> made_at("01ARZ3NDEKTSV4RRFFQ69G5FAV").isoformat(timespec="seconds")
    '2016-07-30T23:54:10+00:00'
    """
    if len(ulid) != 2 * len(_SHIFTS) or ulid[0] > "7" or not set(ulid) <= set(_DIGITS):
        return None
    milliseconds = 0
    for digit in ulid[:10]:
        milliseconds = milliseconds << 5 | _DIGITS.index(digit)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):  # beyond the year 9999
        return None


def kernel_id() -> str:
    """Return the id of this kernel: the one set by :func:`set_kernel_id`, else a ULID made once per process."""
    global _generated
    with _lock:
        if _given_id is not None:
            return _given_id
        if _generated is None:
            _generated = new_id()
        return _generated


def kernel_ids() -> tuple[str, ...]:
    """Return all ids of this process's calls: those made before ``%load_ext`` have the generated id."""
    return tuple(dict.fromkeys((kernel_id(), *([_generated] if _generated is not None else []))))


def set_kernel_id(kernel: str) -> None:
    """Set the id of this kernel, also for processes forked from it: their calls count as its own."""
    global _given_id
    with _lock:
        _given_id = kernel


@in_forked_child
def _reset_after_fork() -> None:
    global _generated
    _generated = None
    _random.seed()  # or the child would repeat the ids of its parent
