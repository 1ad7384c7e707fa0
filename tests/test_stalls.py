"""A test of times is run again only if the machine stood still while it failed."""

from __future__ import annotations

import time

import pytest

from tests import stalls
from tests.stalls import Stalls, again_if_stalled


@pytest.fixture
def stalled(monkeypatch):
    """Let each attempt find how long it was held up, from a list."""
    found = []

    def exit_(self, *_):
        self.worst_s = found.pop(0)

    monkeypatch.setattr(Stalls, "__enter__", lambda self: self)
    monkeypatch.setattr(Stalls, "__exit__", exit_)
    return found


def failing(results):
    """Make a test with these results, of which the others are left."""

    @again_if_stalled(0.01)
    def test():
        assert results.pop(0)

    return test


def test_what_fails_on_an_even_machine_fails_at_once(stalled):
    stalled += [0.009]
    results = [False, True]
    with pytest.raises(AssertionError):
        failing(results)()
    assert results == [True]


def test_what_fails_while_the_machine_stood_still_is_tried_until_it_does_not(stalled):
    stalled += [0.02, 0.02, 0.0]
    results = [False, False, True, True]
    failing(results)()
    assert results == [True]


def test_it_is_not_tried_for_ever(stalled, monkeypatch):
    monkeypatch.setattr(stalls, "_LONGEST_S", 0.0)
    stalled += [0.02]
    with pytest.raises(AssertionError) as caught:
        failing([False])()
    assert caught.value.__notes__ == ["At attempt 1, during which a thread could not run for 0.020 s."]


def test_it_is_tried_five_times(stalled):
    stalled += [0.02] * 5
    results = [False] * 5 + [True]
    with pytest.raises(AssertionError):
        failing(results)()
    assert results == [True]


def test_a_thread_that_wakes_late_is_noticed(monkeypatch):
    monkeypatch.setattr(stalls, "sleep", lambda seconds: time.sleep(seconds + 0.05))
    with Stalls() as noticed:
        time.sleep(0.1)
    assert noticed.worst_s > 0.04
