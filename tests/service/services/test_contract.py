"""One contract for every service and API: each call ends in one correct response or error, and in one row."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from ipyllm import (
    DeepSeekService,
    Finished,
    LLMError,
    OllamaService,
    OpenAIService,
    ReasoningDelta,
    TextDelta,
    create_llm_service,
)
from tests import fakes
from tests.fakes import answer
from tests.ledger_rows import rows
from tests.service.by_the_client import leave_to_the_client
from tests.stalls import again_if_stalled

BY_THE_CLIENT = ("by the client alone", "responses by the client alone")
ON_RESPONSES = ("responses", "responses by the client alone")


_MORE = [
    pytest.param(name, marks=pytest.mark.thorough) for name in ("deepseek", "ollama", "responses by the client alone")
]


@pytest.fixture(params=["openai", "endpoint", "by the client alone", "responses", *_MORE])
def service(request, fake, own_settings):
    """Return each service, with the fake server as its address."""
    if request.param in BY_THE_CLIENT:
        leave_to_the_client(fake, OpenAIService("fake-model", base_url=fake.base_url).address())
    if request.param == "by the client alone":
        return OpenAIService("fake-model", base_url=fake.base_url, max_retries=0)
    if request.param in {"endpoint", *ON_RESPONSES}:
        api = 'api = "responses"\n' if request.param in ON_RESPONSES else ""
        (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n{api}')
        return create_llm_service("lab/fake-model", max_retries=0)
    made = {"openai": OpenAIService, "deepseek": DeepSeekService, "ollama": OllamaService}[request.param]
    return made("fake-model", base_url=fake.base_url, max_retries=0)


def test_the_usage_examples_of_the_design_run_as_written(service, fake):
    fake.default = answer("Once upon a time")
    response = service.chat("Hello")
    assert response["content"] == response.content == "Once upon a time"
    assert response.status == "ok"
    assert response.usage.output_tokens == 4
    assert 0 < response.timing.ttft_s <= response.timing.e2e_s <= response.timing.total_s
    assert list(service.stream("Tell me a story")) == ["Once", " upon", " a", " time"]

    async def story():
        pieces = [text async for text in service.chat_stream("Tell me a story")]
        again = await service.achat("Hello")
        events = [event async for event in service.events("Hello")]
        return pieces, again, events

    pieces, again, events = asyncio.run(story())
    assert "".join(pieces) == again.content == "Once upon a time"
    assert [type(event) for event in events] == [TextDelta] * 4 + [Finished]
    assert list(rows().status) == ["ok"] * 5


def test_history_goes_before_the_question(service, fake):
    from ipyllm import ConversationHistory

    history = ConversationHistory()
    history.add_message("system", "You are a helpful assistant.")
    service.chat("What is Python?", conversation_history=history.get_messages())
    sent = fake.requests[-1].json
    question = {"role": "user", "content": "What is Python?"}
    if service.api == "responses":
        assert (sent["instructions"], sent["input"]) == ("You are a helpful assistant.", [question])
    else:
        assert sent["messages"] == [{"role": "system", "content": "You are a helpful assistant."}, question]


FAULTS = {
    "truncated by FIN": (fakes.truncated("one two three", after=2), "truncated", "one two"),
    "half a line": (fakes.half_line("one two three"), "truncated", None),
    "reset": (fakes.reset("one two three", after=2), "connection", "one two"),
    "not a stream, broken off": (fakes.truncated(fakes.ignores_stream("one two three")), "connection", ""),
    "stall": (fakes.stall("one two three", after=2), "timeout", "one two"),
    "never answers": (fakes.never_answers(), "timeout", ""),
    "closed at once": (fakes.refuse("fin"), "connection", ""),
    "reset at once": (fakes.refuse("rst"), "connection", ""),
    "malformed JSON": (fakes.malformed("one two three", after=1), "api_error", "one"),
    "error in the stream": (fakes.error_in_stream(), "api_error", None),
    "error event": (fakes.error_event(), "api_error", None),
    "HTML with 200": (fakes.html(200), "api_error", ""),
    "HTML with 502": (fakes.html(502), "api_error", ""),
    "rate limit": (fakes.rate_limited(), "rate_limit", ""),
    "no quota": (fakes.insufficient_quota(), "quota", ""),
    "no balance": (fakes.insufficient_balance(), "quota", ""),
    "context length": (fakes.context_length_exceeded(), "context_length", ""),
    "prompt filtered": (fakes.prompt_filtered(), "content_filter", ""),
    "answer filtered": (fakes.content_filter("I was about to"), "content_filter", "I was about to"),
    "wrong key": (fakes.unauthorized("sk-wrong-key-0000"), "authentication", ""),
    "forbidden": (fakes.forbidden(), "authentication", ""),
    "wrong model": (fakes.model_not_found(), "not_found", ""),
    "500": (fakes.server_error(), "api_error", ""),
    "500 broken off": (replace(fakes.server_error(), stop_after=1, half=True, ending="fin"), "connection", ""),
    "503": (fakes.unavailable(), "api_error", ""),
    "bad JSON refused": (fakes.bad_json(), "bad_request", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@again_if_stalled(0.1)
def test_every_fault_has_its_category_and_keeps_what_came(service, fake, fault):
    script, category, kept = FAULTS[fault]
    fake.default = script
    with pytest.raises(LLMError) as caught:
        service.chat("Hello", timeout=0.4 if category == "timeout" else 100)
    error = caught.value
    assert error.category == category, str(error)
    assert error.model == service.full_name
    assert error.partial.status == ("truncated" if category == "truncated" else "error")
    if kept is not None:
        assert error.partial.content == kept
    assert str(error).count("\n") == 0
    assert "sk-wrong" not in str(error)
    row = rows().iloc[-1]
    assert (row.status, row.error_category) == (error.partial.status, category)
    assert (row.response or "") == error.partial.content


HARMLESS = {
    "choices missing": fakes.odd_chunks("one two", "choices missing"),
    "choices null": fakes.odd_chunks("one two", "choices null"),
    "delta null": fakes.odd_chunks("one two", "delta null"),
    "delta missing": fakes.odd_chunks("one two", "delta missing"),
    "no [DONE]": answer("one two", done=False),
    "[DONE] without finish_reason": answer("one two", finish_reason=None),
    "stream ignored": fakes.ignores_stream("one two"),
    "CRLF": fakes.crlf("one two"),
    "comments": fakes.pings("one two"),
    "one segment": fakes.one_segment("one two"),
    "gzip": fakes.gzipped("one two"),
    "slow headers": fakes.slow_headers("one two", seconds=0.1),
}


OF_CHAT = ("choices missing", "choices null", "delta null", "delta missing", "[DONE] without finish_reason")


@pytest.mark.parametrize("oddity", HARMLESS)
def test_an_odd_but_whole_answer_is_accepted(service, fake, oddity):
    if service.api == "responses" and oddity in OF_CHAT:
        pytest.skip("its events have no choices")
    fake.default = HARMLESS[oddity]
    response = service.chat("Hello")
    assert (response.content, response.status) == ("one two", "ok")


def test_half_a_character_at_a_chunk_border_is_made_whole(service, fake):
    fake.default = fakes.split_utf8("grüße 漢字 🎉")
    assert service.chat("Hello").content == "grüße 漢字 🎉"


def test_a_stream_hands_out_what_came_and_then_raises(service, fake):
    fake.default = fakes.truncated("one two three", after=2)
    stream, got = service.stream("Hello"), []
    with pytest.raises(LLMError) as caught:
        got.extend(stream)
    assert caught.value.category == "truncated"
    assert stream.response.content == "one two"


def test_usage_is_the_servers_or_marked_as_estimated(service, fake):
    fake.reply(answer("one two", usage=False))
    estimated = service.chat("Hello")
    assert estimated.usage.source == "estimated"
    assert (estimated.usage.input_tokens, estimated.usage.output_tokens) == (None, None), "no estimate is a count"
    assert estimated.usage.output_tokens_estimated == 2
    assert estimated.timing.output_tps is None, "no rate is computed from an estimate"
    fake.reply(answer("one two", cached_tokens=7))
    assert service.chat("Hello").usage.cached_tokens == 7
    fake.reply(fakes.deepseek(hit=6, miss=4))
    counted = service.chat("Hello").usage
    assert (counted.source, counted.input_tokens, counted.cached_tokens) == ("server", 10, 6)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@again_if_stalled(0.05)
def test_reasoning_is_kept_apart_from_the_answer(service, fake, field):
    fake.default = answer("Yes.", reasoning="Let me think.", reasoning_field=field, gap=0.15)

    async def read():
        return [event async for event in service.events("Is it?")]

    *events, last = asyncio.run(read())
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Let me think."
    timing = last.response.timing
    assert last.response.content == "Yes."
    assert timing.ttfo_s > timing.ttft_s


def test_a_role_only_chunk_is_not_the_first_token(service, fake):
    fake.default = answer("one two three", ttft=0.15, gap=0.05)  # the role comes at once
    timing = service.chat("Hello").timing
    assert timing.ttft_s > 0.14
    assert timing.n_chunks == 3
    assert timing.tpot_s == pytest.approx((timing.e2e_s - timing.ttft_s) / 2)


# ---- retries -----------------------------------------------------------------------------------------


@again_if_stalled(0.05)
def test_a_passing_fault_is_retried_and_the_waiting_is_told_apart(fake):
    fake.reply(fakes.rate_limited(0.2), fakes.unavailable())
    fake.default = answer("at last")
    response = OpenAIService("m", base_url=fake.base_url, max_retries=2).chat("Hello")
    assert response.content == "at last"
    assert response.timing.attempts == 3
    assert response.timing.retry_wait_s >= 0.2
    assert response.timing.ttft_s < response.timing.retry_wait_s


def test_giving_up_says_so_and_carries_the_last_cause(fake):
    fake.default = fakes.rate_limited(0.01)
    with pytest.raises(LLMError) as caught:
        OpenAIService("m", base_url=fake.base_url, max_retries=1).chat("Hello")
    assert caught.value.category == "max_retries_exceeded"
    assert caught.value.attempts == len(fake.requests) == 2
    assert caught.value.cause == caught.value.__cause__.category == "rate_limit"
    assert rows().iloc[-1][["error_category", "cause"]].tolist() == ["max_retries_exceeded", "rate_limit"]


@pytest.mark.parametrize(
    "script",
    [
        fakes.insufficient_quota(),
        fakes.unauthorized(),
        fakes.rate_limited(500),
    ],
)
def test_what_cannot_succeed_is_sent_once(fake, script):
    fake.default = script
    with pytest.raises(LLMError):
        OpenAIService("m", base_url=fake.base_url, max_retries=2).chat("Hello")
    assert len(fake.requests) == 1


# ---- stopping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", [fakes.drip("word ", every=0.02), fakes.never_answers()], ids=["mid-answer", "before"]
)
def test_cancelling_from_any_thread_closes_the_connection_and_the_row(service, fake, script):
    fake.default = script
    call = service.call(service.request("Hello"))
    fake.wait_for(lambda: fake.requests)
    time.sleep(0.1)
    threading.Thread(target=call.cancel).start()
    assert call.done.wait(60)
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    assert call.response.status == "cancelled"
    row = rows().iloc[-1]
    assert (row.status, row.response) == ("cancelled", call.response.content)


def test_leaving_a_loop_early_closes_the_connection(service, fake):
    fake.default = fakes.drip("word ", every=0.02)
    for _ in service.stream("Hello"):
        break
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)

    async def read_one():
        async for _ in service.chat_stream("Hello"):
            break
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests[-1].closed_by_client, 2)

    asyncio.run(read_one())
    assert len(fake.requests) == 2


def test_a_cancelled_coroutine_cancels_its_call(service, fake):
    fake.default = fakes.drip("word ", every=0.02)

    async def impatient():
        call = asyncio.ensure_future(service.achat("Hello"))
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests, 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests[-1].closed_by_client, 30)

    asyncio.run(impatient())


def test_a_stream_can_be_read_in_a_second_event_loop(service, fake):
    fake.default = answer("one two")

    async def read():
        return [text async for text in service.chat_stream("Hello")]

    assert asyncio.run(read()) == asyncio.run(read()) == ["one", " two"]


# ---- what else is odd ---------------------------------------------------------------------------------


def test_a_service_whose_reading_of_usage_fails_still_answers_and_its_row_is_finished(fake):
    class Broken(OllamaService):
        def read_usage(self, raw):
            raise ZeroDivisionError

    response = Broken("m", base_url=fake.base_url).chat("Hello")
    assert (response.content, response.usage.source) == ("Hello from the fake.", "estimated")
    assert list(rows().status) == ["ok"]


def test_two_hundred_without_an_answer_is_no_answer(service, fake):
    for body, says in (({"greeting": "hello"}, "empty response"), ({"detail": "hello"}, '"hello"')):
        fake.default = fakes.status(200, body)
        with pytest.raises(LLMError, match=says) as caught:
            service.chat("Hello")
        assert caught.value.category == "api_error"


def test_a_retry_that_ends_otherwise_tells_how_it_ended(fake):
    fake.reply(fakes.unavailable(), fakes.truncated("one two three", after=2))
    with pytest.raises(LLMError) as caught:
        OllamaService("m", base_url=fake.base_url, max_retries=1).chat("Hello", retry_after_text=False)
    assert (caught.value.category, caught.value.partial.status) == ("truncated", "truncated")


def test_leaving_the_loop_over_a_named_stream_closes_the_connection_too(service, fake):
    fake.default = fakes.drip("word ", every=0.02)
    stream = service.stream("Hello")
    for _ in stream:
        break
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)

    async def read_one():
        named = service.chat_stream("Hello")
        async for _ in named:
            break
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests[-1].closed_by_client, 2)

    asyncio.run(read_one())
    assert stream.response.status == "cancelled"


def test_control_sequences_of_a_servers_error_reach_no_terminal(service, fake):
    fake.default = fakes.error(400, "bad \x1b]0;owned\x07\x1b[2J request")
    with pytest.raises(LLMError) as caught:
        service.chat("Hello")
    assert "\x1b" not in str(caught.value)


def test_an_answer_in_a_table_is_neither_obeyed_nor_typeset(service, fake):
    fake.default = answer("\x1b]0;owned\x07 $\\href{javascript:alert(1)}{x}$")
    service.chat("Hello")
    frame = rows()[["model", "response"]]
    assert "\x1b" not in repr(frame)
    assert "mathjax_ignore" in frame._repr_html_()
