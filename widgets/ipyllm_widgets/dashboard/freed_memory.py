"""Gives memory that was freed back to the system, which the C library and Arrow keep for later."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["return_freed_memory"]


def return_freed_memory() -> None:
    """Give back what is free: glibc keeps a heap for each thread, and every dashboard computes on its own.

    With three dashboards of 100,000 calls these are 40 MB. Does nothing where the C library is another one.
    """
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        pyarrow.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return the function of glibc; None where there is none."""
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
