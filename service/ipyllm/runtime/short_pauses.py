"""Keeps the interpreter from stopping the service thread for long while calls are in flight.

A cell that computes in Python keeps the lock of the interpreter for 5 ms whenever the service thread asks for it, which
is at each system call. And a full pass of the garbage collector takes 0.1 s, as ``openai`` alone has 130,000 objects.
The hundreds of objects of each call in flight would be passed over again and again, to find no garbage among them.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ipyllm.fork_safety import in_forked_child, renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ShortPauses", "without_collections"]

_SWITCH_S: Final = 0.0005
_FEWER_PASSES: Final = 10


class ShortPauses:
    """Context manager, entered once for each call, that shortens pauses while any is in its block. For one thread.

    It lowers ``sys.setswitchinterval``, and raises the first of ``gc.set_threshold``: all passes of the garbage
    collector come later. A shorter interval is left alone, and so is what other code sets meanwhile.
    """

    def __init__(self) -> None:
        self._n_calls = 0
        self._usual_switch_s: float | None = None
        self._usual_thresholds: tuple[int, int, int] | None = None

    def __enter__(self) -> None:
        self._n_calls += 1
        if self._n_calls > 1:
            return
        switch_s = sys.getswitchinterval()
        if switch_s > _SWITCH_S:
            self._usual_switch_s = switch_s
            sys.setswitchinterval(_SWITCH_S)
        self._usual_thresholds = gc.get_threshold()
        gc.set_threshold(*_raised(self._usual_thresholds))

    def __exit__(self, *exc_info: object) -> None:
        self._n_calls -= 1
        if not self._n_calls:
            self.restore()

    def restore(self) -> None:
        """Set the usual values again, in a forked child too."""
        if self._usual_switch_s is not None and math.isclose(sys.getswitchinterval(), _SWITCH_S):
            sys.setswitchinterval(self._usual_switch_s)
        if self._usual_thresholds is not None and gc.get_threshold() == _raised(self._usual_thresholds):
            gc.set_threshold(*self._usual_thresholds)
        self._usual_switch_s = self._usual_thresholds = None


_lock = renewed_in_child(threading.Lock())
_n_blocks = 0


@contextmanager
def without_collections() -> Iterator[None]:
    """Pause the garbage collector in a block that makes many objects that stay, which it would look at again and again.

    A collector that the user has disabled stays so.
    """
    global _n_blocks
    with _lock:
        is_paused = _n_blocks > 0 or gc.isenabled()
        if is_paused:
            _n_blocks += 1
            gc.disable()
    try:
        yield
    finally:
        if is_paused:
            _resume()


def _resume() -> None:
    global _n_blocks
    with _lock:
        _n_blocks = max(0, _n_blocks - 1)
        if not _n_blocks:
            gc.enable()


@in_forked_child
def _resume_in_child() -> None:
    """Resume what other threads of the parent have paused."""
    global _n_blocks
    if _n_blocks:
        _n_blocks = 0
        gc.enable()


def _raised(thresholds: tuple[int, int, int]) -> tuple[int, int, int]:
    young, middle, old = thresholds
    return young * _FEWER_PASSES, middle, old
