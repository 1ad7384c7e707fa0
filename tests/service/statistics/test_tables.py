"""Figures, conclusions and notes of the tables for simulated calls."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from ipyllm.dataframes.usage import summarise
from ipyllm.text.format import money
from tests.service.statistics.simulated import calls

ARMS = {"small": (0.4, 0.2), "large": (0.8, 0.6)}


@pytest.fixture(scope="module")
def two():
    return calls(ARMS, prompts=60)


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
    spoilt.loc[3, "client_lag_s"] = spoilt.loc[3, "ttft_s"]
    spoilt.loc[[0, 1, 2, 3], "ttft_s"] = 1e6
    spoilt.loc[3, "client_lag_s"] = 1e6
    row = st.summarise_arms(spoilt).loc["small"]
    assert (row["n"], row["left_out"], row["score_exact_n"]) == (119, 3, 119)
    # Three of 119 are beyond the 99th percentile, if they count.
    assert st.summarise_arms(spoilt, quantiles=(0.99,)).loc["small", "ttft_p99_s"] < 1
    note = next(note for note in st.summarise_arms(spoilt).notes if "left out" in note)
    assert note == (
        "3 of 239 calls are left out of the latencies: 1 loaded the model first, 1 came from the cache, 1 were "
        "measured while the event loop lagged by more than 10% of the time to first token."
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
    assert any(
        "The p99 of small and large has no upper confidence limit at 95%: that takes 368" in note
        for note in table.notes
    )


def test_a_clear_difference_is_found_and_told_and_none_is_not(two):
    table = st.paired(two, baseline="small", metrics=["exact", "output_tps"])
    exact, speed = table.loc[("score_exact", "large")], table.loc[("output_tps", "large")]
    assert exact["p_holm"] < 0.001
    assert 0.1 < exact["low"] < exact["difference"] < exact["high"] < 0.6
    assert exact["test"] == "t"
    assert speed["p_holm"] > 0.05
    assert "On exact, large is better than small: higher by 0." in table.conclusion
    assert (
        "On tokens per second, large and small do not differ significantly: the difference lies between"
        in table.conclusion
    )


def test_a_slower_arm_is_worse_although_its_figure_is_higher(two):
    table = st.paired(two, metrics="ttft_s")
    assert table.loc[("ttft_s", "large"), "difference"] == pytest.approx(0.41, abs=0.05)
    assert table.loc[("ttft_s", "large"), "test"] == "Wilcoxon"
    assert "large is worse than small: higher by 0.4" in table.conclusion


def test_one_call_per_prompt_that_is_right_or_wrong_gets_mcnemar(two):
    once = two[two["repeat"] == 0]
    table = st.paired(once, metrics="exact")
    row = table.loc[("score_exact", "large")]
    wide = once.pivot_table(index="prompt_id", columns="arm", values="score_exact", aggfunc="first")
    only_large = int((wide["large"].astype(bool) & ~wide["small"].astype(bool)).sum())
    only_small = int((wide["small"].astype(bool) & ~wide["large"].astype(bool)).sum())
    assert row["test"] == "McNemar"
    assert row["p"] == st.mcnemar(only_large, only_small)
    assert row["difference"] == pytest.approx((only_large - only_small) / 60)
    assert any("Every prompt was asked once" in note for note in table.notes)


def test_p_is_corrected_for_every_row_of_the_table():
    table = st.paired(calls({"a": (0.5, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.25)}))
    assert table["p_holm"].to_numpy() == pytest.approx(st.holm(table["p"]))
    assert f"p_holm is corrected for the {len(table)} comparisons" in table.notes[0]


def test_asking_for_less_is_corrected_less():
    given = calls({"a": (0.5, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.25)})
    one = st.paired(given, metrics="exact").loc[("score_exact", "b"), "p_holm"]
    assert one <= st.paired(given).loc[("score_exact", "b"), "p_holm"]


def test_the_bootstrap_interval_is_about_the_same_where_theory_holds(two):
    student = st.paired(two, metrics="similarity").iloc[0]
    drawn = st.paired(two, metrics="similarity", interval="bootstrap").iloc[0]
    assert drawn["difference"] == pytest.approx(student["difference"])
    assert (drawn["low"], drawn["high"]) == pytest.approx((student["low"], student["high"]), abs=0.01)


def test_the_order_of_rows_and_a_shuffled_index_change_nothing(two):
    shuffled = two.sample(frac=1, random_state=1)
    first = st.paired(two, "small")
    second = st.paired(shuffled, "small")
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(second))


def test_arms_without_a_name_are_the_models(two):
    assert list(st.summarise_arms(two.drop(columns="arm")).index) == ["small", "large"]


def test_a_failed_call_is_left_out_and_what_that_hides_is_said(two):
    failing = two.copy()
    lost = failing["arm"].eq("large") & failing["score_exact"].eq(False)
    failing.loc[lost, ["status", "error_category"]] = ["error", "timeout"]
    failing["score_exact"] = failing["score_exact"].astype(object).mask(lost)
    table = st.summarise_arms(failing)
    assert table.loc["large", "score_exact"] == 1
    note = next(note for note in table.notes if "failed" in note)
    assert "probably not at random" in note
    assert f"exact would fall: large 1 → {two[two.arm == 'large'].score_exact.mean():.3g}" in note
    flattering = st.paired(failing, metrics="exact").iloc[0]["difference"]
    honest = st.paired(failing, metrics="exact", failures="zero").iloc[0]["difference"]
    assert flattering > honest + 0.1
    assert honest == pytest.approx(st.paired(two, metrics="exact").iloc[0]["difference"])


def test_arms_that_answered_different_prompts_are_not_compared_silently(two):
    uneven = two[~(two["arm"].eq("large") & two["prompt_id"].isin([f"p{i}" for i in range(20)]))]
    note = st.summarise_arms(uneven).notes[0]
    assert note.startswith("Not all arms got the same prompts: large (40 of 60).")
    assert "40 prompts went to all" in note
    assert st.paired(uneven, metrics="exact").iloc[0]["n_pairs"] == 40


def test_simpsons_paradox_is_told():
    # `a` is better on easy and on hard prompts, but got mostly hard ones.
    rows = [("a", f"hard{i}", i < 60) for i in range(100)] + [("a", f"easy{i}", True) for i in range(10)]
    rows += [("b", f"hard{i}", i < 5) for i in range(10)] + [("b", f"easy{i}", i < 95) for i in range(100)]
    given = pd.DataFrame(rows, columns=["arm", "prompt_id", "score_exact"]).assign(status="ok")
    table = st.summarise_arms(given)
    assert table.loc["b", "score_exact"] > table.loc["a", "score_exact"]
    assert (
        "On exact, b is ahead of a over all calls (0.909 against 0.636) but behind on the 20 prompts that both "
        "answered (0.75 against 1)" in " ".join(table.notes)
    )


def test_few_prompts_are_called_few():
    assert any("Only 5 prompts" in note for note in st.summarise_arms(calls(ARMS, prompts=5)).notes)
    assert not any("Only" in note for note in st.summarise_arms(calls(ARMS, prompts=20)).notes)


def test_answers_without_a_score_and_calls_without_an_end_are_counted(two):
    given = two.copy()
    given["score_exact"] = given["score_exact"].astype(object)
    given.loc[[0, 1], "score_exact"] = None
    given.loc[5, "status"] = "cancelled"
    notes = " ".join(st.summarise_arms(given).notes)
    assert "2 answers of 239 have no exact and are left out." in notes
    assert "1 call has not ended, or was cancelled" in notes


def test_texts_of_judges_are_no_scores(two):
    beside = {"score_exact_reason": "because", "score_exact_error": None, "score_similarity_reason": float("nan")}
    table = st.summarise_arms(two.assign(**beside))
    assert not any(column.endswith(("reason", "error")) for column in table.columns)


def test_the_conclusion_stands_below_the_table_in_text_and_in_html(two):
    table = st.summarise_arms(two)
    assert table.conclusion.startswith("On exact large has the highest mean, 0.")
    assert table.conclusion.split(";")[0][:40] in repr(table).replace("\n", " ")
    html = table._repr_html_()
    assert f">{table.conclusion}</p>" in html
    assert "0.8" in html


def test_values_are_shown_with_their_intervals_and_kept_as_numbers(two):
    table = st.summarise_arms(two)
    assert table.compact().loc["small", "ttft_p50_s"].count("[") == 1
    assert "ttft_p50_s_low" not in table.compact().columns
    assert table["ttft_p50_s_low"].dtype == np.float64


def test_an_arms_name_cannot_put_markup_or_escape_sequences_below_the_table(two):
    evil = two.assign(arm=two["arm"].replace("large", "<script>alert(1)</script>\x1b]0;gotcha\x07"))
    table = st.summarise_arms(evil)
    assert "<script" not in table._repr_html_()
    assert "\x1b" not in repr(table)
    assert "\x1b" not in table.conclusion


def test_a_part_of_a_table_does_not_carry_the_conclusion_of_the_whole(two):
    table = st.paired(two)
    assert not hasattr(table[table["p"] < 0.05], "conclusion")
    assert "conclusion" not in repr(table.head(1))


def test_a_table_survives_pickling_with_its_conclusion(two):
    table = st.summarise_arms(two)
    again = pickle.loads(pickle.dumps(table))
    assert again.conclusion == table.conclusion
    assert again.notes == table.notes
    assert repr(again) == repr(table)


def test_results_are_taken_as_well_as_their_calls(two):
    class Results:
        calls = two

    assert st.summarise_arms(Results()).conclusion == st.summarise_arms(two).conclusion


def test_many_arms_are_told_of_in_one_sentence_per_metric():
    arms = {f"arm{i}": (0.3 + 0.05 * i, 0.2 + 0.05 * i) for i in range(9)}
    table = st.paired(calls(arms))
    assert table.conclusion.count(".") < 10
    assert (
        "are not significantly different from arm0" in table.conclusion
        or "is not significantly different from arm0" in table.conclusion
    )


def test_an_arm_whose_times_are_all_unreliable_is_named(two):
    spoilt = two.assign(cold=two["arm"] == "large")
    metrics = ["exact", "ttft_s"]
    conclusion = st.paired(spoilt, "small", metrics=metrics).conclusion
    assert "First-token times cannot be compared between large and small: all of large's were unreliable." in conclusion
    conclusion = st.paired(spoilt, "large", metrics=metrics).conclusion
    assert "First-token times cannot be compared: all of large's were unreliable." in conclusion
