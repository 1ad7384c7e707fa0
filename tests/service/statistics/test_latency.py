"""Times in the tables: which count, by which metric models that reason are compared, and what the notes say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.statistics.latency_caveats import overlapping
from tests.service.statistics.simulated import calls

ARMS = {"small": (0.4, 0.2), "large": (0.8, 0.6)}


@pytest.fixture
def two():
    return calls(ARMS, prompts=30).assign(model="lab/m")


def _hidden_and_streamed(two):
    """Return calls with equal times to first text: `small` reasons 1 s hidden, `large` streams it from the start."""
    rng = np.random.default_rng(5)
    of_small = (two["arm"] == "small").to_numpy()
    first_text = 1.2 * rng.lognormal(0, 0.1, len(two))
    return two.assign(
        ttft_s=np.where(of_small, first_text, 0.2),
        ttfo_s=first_text,
        thinking_s=np.where(of_small, first_text, first_text - 0.2),
        reasoning_tokens=500,
        output_tokens=550,
        visible_tokens=50,
    )


def _notes(table, *words):
    return [note for note in table.notes if all(word in note for word in words)]


def test_models_that_reason_are_compared_by_their_first_visible_text(two):
    frame = _hidden_and_streamed(two)
    pairs = st.paired(frame)
    assert "ttft_s" not in pairs.index.get_level_values("metric")
    assert pairs.loc[("ttfo_s", "large"), "p"] > 0.01
    assert st.paired(frame, metrics="ttft_s")["p"].item() < 0.001, "which would be a difference of display"
    table = st.summarise_arms(frame)
    assert table.loc["small", "ttfo_p50_s"] == pytest.approx(frame[frame.arm == "small"]["ttfo_s"].median())
    assert table.loc["large", "thinking_p50_s"] == pytest.approx(1.0, abs=0.05)
    assert table["visible_tokens"].tolist() == [50 * 60] * 2
    assert "to first visible text" in table.conclusion
    assert "first token" not in table.conclusion
    for shown in (table, pairs):
        (note,) = _notes(shown, "reason before they answer")
        assert note.startswith("small and large reason before they answer. Hidden reasoning is part of the time to ")
        assert "(ttfo_s)" in note


def test_one_model_that_reasons_among_others_is_enough(two):
    frame = _hidden_and_streamed(two)
    plain = frame["arm"] == "large"
    frame.loc[plain, ["reasoning_tokens", "thinking_s"]] = [0, np.nan]
    frame.loc[plain, "output_tokens"] = 50
    table = st.summarise_arms(frame)
    assert _notes(table, "small reasons before it answers")
    assert np.isnan(table.loc["large", "thinking_p50_s"])


def test_where_no_model_reasons_the_table_is_as_short_as_before(two):
    table = st.summarise_arms(two.assign(ttfo_s=two["ttft_s"], reasoning_tokens=0))
    assert not {"ttfo_p50_s", "thinking_p50_s", "visible_tokens"} & set(table.columns)
    assert "to the first token" in table.conclusion
    assert not _notes(table, "reason")


def test_an_arm_that_was_mostly_measured_late_has_total_times_only_and_the_notes_say_it(two):
    lag = np.where((two["arm"] == "small") & (np.arange(len(two)) % 10 != 0), 0.2, 0.001)
    frame = two.assign(arrival_clock="process", client_lag_s=lag)
    table = st.summarise_arms(frame)
    assert table.loc["small", ["ttft_p50_s", "ttft_p95_s", "output_tps_p50"]].isna().all()
    assert table.loc["small", "total_p50_s"] == pytest.approx(frame[frame.arm == "small"]["total_s"].median())
    assert table.loc["large", "ttft_p50_s"] == pytest.approx(frame[frame.arm == "large"]["ttft_s"].median())
    assert table["left_out"].tolist() == [54, 0]
    assert _notes(table, "54 of 120 calls are left out", "54 had a first token that was read more than 0.01 s late")
    assert _notes(table, "Most calls of small were measured late, so no first times and token rates are shown")
    pairs = st.paired(frame, metrics=["ttft_s", "total_s"])
    assert pairs.loc[("ttft_s", "large"), "n_pairs"] == 0
    assert pairs.loc[("total_s", "large"), "n_pairs"] == 30
    assert "First-token times cannot be compared: most of small's were measured late." in pairs.conclusion


def test_differences_of_calls_measured_late_are_those_of_the_calls_that_were_not():
    """Lag that strikes at random changes no difference, however large it is against the fast arm's times."""
    frame = calls({"fast": (0.5, 0.05), "slow": (0.5, 0.25)}, prompts=200, repeats=1, seed=6)
    rng = np.random.default_rng(7)
    lag = rng.choice([0.0, 0.2], len(frame), p=[0.7, 0.3])
    late = frame.assign(ttft_s=frame["ttft_s"] + lag, client_lag_s=lag, arrival_clock="process")
    true, ours = (st.paired(each, metrics="ttft_s").iloc[0] for each in (frame, late))
    assert ours["difference"] == pytest.approx(true["difference"], abs=0.02)
    assert ours["n_pairs"] == pytest.approx(200 * 0.7**2, abs=25)


