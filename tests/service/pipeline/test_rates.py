"""Tests that rates are taken over the tokens that came in the span they are divided by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm import OpenAIService
from ipyllm.pipeline.chat_chunks import ChatAccumulator
from ipyllm.pipeline.token_counts import streamed_tokens, visible_tokens
from ipyllm.response import Usage
from ipyllm.transport.wire_times import Arrival
from tests.fakes import answer
from tests.stalls import again_if_stalled

WORDS = "word " * 50


def counted(output, reasoning=None):
    details = {} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    return {"prompt_tokens": 10, "completion_tokens": output, "total_tokens": 10 + output} | details


@pytest.fixture
def ask(fake):
    service = OpenAIService("m", base_url=fake.base_url)

    def ask(script):
        fake.reply(script)
        return service.chat("Hello")

    return ask


@again_if_stalled(0.002)
def test_hidden_reasoning_is_no_part_of_the_rate(ask):
    response = ask(answer(WORDS, chunks=50, ttft=1.0, gap=0.01, usage=counted(550, reasoning=500)))
    timing = response.timing
    assert timing.output_tps == pytest.approx(100, rel=0.1)
    assert timing.tpot_s == pytest.approx(0.01, rel=0.1)
    assert timing.thinking_s == timing.ttfo_s == pytest.approx(1.0, abs=0.1)
    assert (response.usage.visible_tokens, response.usage.output_tokens) == (50, 550)


@pytest.mark.parametrize("tokens", [3, 40])
@again_if_stalled(0.002)
def test_the_first_token_is_not_counted(ask, fake, tokens):
    timing = ask(answer("word " * tokens, chunks=tokens, gap=0.03)).timing
    sent_ns = fake.requests[-1].sent_ns
    assert timing.output_tps == pytest.approx((tokens - 1) / (sent_ns[tokens - 1] - sent_ns[0]) * 1e9, rel=0.1)
    assert timing.tpot_s == pytest.approx(1 / timing.output_tps)


@pytest.mark.parametrize(("script", "streamed"), [(answer(WORDS, chunks=1), True), (answer(WORDS), False)])
def test_an_answer_in_one_piece_has_no_rate(ask, script, streamed):
    script = replace(script, ttft=0.1, usage=counted(50, reasoning=20), streams=None if streamed else False)
    response = ask(script)
    timing = response.timing
    assert (timing.tpot_s, timing.output_tps) == (None, None)
    assert timing.streamed is streamed
    assert timing.ttft_s >= 0.09
    assert (timing.thinking_s is None) is not streamed, "nothing tells how long an answer in one piece was thought over"
    assert response.usage.visible_tokens == 30


@again_if_stalled(0.002)
def test_streamed_reasoning_is_part_of_the_rate_and_has_its_own_time(ask):
    response = ask(answer("one two", reasoning="first second third fourth", ttft=0.1, gap=0.05))
    timing = response.timing
    assert timing.thinking_s == pytest.approx(0.15, abs=0.03)
    assert timing.output_tps == pytest.approx(20, rel=0.1)
    assert (response.usage.visible_tokens, response.usage.reasoning_tokens) == (2, 4)


def test_an_estimate_is_no_count(ask):
    response = ask(answer(WORDS, gap=0.001, usage=False))
    assert response.usage.visible_tokens is None
    assert response.timing.output_tps is None


def test_a_cached_answer_has_no_latency(fake):
    service = OpenAIService("m", base_url=fake.base_url)
    service.chat("Hello", cache=True)
    hit = service.chat("Hello", cache=True)
    assert hit.cache_hit
    timing = hit.timing
    figures = ("connect_s", "send_delay_s", "ttft_s", "thinking_s", "streamed", "output_tps", "arrival_clock")
    assert [getattr(timing, name) for name in figures] == [None] * len(figures)


def received(text="", reasoning="", **delta):
    accumulator = ChatAccumulator(sent_ns=0)
    for number, fields in enumerate([{"reasoning": reasoning} | delta, {"content": text}]):
        accumulator.feed({"choices": [{"delta": fields}]}, Arrival(number))
    return accumulator


SUMMARY = {"reasoning_details": [{"type": "reasoning.summary", "summary": "I count."}]}


@pytest.mark.parametrize(
    ("output", "reasoning", "got", "visible", "streamed"),
    [
        (50, 0, received(WORDS), 50, 50),
        (50, None, received(WORDS), 50, 50),
        (550, 500, received(WORDS), 50, 50),
        (550, None, received(WORDS), None, None),  # 250 characters are not 550 tokens: it thinks, and does not count it
        (100, 50, received(WORDS, WORDS), 50, 100),
        (100, None, received(WORDS, WORDS), None, 100),
        (550, 500, received(WORDS, "I count."), 50, None),  # a summary of 500 tokens
        (100, 50, received(WORDS, WORDS, **SUMMARY), 50, None),
        (40, 50, received(WORDS), None, None),  # counts that contradict each other
        (40, 50, received(WORDS, WORDS), None, None),
        (None, None, received(WORDS), None, None),
    ],
)
def test_which_tokens_are_visible_and_which_were_streamed(output, reasoning, got, visible, streamed):
    usage = Usage(10, output, reasoning_tokens=reasoning, source="server")
    assert _token_counts(usage, got) == (visible, streamed)
    assert _token_counts(replace(usage, source="estimated"), got) == (None, None)


def _token_counts(usage, got):
    visible = visible_tokens(usage, got)
    return visible, streamed_tokens(replace(usage, visible_tokens=visible), got)


def test_a_tool_call_has_tokens_too():
    got = ChatAccumulator(sent_ns=0)
    called = {
        "index": 0,
        "id": "1",
        "function": {"name": "look_up", "arguments": '{"city": "Bern", "days": [1, 2, 3]}'},
    }
    got.feed({"choices": [{"delta": {"tool_calls": [called]}}]}, Arrival(0))
    assert visible_tokens(Usage(10, 30, source="server"), got) == 30
