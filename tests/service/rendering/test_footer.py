"""The line under an answer shows what is known, and marks estimates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm.rendering import footer_html, footer_markdown, footer_text
from ipyllm.response import ChatResponse, Usage
from ipyllm.timing import Timing

TIMING = Timing(ttft_s=0.08, total_s=1.21, output_tps=101.4, attempts=1)
COUNTED = Usage(input_tokens=36, output_tokens=120, source="server")


def footer(**fields):
    return footer_text(ChatResponse(**{"model": "a/b", "timing": TIMING, "usage": COUNTED} | fields))


def test_a_call_in_one_line():
    assert footer(cost_usd=0.00012) == ("a/b · first token 0.08 s · 1.21 s · 36 → 120 tokens · 101 tokens/s · $0.00012")


def test_no_rate_is_told_of_tokens_that_came_at_once():
    assert "tokens/s" not in footer(timing=replace(TIMING, e2e_s=0.08001, output_tps=30_000_000.0))
    assert "tokens/s" in footer(timing=replace(TIMING, e2e_s=0.1))


def test_what_is_unknown_is_left_out():
    assert footer_text(ChatResponse(model="a/b")) == "a/b"
    assert footer_text(ChatResponse()) == ""
    assert "$" not in footer(cost_usd=None)
    assert "free" not in footer(cost_usd=None)


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (Usage(input_tokens=5, source="server"), "5 tokens in"),
        (Usage(output_tokens=5, source="server"), "5 tokens out"),
        (Usage(input_tokens=1500, output_tokens=0, source="server"), "1,500 → 0 tokens"),
        (Usage(), None),
    ],
)
def test_a_count_is_shown_only_where_there_is_one(usage, said):
    assert ("tokens" in footer(usage=usage, timing=Timing())) == bool(said)
    assert (said or "a/b") in footer(usage=usage)


def test_a_local_model_is_free():
    assert footer(cost_usd=0.0).endswith(" · free")


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"input_tokens_estimated": 36, "output_tokens_estimated": 1200}, "~36 → ~1,200 tokens"),
        ({"input_tokens": 36, "output_tokens_estimated": 120}, "36 → ~120 tokens"),
        ({"output_tokens_estimated": 120}, "~120 tokens out"),
    ],
)
def test_an_estimate_is_marked(usage, said):
    assert footer(usage=Usage(**usage), timing=Timing()).endswith(f" · {said}")


def test_tokens_and_cost_of_an_answer_with_tools_are_those_of_all_its_calls():
    steps = [ChatResponse(usage=COUNTED, cost_usd=0.01), ChatResponse(usage=COUNTED, cost_usd=0.02)]
    line = footer(steps=tuple(steps), cost_usd=0.02)
    assert line.endswith(" · 2 calls · 72 → 240 tokens · 101 tokens/s · $0.03")


def test_a_sum_without_an_unknown_part_is_a_lower_bound_and_says_so():
    unknown = ChatResponse(usage=Usage(output_tokens_estimated=50, source="estimated"))
    line = footer(steps=(ChatResponse(usage=COUNTED, cost_usd=0.01), unknown), cost_usd=None, timing=Timing())
    assert line.endswith(" · 2 calls · ≥ 36 → 120 tokens, 1 of 2 not counted · ≥ $0.01, 1 of 2 unknown")
    assert "$" not in footer(steps=(unknown, unknown), cost_usd=None)


def test_a_last_call_that_was_never_sent_does_not_hide_what_the_others_cost():
    refused = ChatResponse(usage=Usage(), cost_usd=0.0, price_source="not sent")
    steps = (ChatResponse(usage=COUNTED, cost_usd=0.01), refused)
    line = footer(steps=steps, usage=Usage(), cost_usd=0.0, price_source="not sent", timing=Timing())
    assert line.endswith(" · 2 calls · 36 → 120 tokens · $0.01")


def test_a_call_that_was_never_sent_is_not_called_free():
    line = footer(status="error", usage=Usage(), cost_usd=0.0, price_source="not sent", timing=Timing())
    assert line.endswith(" · not sent")
    line = footer(status="error", usage=Usage(), cost_usd=0.0, price_source="refused", timing=Timing())
    assert "free" not in line


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "truncated"}, "connection lost"),
        ({"status": "error"}, "error"),
        ({"status": "error", "error_category": "rate_limit"}, "error (rate limit)"),
        ({"status": "running"}, "still running"),
        ({"status": "interrupted"}, "interrupted: its process ended"),
        ({"finish_reason": "length", "content": "One tw"}, "stopped at max_tokens"),
        ({"finish_reason": "length"}, "stopped at max_tokens before the answer began"),
        ({"refused": True}, "refused"),
        ({"finish_reason": "content_filter"}, "stopped by the content filter"),
    ],
)
def test_what_went_wrong_is_said_first(fields, words):
    assert footer(**fields).startswith(f"{words} · a/b · ")


@pytest.mark.parametrize(("status", "said"), [("error", ""), ("truncated", ""), ("cancelled", "cancelled · ")])
def test_a_failure_that_is_said_beside_the_line_is_not_repeated_in_it(status, said):
    category = "rate_limit" if status == "error" else None
    response = ChatResponse(model="a/b", status=status, error_category=category)
    lines = [draw(response, error_shown=True) for draw in (footer_text, footer_html, footer_markdown)]
    assert all(f"{said}a/b" in line for line in lines)
    assert not any(word in " ".join(lines) for word in ("error (", "connection lost"))


def test_an_ordinary_end_is_not_worth_a_word():
    assert footer(finish_reason="stop") == footer()


def test_what_distorts_the_figures_is_said():
    assert " · model load included · " in footer(cold=True)
    assert " · 2 attempts · " in footer(timing=Timing(ttft_s=0.08, total_s=3.0, attempts=2))
    assert " · from the cache · " in footer(cache_hit=True)


def test_our_own_lag_is_said_when_it_matters():
    late = Timing(ttft_s=0.08, total_s=1.0, client_lag_s=0.02, arrival_clock="process")
    assert "first token 0.08 s ±0.02 s ·" in footer(timing=late)
    assert "first token 8.00 s ±0.02 s ·" in footer(timing=replace(late, ttft_s=8.0)), "whatever the time is"
    assert "±" not in footer(timing=replace(late, client_lag_s=0.008))
    assert "±" not in footer(timing=replace(late, send_delay_s=0.015)), "no latency contains it"
    assert "±" not in footer(timing=replace(late, arrival_clock="kernel")), "the kernel's time stamp is right"
    assert "±" not in footer(timing=replace(late, arrival_clock=None))


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        ({"attempts": 2}, "first token 0.30 s after 29.6 s of waiting · 30.9 s · 2 attempts"),
        ({"attempts": 1, "queue_s": 29.6}, "first token 0.30 s · 30.9 s"),
        ({"attempts": 2, "streamed": False}, "whole answer 0.30 s after 29.6 s of waiting · 30.9 s · 2 attempts"),
        ({"attempts": 2, "ttfo_s": 0.9}, "first token 0.30 s after 29.6 s of waiting · first text 0.90 s · 30.9 s"),
    ],
)
def test_what_was_waited_before_the_answered_request_is_said(timing, said):
    fields = {"ttft_s": 0.3, "connect_s": 0.1, "stream_end_s": 1.2, "total_s": 30.9, **timing}
    assert said in footer(timing=Timing(**fields))


def test_reasoning_has_its_time_and_the_first_visible_text_too():
    streamed = Timing(ttft_s=0.2, ttfo_s=1.3, thinking_s=1.0, total_s=2.0, streamed=True)
    assert " · first token 0.20 s · thought 1.00 s · first text 1.30 s · 2.00 s" in footer(timing=streamed)
    hidden = replace(streamed, ttft_s=1.3, thinking_s=1.3)
    assert " · first token 1.30 s after hidden reasoning · 2.00 s" in footer(timing=hidden)
    calls_a_tool_first = replace(streamed, thinking_s=None)
    assert " · first token 0.20 s · first text 1.30 s · 2.00 s" in footer(timing=calls_a_tool_first)
    plain = replace(streamed, ttfo_s=0.2, thinking_s=None)
    assert " · first token 0.20 s · 2.00 s" in footer(timing=plain)


def test_an_answer_that_came_whole_has_no_first_token():
    whole = Timing(ttft_s=1.3, ttfo_s=1.3, total_s=1.4, streamed=False)
    assert " · whole answer 1.30 s · 1.40 s" in footer(timing=whole)
    assert "first token" not in footer(timing=whole)


def test_a_model_name_is_text():
    assert footer_text(ChatResponse(model="a\x1b[2J\nb")) == "a b"
    assert "&lt;script&gt;" in footer_html(ChatResponse(model="<script>"))
