"""Tests the four time limits, each by itself."""

from __future__ import annotations

import time

import pytest

from ipyllm import LLMError, OllamaService
from ipyllm.timeout import Timeout
from tests import fakes
from tests.fakes import answer


def fails(service, **options):
    start = time.monotonic()
    with pytest.raises(LLMError) as caught:
        service.chat("Hello", **options)
    return caught.value, time.monotonic() - start


def test_a_stall_is_ended_though_pings_keep_the_line_alive(fake):
    fake.default = fakes.stall(fakes.pings("one two three", every=0.05), after=2)
    error, took = fails(OllamaService("m", base_url=fake.base_url), timeout=Timeout(stall=0.4), max_retries=0)
    assert error.category == "timeout"
    assert "no further token arrived for 0.4 s" in str(error)
    assert error.partial.content == "one two"
    assert took < 3


def test_the_first_token_has_a_limit_of_its_own(fake):
    fake.default = answer("late", ttft=5)
    service = OllamaService("m", base_url=fake.base_url, timeout=Timeout(first_token=0.3), max_retries=0)
    error, _ = fails(service)
    assert "no first token arrived for 0.3 s" in str(error)
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)


def test_an_answer_slower_than_the_first_limit_goes_on_within_the_second(fake):
    fake.default = answer("one two three four", gap=0.3)
    response = OllamaService("m", base_url=fake.base_url).chat("Hello", timeout=Timeout(first_token=0.8, stall=2))
    assert response.status == "ok"


def test_a_drip_cannot_outlast_the_total(fake):
    fake.default = fakes.drip("word ", every=0.05)
    error, took = fails(OllamaService("m", base_url=fake.base_url), timeout=Timeout(total=0.6))
    assert "the whole call took more than 0.6 s" in str(error)
    assert error.partial.content.startswith("word word")
    assert 0.5 < took < 30
    assert len(fake.requests) == 1


def test_a_retry_that_would_outlast_the_total_is_not_begun(fake):
    fake.default = fakes.rate_limited(30)
    error, took = fails(OllamaService("m", base_url=fake.base_url), timeout=Timeout(total=20), max_retries=5)
    assert took < 15
    assert error.category == "rate_limit"
    assert len(fake.requests) == 1


@pytest.mark.parametrize("wrong", [0, -1, "5", True, float("nan")])
def test_a_timeout_that_is_none_is_refused(wrong):
    with pytest.raises(LLMError, match="number of seconds above 0"):
        Timeout.of(wrong)
    with pytest.raises(LLMError, match="stall"):
        Timeout(stall=wrong)
