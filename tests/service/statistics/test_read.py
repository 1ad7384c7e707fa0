"""What a statistician's reading of the printed sentences and intervals found wrong."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from ipyllm import assert_no_regression
from ipyllm import statistics as st


def _calls(n=20, repeats=1, **arms):
    """Return calls of each arm, given as a dict of columns."""
    frames = [
        pd.DataFrame(
            {
                "arm": arm,
                "prompt_id": np.repeat(range(n), repeats),
                "status": "ok",
                "arrival_clock": "kernel",
                **columns,
            }
        )
        for arm, columns in arms.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_costs_of_0_have_no_interval_since_a_cost_is_no_share():
    row = st.summarise_arms(_calls(n=5, a={"cost_usd": 0.0})).loc["a"]
    assert row["cost_per_call_usd"] == 0
    assert row[["cost_per_call_usd_low", "cost_per_call_usd_high"]].isna().all()
    assert math.isnan(st.clustered_mean([0.0], binary=False).high)


def test_a_score_is_right_or_wrong_in_all_arms_or_in_none():
    table = st.summarise_arms(_calls(n=4, a={"score_edits": [0, 0, 1, 0]}, b={"score_edits": [7, 3, 9, 2]}))
    hall = st.clustered_mean([0, 0, 1, 0], binary=False)
    assert hall.method == "hall"
    assert table.loc["a", ["score_edits_low", "score_edits_high"]].tolist() == [hall.low, hall.high]


def test_the_plot_of_intervals_has_those_of_the_summary():
    pytest.importorskip("matplotlib")
    from ipyllm.plots import intervals

    calls = _calls(n=4, a={"score_edits": [0, 0, 1, 0]}, b={"score_edits": [7, 3, 9, 2]})
    row = st.summarise_arms(calls).loc["a"]
    drawn = [line.get_xdata() for line in intervals(calls, metric="edits").lines]
    limits = [row["score_edits_low"], row["score_edits_high"]]
    assert any(len(x) == 2 and np.allclose(x, limits) for x in drawn)


def test_no_interval_of_a_cost_reaches_below_0():
    row = st.summarise_arms(_calls(n=2, a={"cost_usd": [0.001, 0.0012]}, b={"cost_usd": [0.002, 0.004]})).loc["b"]
    assert st.clustered_mean([0.002, 0.004]).low < 0
    assert row["cost_per_call_usd_low"] == 0
    assert row["cost_per_call_usd_high"] > 0.004


def test_arms_without_first_times_are_compared_by_total_times():
    calls = _calls(a={"total_s": np.linspace(1, 2, 20)}, b={"total_s": np.linspace(3, 4, 20)})
    assert st.summarise_arms(calls).conclusion.startswith("a is faster in total, with a median of 1.5 s [")
    late = calls.assign(ttft_s=0.5, arrival_clock="process", client_lag_s=0.1, send_delay_s=0.0)
    assert st.summarise_arms(late).conclusion.startswith("a is faster in total")
    timed = calls.assign(ttft_s=[0.1] * 20 + [0.2] * 20)
    assert st.summarise_arms(timed).conclusion.startswith("a is faster to the first token")


@pytest.mark.parametrize(("level", "named"), [(0.95, "95%"), (0.9, "90%")])
def test_a_conclusion_with_intervals_names_their_level(level, named):
    calls = _calls(a={"score_exact": [1] * 12 + [0] * 8}, b={"score_exact": [1] * 18 + [0] * 2})
    conclusion = st.summarise_arms(calls, level=level).conclusion
    assert f" Intervals are at {named}, each by itself; overlapping ones do not mean equal arms" in conclusion
    assert "Intervals are" not in st.summarise_arms(_calls(a={"cost_usd": 0.0}, b={"cost_usd": 0.0})).conclusion


def test_the_gate_says_by_how_much_at_least_a_candidate_is_worse_and_whether_by_too_much():
    before = _calls(n=200, a={"score_x": [4.0, 5.0] * 100})
    options = {"metric": "x", "directions": {"x": True}, "score_range": (1, 5)}
    worse = before.assign(score_x=before["score_x"] - np.array([1.0, 0.0] * 100))
    with pytest.raises(AssertionError, match="became worse by more than is accepted") as beyond:
        assert_no_regression(before, worse, margin=0.2, **options)
    least, most = map(float, re.search(r"at least ([\d.]+) and by at most ([\d.]+);", str(beyond.value)).groups())
    assert 0.2 < least < 0.5 < most
    with pytest.raises(AssertionError, match="became worse, perhaps by more than is accepted") as perhaps:
        assert_no_regression(before, worse, margin=0.5, **options)
    assert f"at least {least:.3g} and by at most {most:.3g}; accepted is 0.5" in str(perhaps.value)
    assert assert_no_regression(before, worse, margin=most + 0.01, **options).sentence.startswith(
        "x did not become worse by more than is accepted: "
    )


def test_a_margin_that_is_a_share_of_0_is_explained():
    free = _calls(n=5, a={"cost_usd": 0.0})
    with pytest.raises(AssertionError, match=r"A share of \$0 is \$0, .* margin=…, in the unit of the metric\.$"):
        assert_no_regression(free, free, metric="cost_usd", margin="5%")
    with pytest.raises(AssertionError, match=r"accepted is \$0\. With a margin of 0 .* margin=…\.$"):
        assert_no_regression(free, free, metric="cost_usd")


def test_the_gate_counts_calls_of_unknown_cost():
    before = _calls(a={"cost_usd": np.linspace(0.001, 0.002, 20)})
    after = before.assign(cost_usd=before["cost_usd"].where(before["prompt_id"] < 10))
    with pytest.raises(
        AssertionError, match=r"over 10 prompts.*The cost of 10 of the candidate's 20 calls is unknown\.$"
    ):
        assert_no_regression(before, after, metric="cost_usd", margin=0.0001)
    with pytest.raises(AssertionError, match=r"The cost of 10 of the baseline's 20 calls is unknown\.$"):
        assert_no_regression(after, before, metric="cost_usd", margin=0.0001)


def test_a_bootstrap_interval_without_a_limit_says_so():
    times = np.random.default_rng(0).lognormal(-1, 0.5, 100)
    times[3] = 200
    slower = times * 1.3 + np.random.default_rng(1).normal(0, 0.02, 100)
    table = st.paired(_calls(n=100, a={"total_s": times}, b={"total_s": slower}), interval="bootstrap", level=0.983)
    row = table.loc[("total_s", "b")]
    assert math.isnan(row["high"])
    assert f"interval from {row['low']:.3g} s upwards, p" in table.conclusion
    assert "–" not in table.conclusion


def test_an_interval_that_relies_on_the_range_of_the_calls_says_so():
    table = st.paired(_calls(n=1, a={"cost_usd": 0.001}, b={"cost_usd": 0.002}))
    assert "the interval of cost per call takes costs to be from $0 to $0.002, as in these calls." in table.notes[0]
    right = st.paired(_calls(n=4, repeats=2, a={"score_exact": 1}, b={"score_exact": 1}))
    assert right["test"].tolist() == ["bounded mean"]
    assert not any("as in these calls" in note for note in right.notes)


def test_equal_values_of_unknown_range_are_not_called_equal_arms():
    conclusion = st.paired(_calls(n=5, a={"score_judge": 5}, b={"score_judge": 5})).conclusion
    assert conclusion == (
        "On judge, b equals a on every prompt; how large their true difference may be is not known from these calls."
    )


def test_failed_calls_are_told_of_the_ended_ones_as_in_the_error_rate():
    status = ["error"] * 9 + ["cancelled"] + ["ok"] * 10
    calls = _calls(a={"score_exact": 1.0}, b={"status": status, "score_exact": [None] * 10 + [1.0] * 10})
    assert "Calls failed (b 9 of 19)" in " ".join(st.summarise_arms(calls).notes)
    assert st.paired(calls).loc[("errors", "b"), "value"] == pytest.approx(9 / 19)
    lost = _calls(n=5, a={"score_exact": 1.0}, b={"status": "error", "score_exact": math.nan})
    assert "would change: b none → 0." in " ".join(st.summarise_arms(lost).notes)


def test_failures_are_not_told_arm_by_arm_if_all_calls_failed():
    notes = " ".join(st.summarise_arms(_calls(n=4, a={"status": "error"}, b={"status": "error"})).notes)
    assert "Calls failed" not in notes
    assert "the answered prompts may be easier" not in notes


def test_pass_at_k_without_enough_answers_says_so():
    calls = _calls(n=3, repeats=2, a={"score_exact": [1, 0] * 3}, b={"score_exact": [1, 1] * 3})
    notes = " ".join(st.summarise_arms(calls, pass_at=(2, 3)).notes)
    assert "No prompt of a and b has 3 answers with a score of exact, so there is no pass@3." in notes
    assert "pass@2" not in notes


def test_a_strength_of_0_has_no_sign():
    votes = pd.DataFrame(
        {"arms": [{"a": "1", "b": "2"}] * 20, "outcome": "tie", "prompt": [f"Question {n}" for n in range(20)]}
    )
    assert "-0 " not in st.ranking(votes).compact().to_string()


def test_arms_stand_in_the_order_that_the_table_names():
    calls = _calls(b={"score_exact": 1.0}, c={"score_exact": 1.0}, a={"score_exact": 1.0})
    assert list(st.summarise_arms(calls).index) == ["b", "c", "a"]
    calls.attrs["arms"] = ["a", "b"]
    assert list(st.summarise_arms(calls).index) == ["a", "b", "c"]
    assert st.paired(calls)["baseline"].unique().tolist() == ["a"]
