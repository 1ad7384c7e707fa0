"""Figures of the summary of arms: what counts, what is unknown, and their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from ipyllm.dataframes.usage import summarise
from ipyllm.errors import LLMError
from ipyllm.text.format import money
from tests.service.statistics.simulated import ARMS, calls, scored


def test_the_summary_agrees_with_summarise_where_both_say_the_same(two):
    ours, theirs = st.summarise_arms(two), summarise(two, "arm")
    for name in ("n", "errors", "left_out", "ttft_p50_s", "ttft_p95_s", "total_p50_s", "output_tps_p50", "cost_usd"):
        assert ours[name].to_dict() == pytest.approx(theirs[name].to_dict()), name
    assert ours["input_tokens"].to_dict() == theirs["input_tokens"].to_dict()


def test_warm_ups_count_for_nothing_and_cold_cached_and_late_calls_not_for_times(two):
    spoilt = two.copy()
    spoilt.loc[0, "warmup"] = True
    spoilt.loc[1, "cold"] = True
    spoilt.loc[2, "cache_hit"] = True
    spoilt["arrival_clock"] = "process"
    spoilt.loc[[0, 1, 2, 3], "ttft_s"] = 1e6
    spoilt.loc[3, "client_lag_s"] = 1e6
    row = st.summarise_arms(spoilt).loc["small"]
    assert (row["n"], row["left_out"], row["score_exact_n"]) == (119, 3, 119)
    # Three of 119 are beyond the 99th percentile, if they count.
    assert st.summarise_arms(spoilt, quantiles=(0.99,)).loc["small", "ttft_p99_s"] < 1
    note = next(note for note in st.summarise_arms(spoilt).notes if "left out" in note)
    assert note == (
        "3 of 239 calls are left out of the latencies: 1 loaded the model first, 1 came from the cache, 1 had a first "
        "token that was read more than 0.01 s late (total times count)."
    )


def test_what_is_cached_costs_nothing_and_does_not_make_a_call_cheaper(two):
    cached = two.copy()
    cached.loc[cached["arm"] == "small", ["cache_hit", "cost_usd"]] = [True, 0.0]
    table = st.summarise_arms(cached)
    assert table.loc["small", "cost_usd"] == 0
    assert pd.isna(table.loc["small", "cost_per_call_usd"])


def test_unknown_costs_and_estimated_tokens_stay_unknown(two):
    table = st.summarise_arms(two.assign(cost_usd=None, usage_source="estimated"))
    assert table["cost_usd"].isna().all()
    assert table["input_tokens"].isna().all()
    assert table["output_tps_p50"].isna().all()


def test_a_cost_that_is_partly_unknown_is_a_lower_bound_and_its_mean_says_of_how_many(two):
    given = two[two["prompt_id"].isin(two["prompt_id"].unique()[:20])].reset_index(drop=True)
    small = given.index[given["arm"] == "small"]
    given["cost_usd"] = 0.016
    given.loc[small[:10], ["cost_usd", "usage_source", "status"]] = [None, None, "cancelled"]
    given.loc[small[:10], ["input_tokens", "output_tokens"]] = None
    table = st.summarise_arms(given)
    n = len(small)
    assert table["cost_unknown"].to_dict() == {"small": 10, "large": 0}
    assert table["uncounted"].to_dict() == {"small": 10, "large": 0}
    assert table["cost_per_call_n"].to_dict() == {"small": n - 10, "large": n}
    shown = table.compact()
    assert shown["cost_usd"].to_dict() == {
        "small": f"≥ {money(0.016 * (n - 10))}, 10 of {n} unknown",
        "large": money(0.016 * n),
    }
    assert shown["cost_per_call_usd"].to_dict() == {"small": f"$0.016, mean of {n - 10} of {n}", "large": "$0.016"}
    assert shown.loc["small", "output_tokens"].startswith("≥ ")
    assert not shown.loc["large", "output_tokens"].startswith("≥ ")
    sentence = (
        f"The cost of 10 of {n} calls of small is unknown: sums of costs are lower bounds, means are of the known ones."
    )
    assert sentence in table.notes
    assert sentence in st.paired(given, baseline="small").notes


def test_costs_that_are_all_known_or_all_unknown_have_no_caveat(two):
    given = two.assign(cost_usd=two["cost_usd"].where(two["arm"] == "large"))
    table = st.summarise_arms(given)
    assert table.compact().loc["small", "cost_usd"] == "–"
    assert not any("lower bounds" in note for note in table.notes)


def test_a_call_that_failed_before_it_cost_anything_does_not_make_an_arm_cheaper(two):
    failed = two.assign(cost_usd=0.02)
    rows = failed.index[failed["arm"] == "small"][:30]
    failed.loc[rows, ["status", "cost_usd", "price_source"]] = ["error", 0.0, "not sent"]
    assert st.summarise_arms(failed).loc["small", "cost_per_call_usd"] == pytest.approx(0.02)


def test_any_quantiles_can_be_asked_for(two):
    table = st.summarise_arms(two, quantiles=(0.5, 0.9, 0.95, 0.99))
    assert {"ttft_p90_s", "ttft_p99_s_low", "total_p99_s_high"} <= set(table.columns)
    assert table.loc["small", "ttft_p90_s"] == pytest.approx(two[two.arm == "small"]["ttft_s"].quantile(0.9))
    (note,) = (note for note in table.notes if "no upper limit" in note)
    assert note == (
        "An interval that ends in … has no upper limit: at 95% it takes more independent calls, 368 for the p99 "
        "(small and large)."
    )


def test_one_note_names_all_quantiles_without_an_upper_limit():
    few = calls(ARMS, prompts=5, repeats=1)
    table = st.summarise_arms(pd.concat([few, calls({"many": (0.5, 0.3)}, prompts=80, repeats=1)]))
    (note,) = (note for note in table.notes if "no upper limit" in note)
    assert note == (
        "An interval that ends in … has no upper limit: at 95% it takes more independent calls, 6 for the p50 "
        "(small and large) and 72 for the p95 (small and large)."
    )
    assert not any("no upper limit" in note for note in st.summarise_arms(calls(ARMS, prompts=400)).notes)


def test_answers_that_were_cut_off_are_counted_apart_empty_ones_too_and_a_note_says_it(two):
    given = two.assign(finish_reason="stop")
    given.loc[[0, 1, 130], "finish_reason"] = "length"
    given.loc[[0], "response"] = ""
    table = st.summarise_arms(given)
    assert table["cut"].to_list() == [2, 1]
    assert table["errors"].to_list() == [0, 0]
    assert (
        "3 answers were cut off at max_tokens (small 2 and large 1), and are scored on exact and similarity as far as "
        "they came: a higher limit may change the result." in table.notes
    )
    unscored = st.summarise_arms(given[["arm", "status", "finish_reason"]].iloc[:1])
    assert "1 answer was cut off at max_tokens (small 1): a higher limit may change the result." in unscored.notes
    assert not any("cut off" in note for note in st.summarise_arms(two.assign(finish_reason=None)).notes)
    assert any("cut off" in note for note in st.paired(given).notes)


def test_costs_have_an_interval_and_a_note_where_few_calls_decide_the_mean():
    rng = np.random.default_rng(4)
    heavy, even = 0.001 * rng.lognormal(0, 2, 60), 0.001 * rng.uniform(1, 2, 60)
    given = scored(a=[None] * 60, b=[None] * 60).assign(cost_usd=[*heavy, *even])
    table = st.summarise_arms(given)
    a = table.loc["a"]
    assert 0 < a["cost_per_call_usd_low"] < a["cost_per_call_usd"] < a["cost_per_call_usd_high"]
    assert a["cost_per_call_usd_high"] - a["cost_per_call_usd"] > a["cost_per_call_usd"] - a["cost_per_call_usd_low"]
    [note] = [note for note in table.notes if note.startswith("A few values far from the others")]
    assert "decide the mean cost per call of a:" in note


def test_pass_at_k_has_a_column_with_an_interval():
    # Three answers to each prompt: none, one, two or all of them right.
    right = {"a": [0, 1, 2, 3] * 5, "b": [3] * 20}
    rows = [(arm, n, i < k) for arm, ks in right.items() for n, k in enumerate(ks) for i in range(3)]
    given = pd.DataFrame(rows, columns=["arm", "prompt_id", "score_exact"]).assign(status="ok")
    table = st.summarise_arms(given, pass_at=(1, 2, 4))
    assert table["score_exact_pass_at_1"].to_list() == pytest.approx(table["score_exact"].to_list())
    # Of two of three: 0, 2/3, 1, 1 (Chen et al. 2021).
    a = table.loc["a"]
    assert a["score_exact_pass_at_2"] == pytest.approx((0 + 2 / 3 + 1 + 1) / 4)
    assert 0.4 < a["score_exact_pass_at_2_low"] < a["score_exact_pass_at_2"] < a["score_exact_pass_at_2_high"] < 1
    assert a["score_exact_pass_at_2_n"] == 20
    assert table.loc["b", "score_exact_pass_at_2_low"] == pytest.approx(st.wilson(1, 20).low)
    assert table["score_exact_pass_at_4"].isna().all()
    with pytest.raises(LLMError, match="pass_at needs a score that is 0 or 1"):
        st.summarise_arms(scored(a=[0.5, 2]), pass_at=(1,))


def test_refusals_are_told_with_their_arms(two):
    assert not any("refus" in note for note in st.summarise_arms(two).notes)
    given = two.assign(refused=False)
    given.loc[[0, 1, 130], "refused"] = True
    notes = st.summarise_arms(given).notes
    assert "3 answers are refusals (small 2 and large 1): they count as answered, with the score given." in notes
    given = given.drop(columns=["score_exact", "score_similarity"])
    given.loc[[1, 130], "refused"] = False
    assert "1 answer is a refusal (small 1): it counts as answered." in st.summarise_arms(given).notes
