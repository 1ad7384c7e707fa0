"""The detectable difference of a comparison: it is found in four of five experiments of the same size."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ipyllm import statistics as st
from ipyllm.statistics.detectable import (
    detectable_by_answers,
    detectable_by_interval,
    detectable_by_shares,
    effective_df,
    standard_errors_needed,
)
from ipyllm.statistics.observations import observe
from ipyllm.statistics.pairs import prompt_means

RUNS = 2000
ERROR = 3 * math.sqrt(0.8 * 0.2 / RUNS)


@pytest.mark.parametrize(("n", "alpha"), [(10, 0.05), (10, 0.05 / 28), (30, 0.05 / 8)])
def test_the_next_normal_sample_finds_the_difference_that_one_calls_detectable(n, alpha):
    rng = np.random.default_rng(1)
    t = stats.t.ppf(1 - alpha / 2, n - 1)
    pilot, again = rng.normal(size=(2, RUNS, n))
    detectable = standard_errors_needed(t, n - 1, power=0.8) * pilot.std(axis=1, ddof=1) / math.sqrt(n)
    found = (again.mean(axis=1) + detectable > t * again.std(axis=1, ddof=1) / math.sqrt(n)).mean()
    assert abs(found - 0.8) < ERROR


def test_a_known_standard_deviation_leaves_the_usual_formula():
    usual = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert standard_errors_needed(stats.norm.ppf(0.975), 1e8, power=0.8) == pytest.approx(usual, abs=1e-3)


def test_long_tails_leave_fewer_degrees_of_freedom_and_so_a_larger_detectable_difference():
    even = np.tile([-1.0, 1.0], 20)
    tailed = np.concatenate([even[:38] * 0.5, [-4.0, 4.0]])
    assert effective_df(even) == 39
    excess = stats.kurtosis(tailed, bias=False)
    assert effective_df(tailed) == pytest.approx(39 / (1 + excess / 2))
    assert effective_df(np.zeros(10)) == 9
    found = st.paired_t(tailed)
    se = tailed.std(ddof=1) / math.sqrt(40)
    few, many = (
        detectable_by_interval(found, se, 40, df, alpha=0.05, power=0.8) for df in (effective_df(tailed), 39.0)
    )
    assert few > many > 0


@pytest.mark.parametrize(("n", "alpha"), [(30, 0.05), (30, 0.05 / 8), (100, 0.05)])
def test_mcnemars_test_finds_what_it_calls_detectable_as_wrong_answers_become_right(n, alpha):
    rng = np.random.default_rng(2)
    right, runs = 0.4, 400
    found = 0
    for _ in range(runs):
        pilot, (first, second) = rng.random((2, 2, n)) < right
        detectable = detectable_by_answers(*pilot.astype(float), alpha=alpha, power=0.8)
        better = first | (rng.random(n) < detectable / (1 - right))
        won, lost = int((better & ~second).sum()), int((second & ~better).sum())
        found += won > lost and st.mcnemar(won, lost) <= alpha
    assert 0.8 - 3 * math.sqrt(0.16 / runs) < found / runs < 0.93


@pytest.mark.parametrize(("n", "repeats", "alpha"), [(20, 5, 0.05), (30, 3, 0.05 / 8)])
def test_shares_of_right_answers_find_what_they_call_detectable_as_wrong_answers_become_right(n, repeats, alpha):
    rng = np.random.default_rng(3)
    right, runs, found = 0.4, 120, 0

    def answers():
        return rng.random((2, n, repeats)) < rng.beta(3 * right, 3 * (1 - right), (n, 1))

    for _ in range(runs):
        pilot, (first, second) = answers().mean(axis=2), answers()
        detectable = detectable_by_shares(*pilot, np.full((2, n), repeats), alpha=alpha, power=0.8)
        better = first | (rng.random(first.shape) < detectable / (1 - right))
        d = (better.mean(axis=1) - second.mean(axis=1)).round(9)
        found += st.bounded_mean(d, -1, 1, level=1 - alpha, method="mid-p").low > 0
    assert 0.8 - 2.5 * math.sqrt(0.16 / runs) < found / runs < 0.92


def test_the_detectable_difference_is_the_same_for_either_arm_and_smaller_with_more_repeats():
    rng = np.random.default_rng(4)
    first, second = rng.binomial(4, 0.6, (2, 30)) / 4
    by_calls = [
        detectable_by_shares(*arms, np.full((2, 30), repeats), alpha=0.05, power=0.8)
        for arms, repeats in (
            ((first, second), 4),
            ((second, first), 4),
            ((1 - first, 1 - second), 4),
            ((first, second), 40),
        )
    ]
    assert by_calls[1:3] == pytest.approx([by_calls[0]] * 2, abs=1e-5)
    assert by_calls[3] < by_calls[0]
    assert by_calls[0] > st.bounded_mean(first - second, -1, 1, method="mid-p").high - (first - second).mean()


def test_lognormal_costs_have_about_the_power_that_is_promised_though_their_largest_are_seldom_seen():
    rng = np.random.default_rng(5)
    n, runs = 30, 1000
    t = stats.t.ppf(0.975, n - 1)
    (a, b), (c, d) = rng.lognormal(0, 1, (2, 2, runs, n))
    found = {True: 0, False: 0}
    for pilot, again in zip(a - b, c - d, strict=True):
        for open_scale in found:
            df = effective_df(pilot, open_scale=open_scale)
            detectable = standard_errors_needed(t, df, power=0.8) * pilot.std(ddof=1)
            found[open_scale] += again.mean() * math.sqrt(n) + detectable > t * again.std(ddof=1)
    assert abs(found[True] / runs - 0.81) < 0.03
    assert found[False] / runs < 0.78


def test_a_scale_is_open_where_many_values_differ_and_no_end_is_known():
    rng = np.random.default_rng(6)
    columns = {
        "score_grade": rng.integers(1, 6, 80).astype(float),
        "score_words": rng.integers(1, 600, 80).astype(float),
        "score_share": rng.random(80),
        "cost_usd": rng.lognormal(0, 1, 80),
    }
    calls = pd.DataFrame({"arm": ["a", "b"] * 40, "prompt_id": np.arange(80) // 2, "status": "ok", **columns})
    observed = observe(calls)
    assert {name: prompt_means(observed, observed.metric(name)).open_scale for name in columns} == {
        "score_grade": False,
        "score_words": True,
        "score_share": False,
        "cost_usd": True,
    }


def test_costs_have_a_larger_detectable_difference_than_shares_of_the_same_size():
    values = 0.01 * np.random.default_rng(7).lognormal(0, 1, 80)
    calls = pd.DataFrame({"arm": ["a", "b"] * 40, "prompt_id": np.arange(80) // 2, "status": "ok", "score_x": values})
    by_metric = st.paired(calls.assign(cost_usd=values), metrics=["x", "cost_usd"])["detectable"]
    assert by_metric["cost_usd", "b"] > by_metric["score_x", "b"] > 0


def test_so_few_answers_detect_nothing():
    assert math.isnan(detectable_by_shares(np.array([0.5]), np.array([0.2]), np.ones((2, 1)), alpha=0.05, power=0.8))
    four = np.array([0.5, 1, 0.25, 0]), np.array([0.5, 0.5, 0, 0])
    assert math.isnan(detectable_by_shares(*four, np.full((2, 4), 4), alpha=0.05 / 28, power=0.8))
    assert math.isnan(detectable_by_answers(np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0]), alpha=0.05, power=0.8))
