"""An answer that breaks off is asked for again where nobody has seen a part of it, and nowhere else."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from ipyllm import Experiment, Finished, LLMError, OpenAIService, Timeout, compare, fallback, pool, scorers, usage
from ipyllm.ledger import current_ledger
from ipyllm.pipeline.budget import kernel_budget
from ipyllm.pipeline.candidates import category_of
from ipyllm.rendering import footer_text
from tests import fakes
from tests.fakes import FakeLLM, answer

BROKEN = {
    "reset": fakes.reset("one two three", after=2),
    "truncated": fakes.truncated("one two three", after=2),
    "server error": fakes.error_in_stream("one two three", after=2),
    "while thinking": fakes.reset(answer("one", reasoning="let me see"), after=2),
    "in a function call": fakes.reset(
        answer("", tool_calls=[("look", {"place": "everywhere", "how": "well"})]), after=1
    ),
}
TOKEN_PRICE = '[prices."openai/m"]\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 100000\n'
"""A token of an answer costs $0.10."""


@pytest.fixture(params=["chat", "responses"])
def service(request, fake, own_settings):
    (own_settings / "config.toml").write_text(f'[profiles."openai/m"]\napi = "{request.param}"\n')
    return OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)


@pytest.fixture
def chat_service(fake):
    return OpenAIService("m", base_url=fake.base_url, api_key="no-key", max_retries=2)


@pytest.fixture
def no_pause(monkeypatch):
    """Let retries follow at once."""
    monkeypatch.setattr("ipyllm.pipeline.retry._FIRST_WAIT_S", 0.0)


pytestmark = pytest.mark.usefixtures("no_pause")


def row():
    assert current_ledger().flush(10)
    return usage(kernel=None).iloc[-1]


@pytest.mark.parametrize("fault", BROKEN)
def test_chat_gets_the_whole_answer_and_the_row_has_the_broken_attempt(service, fake, fault):
    fake.reply(BROKEN[fault], answer("the whole answer"))
    response = service.chat("Hello")
    assert (response.content, response.reasoning, response.tool_calls) == ("the whole answer", "", ())
    assert (response.timing.attempts, response.timing.broken_attempts) == (2, 1)
    stored = row()
    assert (stored.status, stored.response, stored.attempts, stored.broken_attempts) == ("ok", response.content, 2, 1)
    assert stored.broken_output_tokens_estimated == response.usage.broken_output_tokens_estimated > 0
    assert stored.output_tokens == 3, "the count is that of the answer"


def test_achat_is_sent_again_too(service, fake):
    fake.reply(BROKEN["reset"], answer("whole"))
    assert asyncio.run(service.achat("Hello")).content == "whole"


async def last_event(events):
    return [event async for event in events][-1]


def with_on_event(service):
    return service.call(service.request("Hello"), lambda event: None).wait()


def stream(service):
    return list(service.stream("Hello"))


def chat_stream(service):
    async def read():
        return [text async for text in service.chat_stream("Hello")]

    return asyncio.run(read())


def never(service):
    return service.chat("Hello", retry_after_text=False)


@pytest.mark.parametrize("ask", [stream, chat_stream, with_on_event, never])
@pytest.mark.parametrize("fault", ["reset", "truncated", "while thinking"])
def test_what_may_have_been_seen_is_sent_once(service, fake, ask, fault):
    fake.reply(BROKEN[fault])
    with pytest.raises(LLMError) as caught:
        ask(service)
    assert caught.value.category in {"connection", "truncated"}
    assert caught.value.cause is None
    assert len(fake.requests) == 1
    assert row().broken_attempts == 0


@pytest.mark.parametrize("fault", [fakes.reset, fakes.truncated], ids=["reset", "truncated"])
def test_a_stream_that_breaks_before_its_first_token_is_asked_for_again(service, fake, fault):
    fake.reply(fault("one two three", after=0), answer("whole"))
    assert "".join(service.stream("Hello")) == "whole"
    assert len(fake.requests) == 2


def test_events_are_sent_once(service, fake):
    fake.reply(BROKEN["reset"])
    end = asyncio.run(last_event(service.events("Hello")))
    assert isinstance(end, Finished)
    assert (end.response.error_category, len(fake.requests)) == ("connection", 1)


def test_a_stream_is_sent_again_where_its_reader_allows_it(chat_service, fake):
    fake.reply(BROKEN["truncated"], BROKEN["reset"], answer("whole"))
    with chat_service.stream("Hello", retry_after_text=True) as pieces:
        text = "".join(pieces)
    assert text == "one twoone twowhole"
    assert (pieces.response.content, pieces.response.timing.broken_attempts) == ("whole", 2)


def test_an_answer_that_falls_silent_is_not_sent_again(chat_service, fake):
    fake.default = fakes.stall("one two three", after=2)
    for options in ({}, {"retry_after_text": True}):
        with pytest.raises(LLMError) as caught:
            chat_service.chat("Hello", timeout=Timeout(stall=0.2), **options)
        assert (caught.value.category, caught.value.attempts) == ("timeout", 1)
        assert caught.value.partial.content == "one two"


def test_giving_up_keeps_the_cause_and_what_arrived_last(chat_service, fake):
    fake.reply(BROKEN["reset"], fakes.truncated("four five six", after=1), BROKEN["truncated"])
    with pytest.raises(LLMError, match="Gave up after 3 attempts") as caught:
        chat_service.chat("Hello")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.category, error.cause, category_of(error)) == ("max_retries_exceeded", "truncated", "truncated")
    assert (error.partial.content, error.partial.cause) == ("one two", "truncated")
    assert footer_text(error.partial).startswith("error (truncated) · openai/m")
    stored = row()
    assert (stored.error_category, stored.cause, stored.response) == ("max_retries_exceeded", "truncated", "one two")
    assert (stored.attempts, stored.broken_attempts, stored.broken_output_tokens_estimated) == (3, 2, 3)


def test_text_outlives_attempts_that_bring_none(chat_service, fake):
    fake.reply(BROKEN["reset"], fakes.unavailable(), fakes.unavailable())
    with pytest.raises(LLMError) as caught:
        chat_service.chat("Hello")
    assert (caught.value.cause, caught.value.partial.content, row().response) == ("api_error", "one two", "one two")
    assert row().output_tokens_estimated is not row().broken_output_tokens_estimated == 2


def test_without_retries_it_is_sent_once(chat_service, fake):
    fake.default = BROKEN["reset"]
    with pytest.raises(LLMError) as caught:
        chat_service.chat("Hello", max_retries=0)
    assert (caught.value.category, len(fake.requests)) == ("connection", 1)


# ---- cost --------------------------------------------------------------------------------------------


def test_the_cost_is_unknown_where_the_broken_attempt_was_not_counted(chat_service, fake, own_settings):
    (own_settings / "config.toml").write_text(TOKEN_PRICE)
    fake.reply(BROKEN["reset"], answer("one two"))
    before = kernel_budget().spent_usd
    response = chat_service.chat("Hello", max_tokens=10, max_cost_usd=5)
    assert (response.cost_usd, response.price_source) == (None, "unknown: an earlier attempt was billed too")
    assert row().cost_bound_usd == pytest.approx(1.0 + 0.2)
    assert kernel_budget().spent_usd - before == pytest.approx(1.0 + 0.2), "at most, for the first; and the count"


def test_the_cost_is_that_of_all_attempts_where_they_were_counted(chat_service, fake, own_settings):
    (own_settings / "config.toml").write_text(TOKEN_PRICE)
    fake.reply(fakes.reset(answer("one two three", usage_in="every chunk"), after=2), answer("one two"))
    assert chat_service.chat("Hello", max_tokens=10, max_cost_usd=5).cost_usd == pytest.approx(0.2 + 0.2)


def test_a_budget_that_does_not_allow_it_again_says_why_it_was_needed(chat_service, fake, own_settings):
    (own_settings / "config.toml").write_text(TOKEN_PRICE)
    fake.default = BROKEN["reset"]
    with pytest.raises(LLMError, match=r"only \$0.50 is left") as caught:
        chat_service.chat("Hello", max_tokens=10, max_cost_usd=1.5)
    assert (caught.value.category, caught.value.cause, len(fake.requests)) == ("quota", "connection", 1)
    assert caught.value.partial.content == "one two"
    assert (row().cause, row().cost_bound_usd) == ("connection", pytest.approx(1.0))


def test_a_response_from_the_cache_has_no_broken_attempts(chat_service, fake):
    fake.reply(BROKEN["reset"], answer("whole"))
    chat_service.chat("Hello", cache=True)
    hit = chat_service.chat("Hello", cache=True)
    assert (hit.cache_hit, hit.usage.broken_output_tokens_estimated, hit.timing.broken_attempts) == (True, None, 0)


# ---- others of whom nobody sees a part ----------------------------------------------------------------


def test_experiments_ask_again(chat_service, fake):
    fake.reply(BROKEN["reset"])
    fake.default = answer("whole")
    calls = Experiment(["Hello"], models=[chat_service], warmup=0).run(progress=False).calls
    assert calls[["response", "attempts", "broken_attempts"]].values.tolist() == [["whole", 2, 1]]


def test_experiments_name_the_cause_of_what_failed(chat_service, fake):
    fake.default = fakes.rate_limited(0)
    results = Experiment(["Hello"], models=[chat_service], warmup=0).run(progress=False)
    assert results.calls["cause"].tolist() == ["rate_limit"]
    assert "rate_limit 1" in repr(results)
    assert "The only call failed with rate limit" in str(results.summary())


def test_judges_ask_again(chat_service, fake):
    calls = Experiment(["Hello"], models=[chat_service], warmup=0).run(progress=False).calls
    verdict = answer('{"reason": "Good.", "grade": 4}')
    fake.reply(fakes.reset(verdict, after=1))
    fake.default = verdict
    scored = scorers.apply([scorers.judge(chat_service)], calls)
    assert scored["score_judge"].tolist() == [4]
    assert usage(tags={"judge": "judge"})["broken_attempts"].tolist() == [1]


def test_a_comparison_that_is_only_waited_for_asks_again(chat_service, fake):
    fake.reply(BROKEN["reset"])
    fake.default = answer("whole")
    comparison = compare("Hello", models=[chat_service], params=[{"seed": 1}, {"seed": 2}])
    assert [response.content for response in comparison.responses] == ["whole", "whole"]


def test_each_round_of_a_tool_loop_is_asked_again_and_runs_its_tools_once(service, fake):
    placed = []

    def look(place: str) -> str:
        placed.append(place)
        return "nothing"

    call = answer("", tool_calls=[("look", {"place": "here"})])
    fake.reply(fakes.reset(call, after=1), call, fakes.reset("It is gone.", after=1), answer("It is gone."))
    response = service.chat("Where is it?", tools=[look])
    assert (response.content, placed) == ("It is gone.", ["here"])
    assert [step.timing.broken_attempts for step in response.steps] == [1, 1]


# ---- routes ------------------------------------------------------------------------------------------


@pytest.fixture
def other():
    with FakeLLM() as server:
        server.default = answer("from the other")
        yield server


def routes(fake, other):
    first = OpenAIService("m-a", base_url=fake.base_url, api_key="no-key", max_retries=1)
    second = OpenAIService("m-b", base_url=other.base_url, api_key="no-key", max_retries=1)
    return fallback(first, second), pool(first, second, model="m", max_retries=1)


@pytest.mark.parametrize("kind", [0, 1], ids=["fallback", "pool"])
def test_another_service_answers_what_nobody_has_seen(fake, other, kind):
    fake.default = BROKEN["reset"]
    route = routes(fake, other)[kind]
    assert route.chat("Hello").content == "from the other"
    assert [len(fake.requests), len(other.requests)] == ([2, 1] if kind == 0 else [1, 1])


@pytest.mark.parametrize("kind", [0, 1], ids=["fallback", "pool"])
def test_another_service_is_not_asked_after_a_silence_in_mid_answer(fake, other, kind):
    fake.default = fakes.stall("one two three", after=2)
    with pytest.raises(LLMError) as caught:
        routes(fake, other)[kind].chat("Hello", timeout=Timeout(stall=0.2))
    assert caught.value.category == "timeout"
    assert not other.requests


def test_a_service_whose_answers_keep_breaking_is_left_out_by_their_cause(fake, other):
    fake.default = BROKEN["reset"]
    route = routes(fake, other)[0]
    for _ in range(4):
        assert route.chat("Hello").content == "from the other"
    assert len(fake.requests) == 3 * 2, "three calls of two attempts each"
