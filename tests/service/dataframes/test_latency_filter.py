"""Which calls count in which latency, and that the rule does not shift what it lets through."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ipyllm.dataframes.latency_filter import (
    as_of_older_version,
    counts_in_latency,
    left_out_late,
    mostly_late,
)
from ipyllm.dataframes.reasoning import first_time, reasoned
from ipyllm.dataframes.usage import summarise
from ipyllm.timing import MAX_READ_DELAY_S

METRICS = ("ttft_s", "ttfo_s", "thinking_s", "total_s", "output_tps")


def _calls(n=1, **columns):
    return pd.DataFrame({"model": "a", "status": "ok", "ttft_s": np.full(n, 0.3)} | columns)


def _measured(rng, lag_s, *, truth_s=None, clock="process", n=20_000):
    """Return calls whose first token was read ``lag_s`` after its arrival, and the true times to first token."""
    truth_s = rng.lognormal(-1.6, 0.6, n) if truth_s is None else truth_s
    read_s = truth_s if clock == "kernel" else truth_s + lag_s
    return _calls(n, ttft_s=read_s, client_lag_s=lag_s, arrival_clock=clock), truth_s


@pytest.mark.parametrize("scale_s", [0.002, 0.02, 0.2])
def test_the_median_of_the_calls_that_count_is_the_true_one_however_late_calls_are_read(scale_s):
    rng = np.random.default_rng(1)
    frame, truth_s = _measured(rng, rng.exponential(scale_s, 20_000))
    kept = frame["ttft_s"][counts_in_latency(frame, "ttft_s")]
    assert len(kept) > 500
    assert kept.median() == pytest.approx(np.median(truth_s), abs=0.006 + 3 * 0.4 / len(kept) ** 0.5)
    for q in (0.1, 0.9):
        assert kept.quantile(q) == pytest.approx(np.quantile(truth_s, q), rel=0.2)


def test_a_bound_that_grew_with_the_latency_would_keep_the_slow_calls_only():
    rng = np.random.default_rng(2)
    lag_s = rng.choice([0.002, 0.03], 20_000)
    frame, truth_s = _measured(rng, lag_s, truth_s=rng.lognormal(-1.6, 0.9, 20_000))
    share_of_latency = frame["ttft_s"][frame["client_lag_s"] <= 0.1 * frame["ttft_s"]].median()
    ours = frame["ttft_s"][counts_in_latency(frame, "ttft_s")].median()
    assert share_of_latency / np.median(truth_s) > 1.2
    assert ours / np.median(truth_s) == pytest.approx(1, abs=0.05)


def test_with_the_kernels_time_stamps_lag_leaves_no_call_out():
    rng = np.random.default_rng(3)
    frame, truth_s = _measured(rng, rng.exponential(0.2, 20_000), clock="kernel")
    assert counts_in_latency(frame, "ttft_s").all()
    assert summarise(frame).loc["a", "ttft_p50_s"] == pytest.approx(np.median(truth_s))
    assert summarise(frame).loc["a", "left_out"] == 0


def test_lag_counts_by_metric_and_only_from_the_arrival_to_the_reading():
    late = _calls(arrival_clock="process", client_lag_s=0.2)
    assert [counts_in_latency(late, metric).item() for metric in METRICS] == [False, False, False, True, False]
    sent_late = late.assign(send_delay_s=0.195)
    assert all(counts_in_latency(sent_late, metric).item() for metric in METRICS), "a late start is in no latency"
    at_the_bound = late.assign(client_lag_s=[MAX_READ_DELAY_S])
    assert counts_in_latency(at_the_bound, "ttft_s").item()


@pytest.mark.parametrize("flag", ["cold", "cache_hit", "warmup"])
def test_a_call_that_did_other_work_counts_in_no_latency(flag):
    frame = _calls(3, **{flag: pd.array([True, False, None], dtype="boolean")})
    for metric in METRICS:
        assert counts_in_latency(frame, metric).tolist() == [False, True, True]


def test_a_call_that_failed_has_a_first_token_but_no_total_and_an_estimate_no_rate():
    frame = _calls(2, status=["truncated", "ok"], usage_source=["server", "estimated"])
    counts = {metric: counts_in_latency(frame, metric).tolist() for metric in METRICS}
    assert counts["ttft_s"] == counts["ttfo_s"] == [True, True]
    assert counts["total_s"] == counts["thinking_s"] == [False, True]
    assert counts["output_tps"] == [False, False]


def test_calls_of_older_versions_all_count_and_can_be_told():
    """Their lag is the longest of a whole call: a bound on it would leave out the long calls."""
    rng = np.random.default_rng(4)
    truth_s = rng.lognormal(-1, 0.8, 20_000)
    seconds_between_delays = 1.0
    was_late = rng.random(20_000) < 1 - np.exp(-truth_s / seconds_between_delays)
    frame = _calls(20_000, ttft_s=truth_s, client_lag_s=np.where(was_late, 0.05, 0.001), arrival_clock=None)
    assert counts_in_latency(frame, "ttft_s").all()
    assert (as_of_older_version(frame) == was_late).all()
    assert frame["ttft_s"][~was_late].median() < 0.8 * np.median(truth_s), "what a bound would do"
    assert not as_of_older_version(frame.assign(arrival_clock="process")).any()
    assert not as_of_older_version(frame.drop(columns="client_lag_s")).any()


def test_no_quantile_is_shown_where_most_calls_were_measured_late():
    lags = [0.2, 0.2, 0.2, 0.001, 0.001]
    frame = _calls(5, ttft_s=[9.0, 9.0, 9.0, 1.0, 2.0], total_s=3.0, client_lag_s=lags, arrival_clock="process")
    row = summarise(frame).loc["a"]
    assert (row["n"], row["left_out"]) == (5, 3)
    assert pd.isna(row["ttft_p50_s"])
    assert pd.isna(row["ttft_p95_s"])
    assert row["total_p50_s"] == 3.0, "the total is the time that the user waited"
    assert summarise(frame[1:]).loc["a", "ttft_p50_s"] == 1.5, "half of them is not most of them"
    assert left_out_late(frame, "ttft_s").sum() == 3
    cached = frame.assign(cache_hit=[True, True, True, False, False])
    assert summarise(cached).loc["a", "ttft_p50_s"] == 1.5, "from the cache, not late"
    assert not left_out_late(frame.assign(ttft_s=np.nan), "ttft_s").any(), "nothing was measured"
    assert mostly_late(2, 1)
    assert not mostly_late(1, 1)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"reasoning_tokens": [0, 5]}, [False, True]),
        ({"output_tokens": [50, 550], "visible_tokens": [50, 50]}, [False, True]),
        ({"thinking_s": [np.nan, 0.5]}, [False, True]),
        ({"reasoning": [None, "Hm."]}, [False, True]),
        ({"reasoning": ["", "Hm."]}, [False, True]),
        ({}, [False, False]),
    ],
)
def test_reasoning_is_known_by_any_of_its_traces(columns, expected):
    assert reasoned(pd.DataFrame({"model": ["a", "b"]} | columns)).tolist() == expected


def test_first_times_are_compared_to_the_visible_text_where_a_model_reasons():
    none, some = pd.Series([False, False]), pd.Series([False, True])
    known, unknown = pd.Series([0.5, 1.5]), pd.Series([np.nan, np.nan])
    assert first_time(none, known) == "ttft_s"
    assert first_time(some, known) == "ttfo_s"
    assert first_time(some, unknown) == "ttft_s"


def test_a_summary_has_the_times_of_reasoning_and_the_tokens_that_were_visible():
    frame = _calls(
        2,
        ttft_s=[0.2, 0.4],
        ttfo_s=[1.2, 1.4],
        thinking_s=[1.0, 1.0],
        output_tokens=[550, 450],
        visible_tokens=[50, 50],
        usage_source="server",
    )
    row = summarise(frame).loc["a"]
    assert (row["ttfo_p50_s"], row["thinking_p50_s"]) == (pytest.approx(1.3), 1.0)
    assert (row["output_tokens"], row["visible_tokens"]) == (1000, 100)
