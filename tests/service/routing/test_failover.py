"""``fallback``: the next service answers if the first fails, and the rows say which one answered."""

from __future__ import annotations

import time

import pytest

from ipyllm import DeepSeekService, LLMError, OpenAIService, fallback
from tests import fakes


def arms(a, b, **options):
    return (
        OpenAIService("m-a", base_url=a.base_url, max_retries=0, **options),
        DeepSeekService("m-b", base_url=b.base_url, max_retries=0),
    )


ELSEWHERE = {
    "closed": fakes.refuse("rst"),
    "500": fakes.server_error(),
    "web page": fakes.html(502),
    "rate limit": fakes.rate_limited(60),
    "no credit": fakes.insufficient_quota(),
    "wrong key": fakes.unauthorized(),
    "no such model": fakes.model_not_found(),
    "too long": fakes.context_length_exceeded(),
    "cut off before any text": fakes.truncated("one two", after=0),
}
HERE = {
    "wrong request": fakes.bad_json(),
    "filtered": fakes.prompt_filtered(),
    "answer filtered": fakes.content_filter(),
    "broke in mid-answer": fakes.reset("one two three", after=2),
    "cut off in mid-answer": fakes.truncated("one two three", after=2),
}


@pytest.mark.parametrize("fault", ELSEWHERE)
def test_the_next_answers_what_the_first_could_not(a, b, ask, rows, fault):
    a.default = ELSEWHERE[fault]
    response = ask(fallback(*arms(a, b), name="fast"), tags={"mine": "kept"})
    assert (response.content, response.model) == ("from b", "deepseek/m-b")
    row = rows().iloc[-1]
    assert (row.service, row.model, row.status) == ("deepseek", "deepseek/m-b", "ok")
    assert row.endpoint == b.base_url.split("/")[2]
    assert row.tags == {"mine": "kept", "route": "fast", "arm": "deepseek/m-b"}


@pytest.mark.parametrize("fault", HERE)
def test_nothing_is_sent_on_that_is_wrong_in_itself_or_was_shown(a, b, ask, fault):
    a.default = HERE[fault]
    with pytest.raises(LLMError) as caught:
        ask(fallback(*arms(a, b)))
    assert caught.value.model == "openai/m-a"
    assert b.requests == []


def test_text_that_a_last_retry_showed_is_not_followed_by_another_answer(a, b, ask):
    a.reply(fakes.unavailable(headers={"retry-after": "0"}), fakes.reset("one two three", after=2))
    first = OpenAIService("m-a", base_url=a.base_url, max_retries=1)
    with pytest.raises(LLMError) as caught:
        ask(fallback(first, arms(a, b)[1]))
    assert caught.value.partial.content == "one two"
    assert b.requests == []


def test_while_the_first_is_well_the_next_is_not_asked(a, b, ask):
    assert ask(fallback(*arms(a, b))).content == "from a"
    assert b.requests == []


def test_when_all_fail_the_error_names_them_all(a, b, ask):
    a.default, b.default = fakes.insufficient_quota(), fakes.server_error()
    with pytest.raises(LLMError, match="openai/m-a, quota") as caught:
        ask(fallback(*arms(a, b), name="fast"))
    assert (caught.value.category, caught.value.model) == ("api_error", "deepseek/m-b")
    assert str(caught.value).count("\n") == 0


def test_a_first_that_keeps_failing_is_left_out_and_tried_again(a, b, ask, monkeypatch):
    now = 100.0
    monkeypatch.setattr("ipyllm.routing.health.monotonic", lambda: now)
    route = fallback(*arms(a, b))
    a.default = fakes.server_error()
    for _ in range(5):
        assert ask(route).content == "from b"
    assert len(a.requests) == 3, "three failures in a row are enough"
    a.default = fakes.answer("from a")
    now += 1
    assert ask(route).content == "from a"


def test_a_first_that_names_a_time_is_left_alone_until_then(a, b, ask):
    a.reply(fakes.rate_limited(0.5))
    route = fallback(*arms(a, b))
    said = [ask(route).content]
    while said[-1] == "from b" and len(said) < 1000:
        time.sleep(0.02)
        said.append(ask(route).content)
    assert said[0] == "from b"
    assert said[-1] == "from a"
    first, second = a.requests
    assert second.arrived_ns - first.arrived_ns >= 0.5e9


def test_routes_within_routes_are_all_named(a, b, ask, rows):
    first, second = arms(a, b)
    a.default = fakes.server_error()
    assert ask(fallback(fallback(first, name="inner"), second, name="outer")).content == "from b"
    assert ask(fallback(fallback(first, second, name="inner"), name="outer")).content == "from b"
    assert rows().iloc[-1].tags == {"route": "outer", "arm": "inner → deepseek/m-b"}


def test_what_is_no_service_is_refused():
    with pytest.raises(LLMError, match="not 3"):
        fallback(3)
    with pytest.raises(LLMError, match="did you mean"):
        fallback("opnai/gpt-6-luna")
    with pytest.raises(LLMError, match="needs services"):
        fallback()


@pytest.mark.parametrize(("fault", "answers"), [(fakes.unavailable(), "b"), (fakes.rate_limited(0.01), "b")])
def test_retries_that_are_used_up_are_no_end_while_another_is_left(a, b, ask, fault, answers):
    a.default = fault
    first = OpenAIService("m-a", base_url=a.base_url, max_retries=1)
    assert ask(fallback(first, arms(a, b)[1])).content == f"from {answers}"
    assert len(a.requests) >= 2
