"""Figures, conclusions and notes of the tables for simulated calls."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from ipyllm import statistics as st
from ipyllm.dataframes.usage import summarise
from ipyllm.errors import LLMError
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
    assert any(
        "The p99 of small and large has no upper confidence limit at 95%: that takes 368" in note
        for note in table.notes
    )


def test_a_clear_difference_is_found_and_told_and_none_is_not(two):
    table = st.paired(two, baseline="small", metrics=["exact", "output_tps"])
    exact, speed = table.loc[("score_exact", "large")], table.loc[("output_tps", "large")]
    assert exact["p_adjusted"] < 0.001
    assert 0.1 < exact["low"] < exact["difference"] < exact["high"] < 0.6
    assert (exact["test"], exact["verdict"]) == ("bounded mean", "better")
    assert speed["p_adjusted"] > 0.05
    assert speed["verdict"] == "cannot be told"
    assert "On exact, large is better than small: higher by 0." in table.conclusion
    assert (
        "On tokens per second, it cannot be told whether large or small is better: large minus small lies between"
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
    assert row["p"] == pytest.approx(st.mcnemar(only_large, only_small))
    assert row["n_different"] == only_large + only_small
    assert row["difference"] == pytest.approx((only_large - only_small) / 60)
    assert any("Every prompt was asked once" in note for note in table.notes)


def test_p_and_intervals_are_corrected_for_every_row_of_the_table():
    given = calls({"a": (0.5, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.25)})
    table = st.paired(given)
    assert table["p_adjusted"].to_numpy() == pytest.approx(multipletests(table["p"], method="bonferroni")[1])
    assert table.notes[0].startswith(
        "There are 12 comparisons. Each interval is one of 99.58%, so that all of them hold together at 95%, and "
        "p_adjusted is 12 p (Bonferroni)."
    )
    alone = st.paired(given[given["arm"] != "c"], metrics="total_s", level=1 - 0.05 / 12).iloc[0]
    together = table.loc[("total_s", "b")]
    assert (together["low"], together["high"]) == (alone["low"], alone["high"])


def test_one_comparison_is_not_called_corrected():
    table = st.paired(calls({"a": (0.5, 0.2), "b": (0.9, 0.2)}), metrics="exact", level=0.9)
    assert "(90% interval 0." in table.conclusion
    assert "corrected" not in table.conclusion
    assert not any("Bonferroni" in note for note in table.notes)
    assert table["p_adjusted"].item() == table["p"].item()
    two = st.paired(calls({"a": (0.5, 0.2), "b": (0.9, 0.2)}), metrics=["exact", "ttft_s"]).conclusion
    assert "(simultaneous 95% interval 0." in two
    assert "corrected for 2 comparisons)" in two


def test_asking_for_less_is_corrected_less():
    given = calls({"a": (0.5, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.25)})
    one = st.paired(given, metrics="exact").loc[("score_exact", "b"), "p_adjusted"]
    assert one <= st.paired(given).loc[("score_exact", "b"), "p_adjusted"]


def test_the_bootstrap_interval_is_about_the_same_where_theory_holds():
    many = calls({"small": (0.6, 0.2), "large": (0.8, 0.4)}, prompts=100)
    student = st.paired(many, metrics="similarity").iloc[0]
    drawn = st.paired(many, metrics="similarity", interval="bootstrap").iloc[0]
    assert (student["test"], drawn["test"]) == ("t", "bootstrap")
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
    assert f"the mean exact would change: large 1 → {two[two.arm == 'large'].score_exact.mean():.3g}" in note
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
        "On exact, b is higher than a over all calls (0.909 against 0.636) but lower on the 20 prompts that both "
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
    assert "2 of 239 answers have no score of exact and are left out." in notes
    assert "1 call has not ended, or was cancelled" in notes


def test_texts_of_judges_are_no_scores(two):
    beside = {"score_exact_reason": "because", "score_exact_error": None, "score_similarity_reason": float("nan")}
    table = st.summarise_arms(two.assign(**beside))
    assert not any(column.endswith(("reason", "error")) for column in table.columns)


def test_the_conclusion_stands_below_the_table_in_text_and_in_html(two):
    table = st.summarise_arms(two)
    assert table.conclusion.startswith("On exact, large has the highest mean, 0.")
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
    given = calls(arms)
    table = st.paired(given)
    assert table.conclusion.count(".") < 10
    assert "are not shown to differ from arm0" in table.conclusion
    assert table.conclusion.endswith("All of this holds together at 95% over 40 prompts, corrected for 48 comparisons.")
    silent = given[~(given["arm"].eq("arm3") | given["prompt_id"].eq("p7") & given["arm"].eq("arm2"))]
    mute = given[given["arm"].eq("arm3")].assign(score_exact=None)
    conclusion = st.paired(pd.concat([silent, mute])).conclusion
    assert "Scores of exact cannot be compared between arm3 and arm0: arm3 has none." in conclusion
    assert conclusion.endswith("over 39 to 40 prompts, corrected for 47 comparisons.")


def test_an_arm_whose_times_are_all_unreliable_is_named(two):
    spoilt = two.assign(cold=two["arm"] == "large")
    metrics = ["exact", "ttft_s"]
    conclusion = st.paired(spoilt, "small", metrics=metrics).conclusion
    assert "First-token times cannot be compared between large and small: all of large's were unreliable." in conclusion
    conclusion = st.paired(spoilt, "large", metrics=metrics).conclusion
    assert "First-token times cannot be compared: all of large's were unreliable." in conclusion


def _one_metric(values, **columns):
    """Return calls of the arms ``a`` and ``b``; ``values`` are the pairs of one metric, one for each prompt."""
    (name, pairs) = next(iter(values.items()))
    n = len(pairs)
    both = [first for first, _ in pairs] + [second for _, second in pairs]
    return pd.DataFrame(
        {"arm": ["a"] * n + ["b"] * n, "prompt_id": [*range(n)] * 2, "status": "ok", name: both, **columns}
    )


def test_four_faster_prompts_are_too_few_for_a_finding():
    row = st.paired(_one_metric({"ttft_s": [(1.25, 1.0), (1.5, 1.25), (0.75, 0.5), (2.0, 1.75)]})).iloc[0]
    assert row["p"] == 0.125
    assert row["verdict"] == "cannot be told"
    six = st.paired(_one_metric({"ttft_s": [(1.25, 1.0)] * 6}))
    assert six["p"].item() == 2 / 2**6
    assert six["verdict"].item() == "better"


def test_an_outlier_does_not_turn_the_verdict_of_the_bootstrap_against_its_own_figures():
    given = _one_metric({"ttft_s": [(1.0, 1.1 + 0.002 * i) for i in range(99)] + [(60.0, 1.0)]})
    ranks = st.paired(given).iloc[0]
    assert (ranks["verdict"], ranks["difference"] > 0, ranks["low"] > 0) == ("worse", True, True)
    drawn = st.paired(given, interval="bootstrap")
    row = drawn.iloc[0]
    assert row["difference"] < 0
    assert row["test"] == "bootstrap"
    assert row["verdict"] == "cannot be told"
    assert row["low"] < 0 < row["high"]
    assert row["p"] > 0.05
    assert "b is better" not in drawn.conclusion
    assert "b is worse" not in drawn.conclusion
    assert not any("bootstrap intervals are too narrow" in note for note in drawn.notes)


def test_on_few_prompts_the_test_takes_the_place_of_the_bootstrap_and_a_note_says_so():
    given = _one_metric({"ttft_s": [(1.0, 1.1 + 0.01 * i) for i in range(98)] + [(60.0, 1.0)]})
    tested, drawn = st.paired(given), st.paired(given, interval="bootstrap")
    pd.testing.assert_frame_equal(pd.DataFrame(tested), pd.DataFrame(drawn))
    assert drawn["test"].item() == "Wilcoxon"
    assert any("Below 100 prompts, bootstrap intervals are too narrow" in note for note in drawn.notes)
    assert not any("bootstrap" in note for note in tested.notes)
    many = given.assign(total_s=given["ttft_s"])
    more = pd.concat([many, many.assign(prompt_id=many["prompt_id"].map(lambda prompt: f"again {prompt}"))])
    assert set(st.paired(more, interval="bootstrap")["test"]) == {"Wilcoxon"}
    assert set(st.paired(more, interval="bootstrap", metrics="total_s")["test"]) == {"bootstrap"}
    assert any("Below 200 prompts with 2 comparisons" in note for note in st.paired(more, interval="bootstrap").notes)


def test_arms_that_agree_everywhere_are_not_declared_equal():
    table = st.paired(_one_metric({"score_x": [(1, 1)] * 20}))
    row = table.iloc[0]
    assert (row["n_different"], row["p"], row["verdict"]) == (0, 1, "cannot be told")
    assert row["high"] == pytest.approx(1 - 0.05 ** (1 / 20))  # half of the exact tail, as mid-p counts
    assert table.conclusion == (
        "On x, b equals a on every prompt; their true difference may still lie between -0.139 and 0.139 "
        "(95% interval, p = 1.000)."
    )


def test_a_score_without_a_direction_is_higher_or_lower_and_the_note_says_how_to_declare_one():
    given = _one_metric({"score_words": [(10 + i % 3, 20 + i % 5) for i in range(30)]})
    table = st.paired(given)
    assert table["verdict"].item() == "higher"
    assert "better" not in table.conclusion
    assert "pass directions={'words': True}" in table.notes[0]
    assert st.paired(given, directions={"words": False})["verdict"].item() == "worse"


def test_costs_alone_are_compared_and_named():
    table = st.paired(_one_metric({"cost_usd": [(0.01 + 0.001 * (i % 4), 0.02) for i in range(12)]}))
    assert table.conclusion.startswith(
        "On cost per call, b is worse than a: higher by $0.0085 over 12 prompts (95% interval "
    )


def _scored(**arms):
    """Return one call per prompt and score; NaN for none."""
    rows = [(arm, n, score) for arm, scores in arms.items() for n, score in enumerate(scores)]
    return pd.DataFrame(rows, columns=["arm", "prompt_id", "score_s"]).assign(status="ok")


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
    given = _scored(a=[None] * 60, b=[None] * 60).assign(cost_usd=[*heavy, *even])
    table = st.summarise_arms(given)
    a = table.loc["a"]
    assert 0 < a["cost_per_call_usd_low"] < a["cost_per_call_usd"] < a["cost_per_call_usd_high"]
    assert a["cost_per_call_usd_high"] - a["cost_per_call_usd"] > a["cost_per_call_usd"] - a["cost_per_call_usd_low"]
    [note] = [note for note in table.notes if note.startswith("A few values far from the others")]
    assert "decide the mean cost per call of a:" in note


def test_arms_without_scores_and_times_are_compared_by_their_costs():
    given = _scored(a=[None] * 30, b=[None] * 30).assign(cost_usd=[*np.linspace(1, 2, 30), *np.linspace(3, 4, 30)])
    conclusion = st.summarise_arms(given).conclusion
    assert conclusion.startswith("a costs least per call, with a mean of $1.50 [")
    assert conclusion.endswith("; below the interval of b. Intervals are at 95%, each by itself.")


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ({"a": [5, 5, 4, 5], "b": [3, 3, 3, 3]}, "; b has no limit to compare it with."),
        ({"a": [5, 5, 5, 5], "b": [3, 3, 4, 3]}, "On s, a has the highest mean, 5, without an interval."),
        (
            {"a": [5, 5, 4, 5], "b": [4, 5, 4, 5]},
            "; the interval of b overlaps with it. Intervals are at 95%, each by itself; overlapping",
        ),
        ({"a": [9, 9, 8, 9], "b": [3, 3, 4, 3]}, "; above the interval of b."),
        ({"a": [3, 5], "b": [4, 4]}, "On s, a and b have the same mean, 4."),
        ({"a": [3, 5], "b": [4, 4], "c": [1, 2]}, "On s, a and b share the highest mean, 4."),
        ({"a": [3, 5], "b": [None, None]}, "No score, time or cost is known of more than one arm, so they cannot"),
    ],
)
def test_the_conclusion_says_of_intervals_only_what_they_say(arms, says):
    assert says in st.summarise_arms(_scored(**arms)).conclusion


def test_one_failed_call_is_told_in_the_singular():
    failed = pd.DataFrame({"arm": ["a"], "status": ["error"], "error_category": ["timeout"]})
    assert st.summarise_arms(failed).conclusion == "The only call failed with timeout: there is nothing to compare."


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
        st.summarise_arms(_scored(a=[0.5, 2]), pass_at=(1,))