def test_whole_answers_are_told_apart(two):
    some = two.assign(streamed=[*[False] * 7, *[True] * (len(two) - 7)])
    assert _notes(st.summarise_arms(some), "7 of 120 answers (small) came whole, not streamed", "of the whole answer")
    assert _notes(st.summarise_arms(two.assign(streamed=False)), "All answers came whole")
    assert not _notes(st.summarise_arms(two.assign(streamed=None)), "whole")
    assert not _notes(st.summarise_arms(two.assign(streamed=True)), "whole")


def test_calls_that_a_time_limit_ended_are_missing_among_the_slow_ones(two):
    limited = two.copy()
    limited.loc[:2, ["status", "error_category"]] = ["error", "timeout"]
    assert _notes(st.summarise_arms(limited), "3 calls (small) ended at a time limit", "the true quantiles are higher")
    failed = limited.assign(error_category=limited["error_category"].replace("timeout", "api_error"))
    assert not _notes(st.summarise_arms(failed), "time limit")


def test_several_attempts_are_said(two):
    assert _notes(st.summarise_arms(two.assign(attempts=[2, *[1] * (len(two) - 1)])), "1 call took several attempts")
    assert not _notes(st.summarise_arms(two.assign(attempts=1)), "attempts")


def test_lag_that_an_older_version_recorded_leaves_nothing_out_but_is_said(two):
    older = two.assign(arrival_clock=None, client_lag_s=[0.4, 0.2, *[0.001] * (len(two) - 2)])
    table = st.summarise_arms(older)
    assert table["left_out"].tolist() == [0, 0]
    assert _notes(table, "2 calls were recorded by an older version of ipyllm", "too long by up to 0.40 s")
    assert not _notes(st.summarise_arms(two), "older version")


def test_calls_in_flight_together_are_found_whatever_their_order():
    at = pd.to_datetime(["2026-01-01T00:00:10", "2026-01-01T00:00:00", "2026-01-01T00:00:04", "2026-01-01T00:00:20"])
    frame = pd.DataFrame({"started_at": at.tz_localize("UTC"), "total_s": [1.0, 30.0, 1.0, None], "queue_s": 0.0})
    assert overlapping(frame).tolist() == [True, True, True, False]
    after_one_another = frame.assign(total_s=[5.0, 4.0, 6.0, 1.0])
    assert not overlapping(after_one_another).any()
    waited = frame[1:3].assign(total_s=[5.0, 9.0], queue_s=[0.0, 1.5])
    assert not overlapping(waited).any(), "the second waited until the first had ended"
    assert overlapping(waited.assign(queue_s=0.0)).all()
    asked_early = waited.assign(queue_s=0.0, send_delay_s=[1.5, 0.0])
    assert not overlapping(asked_early).any(), "its total time began when it was asked, before it was sent"


def test_embedded_models_that_shared_the_cores_are_said(two):
    started = two["started_at"].min()
    together = two.assign(model="local/smollm2-135m", started_at=started, queue_s=0.0)
    assert _notes(st.summarise_arms(together), "120 calls of embedded models ran at the same time as others")
    assert not _notes(st.summarise_arms(together.assign(model="openai/gpt-6-luna")), "embedded")
    apart = started + pd.to_timedelta(np.arange(len(two)) * 60, unit="s")
    assert not _notes(st.summarise_arms(together.assign(started_at=apart)), "embedded")


def test_first_text_and_thinking_can_be_asked_for_by_name(two):
    frame = _hidden_and_streamed(two)
    assert set(st.paired(frame, metrics=["ttfo_s", "thinking_s"]).index.get_level_values("metric")) == {
        "ttfo_s",
        "thinking_s",
    }
    with pytest.raises(LLMError, match="Did you mean 'ttfo_s'"):
        st.paired(frame, metrics="ttfo")
