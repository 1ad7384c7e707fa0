"""Conclusions and notes below the tables, and how tables are shown and kept."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from tests.service.statistics.simulated import ARMS, calls, one_metric, scored


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
    assert table.conclusion.startswith("On exact, large has the higher mean, 0.")
    assert table.conclusion.split(";")[0][:40] in repr(table).replace("\n", " ")
    html = table._repr_html_()
    assert f">{table.conclusion}</p>" in html
    assert "0.8" in html


def test_an_arms_name_wraps_only_between_its_parts(two):
    table = st.summarise_arms(two.assign(arm=two["arm"] + " · temperature=0"))
    parts = [f'<span style="white-space:nowrap">{text}</span>' for text in ("large ·", "temperature=0")]
    assert f"<th>{' '.join(parts)}</th>" in table._repr_html_()


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
    primary = "All of this on the primary metrics holds together at 95% over 40 prompts, corrected for 16 primary comp"
    assert primary in table.conclusion
    assert table.conclusion.endswith("over 40 prompts, corrected for 32 secondary comparisons.")
    named = st.paired(given, metrics=["exact", "ttft_s"]).conclusion
    assert named.endswith("All of this holds together at 95% over 40 prompts, corrected for 16 comparisons.")
    silent = given[~(given["arm"].eq("arm3") | given["prompt_id"].eq("p7") & given["arm"].eq("arm2"))]
    mute = given[given["arm"].eq("arm3")].assign(score_exact=None)
    conclusion = st.paired(pd.concat([silent, mute])).conclusion
    assert "Scores of exact cannot be compared between arm3 and arm0: arm3 has none." in conclusion
    assert "over 39 to 40 prompts, corrected for 15 primary comparisons." in conclusion


def test_an_arm_whose_times_are_all_unreliable_is_named(two):
    spoilt = two.assign(cold=two["arm"] == "large")
    metrics = ["exact", "ttft_s"]
    conclusion = st.paired(spoilt, "small", metrics=metrics).conclusion
    assert "First-token times cannot be compared between large and small: all of large's were unreliable." in conclusion
    conclusion = st.paired(spoilt, "large", metrics=metrics).conclusion
    assert "First-token times cannot be compared: all of large's were unreliable." in conclusion


def test_a_score_without_a_direction_is_higher_or_lower_and_the_note_says_how_to_declare_one():
    given = one_metric({"score_words": [(10 + i % 3, 20 + i % 5) for i in range(30)]})
    table = st.paired(given)
    assert table["verdict"].item() == "higher"
    assert "better" not in table.conclusion
    assert "pass directions={'words': True}" in table.notes[0]
    assert st.paired(given, directions={"words": False})["verdict"].item() == "worse"


def test_costs_alone_are_compared_and_named():
    table = st.paired(one_metric({"cost_usd": [(0.01 + 0.001 * (i % 4), 0.02) for i in range(12)]}))
    assert table.conclusion.startswith(
        "On cost per call, b is worse than a: higher by $0.0085 over 12 prompts (95% interval "
    )


def test_arms_without_scores_and_times_are_compared_by_their_costs():
    given = scored(a=[None] * 30, b=[None] * 30).assign(cost_usd=[*np.linspace(1, 2, 30), *np.linspace(3, 4, 30)])
    conclusion = st.summarise_arms(given).conclusion
    assert conclusion.startswith("a costs less per call, with a mean of $1.50 [")
    assert conclusion.endswith("; below the interval of b. Intervals are at 95%, each by itself.")


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        (
            {"a": [5, 5, 4, 5], "b": [3, 3, 3, 3]},
            "has the higher mean on s: the mean of an arm is the same for every prompt (3 of b), which gives",
        ),
        (
            {"a": [5, 5, 5, 5], "b": [3, 3, 4, 3]},
            "the mean of an arm is the same for every prompt (5 of a), which gives no interval;",
        ),
        (
            {"a": [5, 5, 4, 5], "b": [4, 4, 3, 4], "c": [3, 3, 3, 3]},
            "; the interval of b overlaps with it; c has no interval.",
        ),
        ({"a": [5], "b": [3]}, "There are too few prompts to tell which arm has the higher mean on s."),
        ({"a": [5], "b": [3], "c": [4]}, "There are too few prompts to tell which arm has the highest mean on s."),
        (
            {"a": [5, 5, 4, 5], "b": [4, 5, 4, 5]},
            "; the interval of b overlaps with it. Intervals are at 95%, each by itself; overlapping",
        ),
        ({"a": [9, 9, 8, 9], "b": [3, 3, 4, 3]}, "On s, a has the higher mean, 8.75 ["),
        ({"a": [9, 9, 8, 9], "b": [3, 3, 4, 3]}, "; above the interval of b."),
        ({"a": [3, 5], "b": [4, 4]}, "On s, a and b have the same mean, 4."),
        ({"a": [3, 5], "b": [3, 5], "c": [1, 2]}, "On s, a and b share the highest mean, 4."),
        ({"a": [3, 5], "b": [4, 4], "c": [1, 2]}, "It cannot be told which arm has the highest mean on s:"),
        ({"a": [3, 5], "b": [None, None]}, "No score, time or cost is known of more than one arm, so they cannot"),
    ],
)
def test_the_conclusion_says_of_intervals_only_what_they_say(arms, says):
    assert says in st.summarise_arms(scored(**arms)).conclusion


def test_one_failed_call_is_told_in_the_singular():
    failed = pd.DataFrame({"arm": ["a"], "status": ["error"], "error_category": ["timeout"]})
    assert st.summarise_arms(failed).conclusion == "The only call failed with timeout: there is nothing to compare."


def _timed(n, **arms):
    return pd.concat(
        pd.DataFrame({"arm": arm, "prompt_id": range(n), "status": "ok", "arrival_clock": "kernel", "ttft_s": times})
        for arm, times in arms.items()
    )


def test_of_times_too_few_for_an_interval_no_arm_is_called_faster():
    few = st.summarise_arms(_timed(4, v1=[0.14, 0.15, 0.14, 0.13], v2=[0.16, 0.17, 0.16, 0.18]))
    assert few.conclusion == "There are too few calls to tell which arm is faster to the first token."
    three = st.summarise_arms(_timed(4, v1=0.14 + np.arange(4) / 100, v2=0.2 + np.arange(4) / 100, v3=0.3))
    assert three.conclusion == "There are too few calls to tell which arm is fastest to the first token."


def test_an_arm_whose_interval_overlaps_has_the_lower_median_but_is_not_called_faster():
    times = np.linspace(0.1, 0.2, 12)
    near = st.summarise_arms(_timed(12, v1=times, v2=times + 0.01)).conclusion
    assert near.startswith("v1 has the lower median time to first token, 0.15 s [")
    assert "; the interval of v2 overlaps with it. " in near
    far = st.summarise_arms(_timed(12, v1=times, v2=times + 1, v3=times + 2)).conclusion
    assert far.startswith("v1 is fastest to the first token, with a median of 0.15 s [")


def test_a_model_that_costs_nothing_is_said_to_without_an_interval():
    given = scored(a=[None] * 9, b=[None] * 9).assign(cost_usd=[0.0] * 9 + [0.001] * 9)
    assert st.summarise_arms(given).conclusion == "a costs nothing."
    given["cost_usd"] = [0.002] * 9 + [0.001] * 9
    assert st.summarise_arms(given).conclusion == (
        "It cannot be told which arm costs less per call: the mean of an arm is the same for every prompt ($0.002 of a "
        "and $0.001 of b), which gives no interval; paired() compares arms prompt by prompt."
    )
    given["cost_usd"] = [0.0] * 5 + [None] * 4 + [0.001] * 9
    assert st.summarise_arms(given).conclusion == "a costs nothing where the cost is known."


def test_answers_to_one_prompt_are_too_few_however_often_it_was_asked():
    given = scored(a=[0.2, 0.4, None, None], b=[0.1, 0.2, 0.3, 0.5]).assign(prompt_id=[0, 0, 1, 1] * 2)
    too_few = "There are too few prompts to tell which arm has the higher mean on s."
    assert st.summarise_arms(given).conclusion == too_few
