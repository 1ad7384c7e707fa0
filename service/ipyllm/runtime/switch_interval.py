"""Shortens the time that a busy thread keeps the interpreter's lock, while calls are in flight.

A cell that computes in Python keeps the lock for 5 ms whenever the service thread asks for it, which is at each system
call. With 100 calls in flight their requests would be sent, and their tokens shown, seconds late.
"""

from __future__ import annotations

import math
import sys
from typing import Final

__all__ = ["ShortSwitchInterval"]

_SHORT_S: Final = 0.0005


class ShortSwitchInterval:
    """Context manager, entered once for each call, that shortens ``sys.setswitchinterval`` while any is in its block.

    An interval that is shorter already is left alone, and so is one that other code sets meanwhile. For one thread.
    """

    def __init__(self) -> None:
        self._n_calls = 0
        self._usual_s: float | None = None

    def __enter__(self) -> None:
        self._n_calls += 1
        usual_s = sys.getswitchinterval()
        if self._n_calls == 1 and usual_s > _SHORT_S:
            self._usual_s = usual_s
            sys.setswitchinterval(_SHORT_S)

    def __exit__(self, *exc_info: object) -> None:
        self._n_calls -= 1
        if not self._n_calls:
            self.restore()

    def restore(self) -> None:
        """Set the usual interval again, in a forked child too."""
        if self._usual_s is not None and math.isclose(sys.getswitchinterval(), _SHORT_S):
            sys.setswitchinterval(self._usual_s)
        self._usual_s = None
