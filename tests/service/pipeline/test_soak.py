"""Many calls through every method to a server with every fault, among calls that their caller ends."""

from __future__ import annotations

import os

import pytest

from benchmarks.soak import soak


@pytest.mark.skipif(os.name != "posix", reason="counts file descriptors")
@pytest.mark.parametrize("calls", [600, pytest.param(10_000, marks=[pytest.mark.thorough, pytest.mark.timeout(900)])])
def test_no_call_is_lost_and_nothing_is_left_over(calls, caplog):
    caplog.set_level("CRITICAL", logger="ipyllm")  # pytest keeps all records: two objects for each call that fails
    found = soak(calls)
    assert found.rows == found.calls
    assert found.wrong == []
    assert (found.tasks_left, found.requests_open) == (0, 0)
    assert found.threads_left == []
    assert (found.files_left, found.sockets_left) == (0, 0)
    assert found.objects_growth < 2000, found.objects
    assert found.growth_mb < 10, found.rss_mb
