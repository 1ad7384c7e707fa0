"""Differences between arms: their tests, intervals and corrections."""

from __future__ import annotations

import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from ipyllm import statistics as st
from ipyllm.statistics.observations import observe
from tests.service.statistics.simulated import calls, one_metric


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
    detectable = observe(two).metric("output_tps").format(speed["detectable"])
    assert table.conclusion.endswith(
        f"; 60 prompts show a true difference of {detectable} or more with a power of 80%."
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


_ALL = ["exact", "similarity", "ttft_s", "total_s", "output_tps", "cost_usd"]


def test_p_and_intervals_are_corrected_for_every_row_of_the_table():
    given = calls({"a": (0.5, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.25)})
    table = st.paired(given, metrics=_ALL)
    assert table["p_adjusted"].to_numpy() == pytest.approx(multipletests(table["p"], method="bonferroni")[1])
    assert table.notes[0].startswith(
        "There are 12 comparisons. Each interval is one of 99.58%, so that all of them hold together at 95%, and "
        "the corrected p (p_adjusted) is 12 times p (Bonferroni)."
    )
    alone = st.paired(given[given["arm"] != "c"], metrics="total_s", level=1 - 0.05 / 12).iloc[0]
    together = table.loc[("total_s", "b")]
    assert (together["low"], together["high"]) == (alone["low"], alone["high"])
    assert together["detectable"] == pytest.approx(alone["detectable"])


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


def test_four_faster_prompts_are_too_few_for_a_finding():
    row = st.paired(one_metric({"ttft_s": [(1.25, 1.0), (1.5, 1.25), (0.75, 0.5), (2.0, 1.75)]})).iloc[0]
    assert row["p"] == 0.125
    assert row["verdict"] == "cannot be told"
    six = st.paired(one_metric({"ttft_s": [(1.25, 1.0)] * 6}))
    assert six["p"].item() == 2 / 2**6
    assert six["verdict"].item() == "better"


def test_an_outlier_does_not_turn_the_verdict_of_the_bootstrap_against_its_own_figures():
    given = one_metric({"ttft_s": [(1.0, 1.1 + 0.002 * i) for i in range(99)] + [(60.0, 1.0)]})
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
    given = one_metric({"ttft_s": [(1.0, 1.1 + 0.01 * i) for i in range(98)] + [(60.0, 1.0)]})
    tested, drawn = st.paired(given), st.paired(given, interval="bootstrap")
    pd.testing.assert_frame_equal(pd.DataFrame(tested), pd.DataFrame(drawn))
    assert drawn["test"].item() == "Wilcoxon"
    assert any("Below 100 prompts, bootstrap intervals are too narrow" in note for note in drawn.notes)
    assert not any("bootstrap" in note for note in tested.notes)
    many = given.assign(total_s=given["ttft_s"])
    more = pd.concat([many, many.assign(prompt_id=many["prompt_id"].map(lambda prompt: f"again {prompt}"))])
    both = st.paired(more, interval="bootstrap", metrics=["ttft_s", "total_s"])
    assert set(both["test"]) == {"Wilcoxon"}
    assert set(st.paired(more, interval="bootstrap", metrics="total_s")["test"]) == {"bootstrap"}
    assert any("Below 200 prompts with 2 comparisons" in note for note in both.notes)


def test_arms_that_agree_everywhere_are_not_declared_equal():
    table = st.paired(one_metric({"score_x": [(1, 1)] * 20}))
    row = table.iloc[0]
    assert (row["n_different"], row["p"], row["verdict"]) == (0, 1, "cannot be told")
    assert row["high"] == pytest.approx(1 - 0.05 ** (1 / 20))  # half of the exact tail, as mid-p counts
    assert table.conclusion == (
        "On x, b equals a on every prompt; their true difference may still lie between -0.139 and 0.139 "
        "(95% interval, p > 0.99)."
    )


def test_a_note_says_where_the_medians_contradict_the_typical_difference():
    pairs = [(1.0, 1.5), (2.0, 2.5), (3.0, 2.9), (4.0, 4.5), (10.0, 10.5)]
    table = st.paired(one_metric({"ttft_s": pairs}))
    row = table.iloc[0]
    assert row["value"] < row["baseline_value"]
    assert row["difference"] > 0
    (note,) = (note for note in table.notes if "median" in note)
    assert note == (
        "On time to first token, b has the lower median (2.9 s, a 3 s) but is estimated to be higher on the same "
        "prompt, by 0.5 s: a difference here compares the arms prompt by prompt, not their medians."
    )
    turned = st.paired(one_metric({"ttft_s": [(second, first) for first, second in pairs]}))
    assert any("b has the higher median (3 s, a 2.9 s) but is estimated to be lower" in note for note in turned.notes)


@pytest.mark.parametrize(
    "pairs",
    [
        [(1.0, 1.5), (2.0, 2.5), (3.0, 3.1), (4.0, 4.5), (10.0, 10.5)],  # both higher
        [(1.0, 1.5), (2.0, 2.5), (3.0, 2.99999), (4.0, 4.5), (10.0, 10.5)],  # the medians are shown as equal
        [(1.0, 1.0)] * 5,
    ],
)
def test_no_note_about_medians_where_nothing_seems_to_contradict(pairs):
    assert not [note for note in st.paired(one_metric({"ttft_s": pairs})).notes if "median" in note]
    assert not [note for note in st.paired(one_metric({"score_s": pairs})).notes if "median" in note]


def test_equal_times_have_no_interval_of_no_width():
    table = st.paired(one_metric({"ttft_s": [(1.0 + n, 1.0 + n) for n in range(20)]}))
    row = table.iloc[0]
    assert (row["difference"], row["p"], row["verdict"]) == (0, 1, "cannot be told")
    assert row[["low", "high"]].isna().all()
    assert table.conclusion == (
        "On time to first token, b equals a on every prompt; how large their true difference may be is not known from "
        "these calls."
    )


def test_a_note_says_where_a_few_prompts_decide_a_mean_difference():
    costs = [(0.001, 0.001 + 0.0001 * (n + 1)) for n in range(29)]
    (note,) = (note for note in st.paired(one_metric({"cost_usd": [*costs, (0.001, 0.2)]})).notes if "decide" in note)
    assert note == (
        "A few prompts far from the others decide the mean difference in cost per call between a and b: the interval "
        "misses the true difference more often than it should."
    )
    assert not any("decide" in note for note in st.paired(one_metric({"cost_usd": costs})).notes)
    grades = [(1.0, 1.0 + (n % 3 == 0)) for n in range(29)]  # the ends of grades are known
    assert not any("decide" in note for note in st.paired(one_metric({"score_s": [*grades, (1.0, 5.0)]})).notes)
