"""Memory that is in use goes into huge pages where the system has them; memory that is not stays unused."""

import mmap
import re
import sys
from pathlib import Path

import pytest

from ipyllm_server.huge_pages import use_huge_pages

_MB = 1 << 20
_MADV_COLLAPSE = 25

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def in_huge_pages(memory):
    """Return the bytes that are in huge pages, of the mapping in which a buffer begins."""
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    is_of_it = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            is_of_it = int(head[1], 16) <= address < int(head[2], 16)
        elif is_of_it and line.startswith("AnonHugePages:"):
            return 1024 * int(line.split()[1])
    raise AssertionError


def memory(size, advice):
    """Return a mapping of its own: Linux joins neighbours, but for those with different advice."""
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.madvise(advice)
    made[0] = 1
    return made


def has_huge_pages():
    probe = memory(16 * _MB, mmap.MADV_DONTFORK)
    probe[:] = bytes(16 * _MB)
    try:
        probe.madvise(_MADV_COLLAPSE)
    except OSError:
        return False
    return True


def test_memory_in_use_is_moved_as_it_is_and_that_of_stacks_is_not():
    used, unused = memory(16 * _MB, mmap.MADV_DONTFORK), memory(64 * _MB, mmap.MADV_DONTDUMP)
    content = bytes(range(256)) * (16 * _MB // 256)
    used[:] = content
    before = in_huge_pages(unused)
    moved = use_huge_pages()
    assert used[:] == content
    assert in_huge_pages(unused) == before
    if not has_huge_pages():
        pytest.skip("this system has no huge pages")
    assert moved >= 12 * _MB
    assert in_huge_pages(used) >= 12 * _MB
