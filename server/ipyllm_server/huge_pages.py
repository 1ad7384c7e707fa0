"""Puts the memory of this process into huge pages, where Linux can: a request then finds its objects sooner.

The objects of a Python server lie all over its memory. A request touches some thousands of pages, whose addresses the
processor has to look up anew if it did something else meanwhile: that is a tenth of the time that a request takes here.
Memory that is not used yet, such as most of the stacks of threads, stays as it is.
"""

from __future__ import annotations

import ctypes
import re
import sys
from typing import Final, NamedTuple

__all__ = ["use_huge_pages"]

_HUGE: Final = 2 << 20
_MADV_COLLAPSE: Final = 25  # of madvise(2), from Linux 6.1 on
_USED: Final = 0.75
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?\n")
_RESIDENT: Final = re.compile(r"Rss: +(\d+) kB\n")


class _Mapping(NamedTuple):
    start: int
    end: int
    resident: int


def use_huge_pages() -> int:
    """Move what is used of this process's own memory to huge pages; return the bytes that were moved.

    It takes about 0.1 s for 100 MB. Where the system has no such pages, or none is free, nothing changes.
    """
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return 0
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    moved = 0
    for mapping in _mappings():
        start, end = -(-mapping.start // _HUGE) * _HUGE, mapping.end // _HUGE * _HUGE
        if start < end and mapping.resident >= _USED * (mapping.end - mapping.start):
            moved += (end - start) * (madvise(start, end - start, _MADV_COLLAPSE) == 0)
    return moved


def _mappings() -> list[_Mapping]:
    """Return the private memory that belongs to no file."""
    try:
        with open("/proc/self/smaps", encoding="utf-8") as file:  # noqa: PTH123 - no file of a folder
            lines = file.readlines()
    except OSError:
        return []
    found: list[_Mapping] = []
    head = None
    for line in lines:
        if line[:1] in "0123456789abcdef":
            head = _MAPPING.fullmatch(line)
        elif head is not None and (resident := _RESIDENT.fullmatch(line)) is not None:
            found.append(_Mapping(int(head[1], 16), int(head[2], 16), 1024 * int(resident[1])))
            head = None
    return found
