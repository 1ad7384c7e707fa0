"""Tests that threads switch sooner while calls are in flight, and only then."""

from __future__ import annotations

import os
import sys

import pytest

from ipyllm import OpenAIService
from ipyllm.runtime.switch_interval import ShortSwitchInterval
from tests.fakes import answer

USUAL_S = 0.005


@pytest.fixture(autouse=True)
def usual():
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL_S)
    yield
    sys.setswitchinterval(before)


def test_it_is_short_while_a_call_is_in_flight(fake):
    fake.default = answer("one two", gap=0.1)
    stream = OpenAIService("m", base_url=fake.base_url).stream("Hello")
    pieces = iter(stream)
    next(pieces)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert list(pieces) == [" two"]
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)


def test_it_is_usual_again_after_the_last_of_several():
    short = ShortSwitchInterval()
    with short:
        with short:
            pass
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert sys.getswitchinterval() == pytest.approx(USUAL_S)


def test_an_interval_that_other_code_sets_is_left_alone():
    with ShortSwitchInterval():
        sys.setswitchinterval(0.002)
    assert sys.getswitchinterval() == pytest.approx(0.002)
    sys.setswitchinterval(0.0001)
    with ShortSwitchInterval():
        assert sys.getswitchinterval() == pytest.approx(0.0001)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_the_usual_interval(fake, python):
    process = python(
        """
        import os, sys
        from ipyllm import OpenAIService
        usual = sys.getswitchinterval()
        pieces = iter(OpenAIService("m", base_url=sys.argv[1]).stream("Hello"))
        next(pieces)
        assert sys.getswitchinterval() < usual
        child = os.fork()
        if not child:
            os._exit(sys.getswitchinterval() != usual)
        assert os.waitpid(child, 0)[1] == 0
        """,
        fake.base_url,
        warnings="ignore",
    )
    fake.default = answer("one two", gap=0.5)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
