"""The detectable difference of a comparison: it is found in four of five experiments of the same size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ipyllm import statistics as st
from ipyllm.statistics.detectable import (
    detectable_by_answers,
    detectable_by_interval,
    effective_df,
    standard_errors_needed,
)

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


def test_so_few_answers_detect_nothing():
    assert math.isnan(detectable_by_answers(np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0]), alpha=0.05, power=0.8))
