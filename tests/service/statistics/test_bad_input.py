"""Input without a valid result is refused in one sentence, without warnings, divisions by zero or nonsense."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.statistics.power import n_needed_within_margin
from tests.service.statistics.simulated import calls

ARMS = {"small": (0.4, 0.2), "large": (0.8, 0.6)}


def _refused(match):
    return pytest.raises(LLMError, match=match)


def test_no_calls_at_all_and_none_but_warm_ups():
    given = calls(ARMS, prompts=2)
    with _refused("^There are no calls, so there is nothing to compare.$"):
        st.summarise_arms(given.iloc[:0])
    with _refused("^There are no calls but warm-ups"):
        st.paired(given.assign(warmup=True))
    with _refused("^calls must be a DataFrame of calls, not list"):
        st.summarise_arms([1, 2])
    with _refused("no column arm or model"):
        st.summarise_arms(pd.DataFrame({"status": ["ok"]}))
    with _refused("no column status"):
        st.summarise_arms(pd.DataFrame({"arm": ["a"]}))


def test_one_arm_only():
    given = calls({"small": (0.5, 0.2)})
    table = st.summarise_arms(given)
    assert table.conclusion.startswith("There is one arm, small: the figures describe it")
    with _refused("^There is only one arm, 'small', so there is nothing to compare it with: run another model"):
        st.paired(given)


def test_a_baseline_or_metric_that_is_not_there():
    given = calls(ARMS, prompts=3)
    with _refused("^There is no arm 'smal'. Did you mean 'small'\\?$"):
        st.paired(given, baseline="smal")
    with _refused("^There is no arm 'xyz'. Choose one of: large, small.$"):
        st.paired(given, baseline="xyz")
    with _refused("^There is no metric 'exat'. Did you mean 'exact'"):
        st.paired(given, metrics="exat")
    with _refused("metrics is empty"):
        st.paired(given, metrics=[])


def test_all_calls_failed():
    given = calls(ARMS, prompts=3).assign(
        status="error", error_category="timeout", ttft_s=None, total_s=None, output_tps=None, cost_usd=None
    )
    given["score_exact"] = None
    given = given.drop(columns="score_similarity")
    summary = st.summarise_arms(given)
    assert summary.conclusion == "All 12 calls failed with timeout: there is nothing to compare."
    assert summary["errors"].to_list() == [6, 6]
    assert pd.isna(summary.loc["small", "ttft_p50_s"])
    pairs = st.paired(given)
    assert pairs.loc[("errors", "large"), "difference"] == 0
    assert "large equals small on every prompt" in pairs.conclusion


def test_no_metric_is_known_of_both():
    given = calls(ARMS, prompts=3)
    given.loc[given["arm"] == "large", ["ttft_s", "total_s", "output_tps", "cost_usd"]] = None
    given = given.drop(columns=["score_exact", "score_similarity"])
    table = st.paired(given)
    assert table.conclusion.startswith("No other arm has results on the same prompts as small")
    assert table["p"].isna().all()


def test_arms_without_a_prompt_in_common():
    given = calls(ARMS, prompts=4)
    given["prompt_id"] = given["arm"] + given["prompt_id"]
    assert st.paired(given).conclusion.startswith("No other arm has results on the same prompts as small")
    assert "0 prompts went to all" in st.summarise_arms(given).notes[0]


def test_zero_variance():
    given = calls(ARMS).assign(score_exact=1, score_similarity=0.7, ttft_s=0.5, total_s=1.0, output_tps=80.0)
    summary = st.summarise_arms(given)
    # Of 40 prompts all right, nobody is certain; a constant that is no share has no interval at all.
    assert summary.loc["small", "score_exact_low"] == pytest.approx(0.912, abs=1e-3)
    assert pd.isna(summary.loc["small", "score_similarity_low"])
    assert "On exact, small and large have the same mean, 1." in summary.conclusion
    pairs = st.paired(given)
    assert pairs["difference"].iloc[:5].to_list() == pytest.approx([0, 0, 0, 0, 0])
    assert (pairs["p"].iloc[:4] == 1).all()
    assert np.isfinite(pairs["effect_size"].iloc[:4]).all()


def test_every_prompt_differs_by_the_same_amount():
    given = calls(ARMS, repeats=1).drop(columns="score_exact")
    given["score_similarity"] = np.where(given["arm"] == "large", 0.3, 0.1)
    table = st.paired(given, metrics="similarity", directions={"similarity": True})
    row = table.iloc[0]
    assert row["difference"] == pytest.approx(0.2)
    # There is no variance to take a t from; but what 40 prompts did not show may still be.
    assert row["test"] == "bounded mean"
    assert 0.05 < row["low"] < 0.2 < row["high"] < 0.35
    assert "On similarity, large is better than small: higher by 0.2 over 40 prompts (95% interval " in table.conclusion


def test_one_prompt_and_one_call():
    given = calls(ARMS, prompts=1, repeats=1)
    summary, pairs = st.summarise_arms(given), st.paired(given)
    assert summary["n"].to_list() == [1, 1]
    assert pairs["n_pairs"].to_list() == [1] * len(pairs)
    assert pairs["p_adjusted"].min() > 0.3
    assert set(pairs["verdict"]) == {"cannot be told"}
    assert "1 prompt is too few to show any difference" in pairs.conclusion


def test_null_scores_everywhere_and_scores_of_one_arm_only():
    given = calls(ARMS)
    given["score_exact"] = math.nan
    given.loc[given["arm"] == "large", "score_similarity"] = math.nan
    summary = st.summarise_arms(given)
    assert summary["score_exact_n"].to_list() == [0, 0]
    assert "similarity" not in summary.conclusion
    pairs = st.paired(given)
    assert "score_exact" not in pairs.index.get_level_values("metric")
    assert pairs.loc[("score_similarity", "large"), "n_pairs"] == 0
    assert "Scores of similarity cannot be compared between large and small: large has none." in pairs.conclusion


def test_an_infinite_value_is_named():
    given = calls(ARMS, prompts=2)
    given.loc[0, "score_similarity"] = math.inf
    with _refused("^Column score_similarity has an infinite value"):
        st.summarise_arms(given)
    with _refused("^Column score_similarity has a value beyond ±1e\\+60, which is too large to compute with"):
        st.summarise_arms(calls(ARMS, prompts=2).assign(score_similarity=1e61))


def test_every_kind_of_dtype_that_calls_come_in():
    given = calls(ARMS, prompts=5)
    nullable = given.convert_dtypes()
    objects = given.astype(object)
    assert st.summarise_arms(nullable).conclusion == st.summarise_arms(given).conclusion
    assert st.summarise_arms(objects).conclusion == st.summarise_arms(given).conclusion
    pd.testing.assert_frame_equal(pd.DataFrame(st.paired(nullable)), pd.DataFrame(st.paired(given)))


def test_numbers_that_are_none():
    for wrong in (0, 1, -0.1, 2):
        with pytest.raises(ValueError, match="a number between 0 and 1"):
            st.quantile_interval([1, 2], wrong)
        with pytest.raises(ValueError, match="a number between 0 and 1"):
            st.summarise_arms(calls(ARMS, prompts=2), level=wrong)
        with pytest.raises(ValueError, match="a number between 0 and 1"):
            st.paired(calls(ARMS, prompts=2), level=wrong)
    with pytest.raises(ValueError, match="correct must be between"):
        st.pass_at_k(3, 4, 1)
    with pytest.raises(ValueError, match="k is between 1 and the number of answers"):
        st.pass_at_k(3, 1, 4)
    with pytest.raises(ValueError, match="difference and sd must be finite and not 0, not 0"):
        st.n_needed(0, sd=1)
    with pytest.raises(ValueError, match="more than a billion"):
        st.n_needed(1e-9, sd=1)
    with pytest.raises(ValueError, match="comparisons must be 1 or more, not 0"):
        st.n_needed(0.1, sd=1, comparisons=0)
    with pytest.raises(ValueError, match="disagreement must be a share between 0 and 1, not 3"):
        st.detectable_by_mcnemar(3, 10)
    with pytest.raises(ValueError, match="margin must be above 0 and below 1, not 1"):
        n_needed_within_margin(1, 0.1, worst=-1)
    with pytest.raises(ValueError, match="All values must lie between 0 and 1"):
        st.bounded_mean([0.5, 2], 0, 1)
    with pytest.raises(ValueError, match=r"method must be 'exact' or 'mid-p', not 'wald'"):
        st.bounded_mean([0.5], 0, 1, method="wald")
    with pytest.raises(ValueError, match="Counts must be 0 or more"):
        st.mcnemar(-1, 3)
    with pytest.raises(ValueError, match=r"method must be .* not 'yates'"):
        st.mcnemar(1, 3, method="yates")
    with pytest.raises(ValueError, match=r"interval must be .* not 'wald'"):
        st.paired(calls(ARMS, prompts=2), interval="wald")
    with pytest.raises(ValueError, match="failures"):
        st.paired(calls(ARMS, prompts=2), failures="drop")


@pytest.mark.parametrize("values", [[], [math.nan, math.nan], [1.0]])
def test_too_little_gives_null_not_an_error(values):
    assert math.isnan(st.quantile_interval(values, 0.5).low)
    assert math.isnan(st.clustered_mean(values).se)
    assert math.isnan(st.paired_t(values).low)
    assert math.isnan(st.hodges_lehmann(values).low)
    assert math.isnan(st.bootstrap_mean(values).low)
    assert math.isnan(st.cohens_dz(values))
    assert math.isnan(st.bounded_mean([math.nan], -1, 1).low)


def test_no_votes_and_votes_that_are_none():
    with _refused("^There are no votes yet, so nothing can be ranked.$"):
        st.ranking(pd.DataFrame({"arms": [], "outcome": []}))
    with _refused("^votes must be a DataFrame of votes, not list"):
        st.ranking([])
    with _refused("no column 'outcome'. Did you mean 'outcom'"):
        st.ranking(pd.DataFrame({"arms": [{"a": 1, "b": 2}], "outcom": ["a"]}))
    with _refused("^'A-model' is not an outcome of this vote. Did you mean 'a-model'"):
        st.ranking(pd.DataFrame({"arms": [{"a-model": 1, "b": 2}], "outcome": ["A-model"]}))
    with _refused("compares at least two arms"):
        st.win_matrix(pd.DataFrame({"arms": [{"a": 1}], "outcome": ["a"]}))
    vote = pd.DataFrame({"arms": [{"a": 1, "b": 2}], "outcome": ["a"]})
    with pytest.raises(ValueError, match="prior_sd must be a number above 0"):
        st.ranking(vote, prior_sd=0)
    with pytest.raises(ValueError, match="level must be a number between 0 and 1, not 95"):
        st.ranking(vote, level=95)
