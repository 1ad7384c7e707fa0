"""A call has the server's counts as far as they hold, estimates in their own columns, and a cost only of counts."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from ipyllm import LLMError, OpenAIService
from ipyllm.ledger import current_ledger
from ipyllm.settings import get_settings
from tests.fakes import answer, status, truncated
from tests.fakes.script import Event

WORDS = "one two three four five six seven eight"


@pytest.fixture
def service(fake, monkeypatch):
    prices = '{"openai/m": {"input_usd_per_mtok": 1e6, "output_usd_per_mtok": 1e6}}'  # a dollar for each token
    monkeypatch.setenv("IPYLLM_PRICES", prices)
    assert "openai/m" in get_settings().prices
    return OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=0)


def last_row():
    from ipyllm import usage

    assert current_ledger().flush(10)
    row = usage(kernel=None).iloc[-1]
    return {name: None if pd.isna(value) else value for name, value in row.drop(["params", "tags"]).items()}


def counts(row):
    return tuple(row[f"{kind}_tokens{suffix}"] for kind in ("input", "output") for suffix in ("", "_estimated"))


def test_a_call_that_the_server_counted_has_no_estimates(service, fake):
    fake.reply(answer(WORDS, prompt_tokens=10))
    service.chat("Hello")
    row = last_row()
    assert counts(row) == (10, None, 8, None)
    assert (row["usage_source"], row["cost_usd"]) == ("server", 18.0)


def test_a_call_that_nobody_counted_has_estimates_in_their_own_columns_and_no_cost(service, fake):
    fake.reply(answer(WORDS, usage=False))
    service.chat("Hello")
    row = last_row()
    assert counts(row) == (None, 5, None, 8)
    assert (row["usage_source"], row["cost_usd"], row["price_source"]) == ("estimated", None, None)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 10.5, "completion_tokens": -8},
        {"prompt_tokens": True, "completion_tokens": "many"},
    ],
)
def test_counts_that_cannot_be_right_are_estimated(service, fake, usage):
    fake.reply(answer(WORDS, usage=usage))
    service.chat("Hello")
    row = last_row()
    assert counts(row) == (None, 5, None, 8)
    assert (row["usage_source"], row["cost_usd"]) == ("estimated", None)


def test_only_what_the_server_did_not_count_is_estimated(service, fake):
    fake.reply(answer(WORDS, usage={"prompt_tokens": 10, "completion_tokens": None}))
    service.chat("Hello")
    row = last_row()
    assert counts(row) == (10, None, None, 8)
    assert (row["usage_source"], row["cost_usd"]) == ("server", None)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_stopped_at_its_limit_is_estimated_at_the_limit(service, fake, name):
    fake.reply(answer(WORDS, chunks=2, usage=False, finish_reason="length"))
    response = service.chat("Hello", **{name: 7})
    assert response.usage.output_tokens_estimated == 7


def test_no_estimate_exceeds_the_limit(service, fake):
    fake.reply(answer(WORDS, usage=False))
    assert service.chat("Hello", max_tokens=5).usage.output_tokens_estimated == 5


def test_reasoning_and_tool_calls_are_part_of_the_estimate(service, fake):
    fake.reply(answer("Yes.", reasoning=WORDS, usage=False))
    assert service.chat("Hello").usage.output_tokens_estimated == 9
    fake.reply(answer("", tool_calls=[("look", {"where": "everywhere in the sky"})], usage=False))
    assert service.chat("Hello").usage.output_tokens_estimated >= 8


def test_a_stream_that_breaks_off_is_counted_if_each_chunk_has_the_count_so_far(service, fake):
    fake.reply(truncated(answer(WORDS, usage_in="every chunk"), after=4))
    with pytest.raises(LLMError, match="was cut off"):
        service.chat("Hello")
    row = last_row()
    assert (row["status"], row["cost_usd"]) == ("truncated", 14.0)
    assert counts(row) == (10, None, 4, None)


def test_a_count_before_the_end_of_the_answer_counts_the_input_only(service, fake):
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    first = Event(0.0, "noise", {"choices": [{"index": 0, "delta": {"content": "zero "}}], "usage": usage})
    fake.reply(answer(WORDS, usage=False).edited(lambda events: [first, *events]))
    service.chat("Hello")
    row = last_row()
    assert counts(row) == (9, None, None, 9)
    assert (row["usage_source"], row["cost_usd"]) == ("server", None)


def test_a_call_cancelled_before_its_count_has_an_unknown_cost(service, fake):
    fake.reply(answer(WORDS, gap=30.0))
    stream = service.stream("Hello")
    assert next(stream) == "one"
    stream.close()
    deadline = time.monotonic() + 30
    while last_row()["status"] == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    row = last_row()
    assert (row["status"], row["cost_usd"], row["output_tokens"]) == ("cancelled", None, None)
    assert row["output_tokens_estimated"] >= 1


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 3},
        {"extra_body": {"max_tokens": 3}},
        {"extra_body": {"max_output_tokens": 3}},
        {"max_tokens": 3, "extra_body": {"n": 2}},
    ],
)
def test_an_estimate_knows_every_limit_that_was_sent(service, fake, options):
    fake.reply(answer(WORDS, usage=False, finish_reason="length"))
    service.chat("Hello", **options)
    assert last_row()["output_tokens_estimated"] == 3


def test_a_call_that_was_never_sent_cost_nothing_and_says_why(service, fake):
    with pytest.raises(LLMError, match="it was not sent"):
        service.chat("Hello", max_tokens=10, max_cost_usd=1)
    row = last_row()
    assert not fake.requests
    assert (row["cost_usd"], row["price_source"]) == (0.0, "not sent")


@pytest.mark.parametrize("code", [400, 401, 429, 500, 503])
def test_a_call_that_the_server_answered_by_an_error_cost_nothing(service, fake, code):
    fake.default = status(code)
    with pytest.raises(LLMError):
        service.chat("Hello", max_retries=0)
    row = last_row()
    assert (row["cost_usd"], row["price_source"]) == (0.0, "refused")


@pytest.mark.parametrize("code", [502, 504, 524])
def test_the_cost_is_unknown_where_only_a_gateway_failed(service, fake, code):
    fake.default = status(code)
    with pytest.raises(LLMError):
        service.chat("Hello", max_retries=0)
    row = last_row()
    assert (row["cost_usd"], row["price_source"]) == (None, None)


def test_a_call_that_did_not_reach_its_server_was_not_sent(service):
    nobody = type(service)(service.model, base_url="http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(LLMError) as caught:
        nobody.chat("Hello")
    assert caught.value.category == "connection"
    row = last_row()
    assert (row["cost_usd"], row["price_source"]) == (0.0, "not sent")
