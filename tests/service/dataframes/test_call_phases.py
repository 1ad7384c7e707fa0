"""The phases of a call add up to its time, whatever of it is known."""

import random

import pandas as pd
import pytest

from ipyllm.dataframes.call_phases import call_phases


def lengths(**row):
    return {phase.name: round(phase.length_s, 6) for phase in call_phases(row)}


def test_a_cold_call_waits_in_the_queue_and_a_retried_one_for_its_retries():
    assert lengths(queue_s=2.0, ttft_s=0.5, ttfo_s=0.5, e2e_s=1.5, total_s=4.0) == {
        "queue": 2.0,
        "wait": 0.5,
        "answer": 1.0,
    }
    assert lengths(attempts=3, connect_s=0.1, ttft_s=0.5, e2e_s=1.0, stream_end_s=1.1, total_s=4.2) == {
        "retries": 3.0,
        "send": 0.1,
        "wait": 0.5,
        "answer": 0.5,
        "end": 0.1,
    }


def test_streamed_thinking_follows_the_first_token_and_hidden_thinking_precedes_it():
    assert lengths(ttft_s=0.5, thinking_s=2.0, ttfo_s=2.6, e2e_s=3.0) == {"wait": 0.5, "thinking": 2.1, "answer": 0.4}
    assert lengths(ttft_s=2.0, thinking_s=2.0, ttfo_s=2.0, e2e_s=3.0) == {"thinking": 2.0, "answer": 1.0}
    # Only reasoning came, then the call was cut off.
    assert lengths(ttft_s=0.5, thinking_s=1.5, e2e_s=2.0) == {"wait": 0.5, "thinking": 1.5}


def test_a_call_that_failed_before_its_first_token_only_waited():
    assert lengths(queue_s=0.5, total_s=3.0, attempts=1) == {"queue": 0.5, "wait": 2.5}
    assert call_phases({"ttft_s": None, "total_s": pd.NA, "e2e_s": float("nan")}) == ()


@pytest.mark.parametrize("seed", range(20))
def test_phases_follow_one_another_without_a_gap(seed):
    rng = random.Random(seed)
    first = rng.uniform(0.1, 2)
    row = {"ttft_s": first, "e2e_s": first + rng.uniform(0, 5), "attempts": rng.choice([1, 2])}
    for name in ("queue_s", "connect_s", "send_delay_s", "thinking_s", "total_s"):
        row[name] = rng.choice([None, rng.uniform(0, 3)])
    phases = call_phases(row)
    end = 0.0
    for phase in phases:
        assert phase.start_s == pytest.approx(end)
        assert phase.length_s > 0
        end += phase.length_s
    before = sum(row[name] or 0 for name in ("queue_s", "connect_s", "send_delay_s"))
    expected = before + row["e2e_s"]
    assert end == pytest.approx(max(expected, row["total_s"] or 0) if row["attempts"] == 2 else expected)
