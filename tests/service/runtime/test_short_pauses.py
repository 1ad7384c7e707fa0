"""Tests that the interpreter stops threads for less time while calls are in flight, and only then."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from ipyllm import OpenAIService
from ipyllm.runtime.short_pauses import ShortPauses, without_collections
from tests.fakes import answer

USUAL_S = 0.005


@pytest.fixture(autouse=True)
def usual():
    before, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(USUAL_S)
    gc.set_threshold(700, 10, 10)
    yield
    sys.setswitchinterval(before)
    gc.set_threshold(*thresholds)


def test_they_are_short_while_a_call_is_in_flight(fake):
    fake.default = answer("one two", gap=1000)
    stream = OpenAIService("m", base_url=fake.base_url).stream("Hello")
    pieces = iter(stream)
    next(pieces)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert gc.get_threshold() == (7000, 10, 10)
    fake.skip_pauses()
    assert list(pieces) == [" two"]
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)
    assert gc.get_threshold() == (700, 10, 10)


def test_they_are_usual_again_after_the_last_of_several():
    short = ShortPauses()
    with short:
        with short:
            pass
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)
    assert gc.get_threshold() == (700, 10, 10)


def test_what_other_code_sets_is_left_alone():
    with ShortPauses():
        sys.setswitchinterval(0.002)
        gc.set_threshold(500, 5, 5)
    assert sys.getswitchinterval() == pytest.approx(0.002)
    assert gc.get_threshold() == (500, 5, 5)
    sys.setswitchinterval(0.0001)
    with ShortPauses():
        assert sys.getswitchinterval() == pytest.approx(0.0001)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_the_usual_ones(fake, python):
    process = python(
        """
        import gc, os, sys
        from ipyllm import OpenAIService
        usual = sys.getswitchinterval(), gc.get_threshold()
        pieces = iter(OpenAIService("m", base_url=sys.argv[1]).stream("Hello"))
        next(pieces)
        assert sys.getswitchinterval() < usual[0]
        child = os.fork()
        if not child:
            os._exit((sys.getswitchinterval(), gc.get_threshold()) != usual)
        assert os.waitpid(child, 0)[1] == 0
        """,
        fake.base_url,
        warnings="ignore",
    )
    fake.default = answer("one two", gap=3)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_the_collector_is_paused_in_blocks_and_resumes_after_the_last_also_after_an_error():
    with without_collections():
        with without_collections():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), without_collections():
        1 / 0  # noqa: B018 - raises
    assert gc.isenabled()


def test_a_collector_that_the_user_disabled_stays_so():
    gc.disable()
    try:
        with without_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_child_that_is_forked_in_a_block_of_the_parent_collects():
    with without_collections():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.isenabled()
