"""Coverage of intervals: they contain the true value about as often as their level says.

Seeds are fixed. A true coverage of 95 % would miss each bound less than once in a thousand runs.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ipyllm import statistics as st

RUNS = 400
LEAST = int(stats.binom.ppf(0.001, RUNS, 0.95))


def _inside(interval, truth):
    low, high = interval
    return (math.isnan(low) or low <= truth) and (math.isnan(high) or truth <= high)


def test_limits_of_latency_quantiles_cover_the_true_quantile():
    rng = np.random.default_rng(1)
    for q in (0.5, 0.95):
        truth = stats.lognorm.ppf(q, 0.8)
        hits = sum(_inside(st.quantile_interval(rng.lognormal(0, 0.8, 120), q), truth) for _ in range(RUNS))
        assert hits >= LEAST, q


def _clustered_latencies(rng, prompts, repeats):
    # ln(latency) ~ N(0, 1) in all: three quarters of the variance is the prompt's.
    prompt = rng.normal(0, math.sqrt(0.75), prompts)
    return np.exp(np.repeat(prompt, repeats) + rng.normal(0, 0.5, prompts * repeats))


def test_limits_of_quantiles_cover_when_calls_of_a_prompt_resemble_one_another():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 5)
    for q in (0.5, 0.9):
        truth = math.exp(stats.norm.ppf(q))
        samples = [_clustered_latencies(rng, 60, 5) for _ in range(RUNS)]
        clustered = sum(_inside(st.quantile_interval(x, q, clusters=clusters), truth) for x in samples)
        naive = sum(_inside(st.quantile_interval(x, q), truth) for x in samples)
        assert clustered >= LEAST - 8, q  # effective numbers are estimated, which costs a little
        assert naive < LEAST - 40, "the test would not notice if clusters were ignored"


def test_intervals_of_clustered_means_cover_and_naive_ones_would_not():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(30), 6)
    hits = naive = 0
    for _ in range(RUNS):
        scores = np.repeat(rng.normal(0.6, 0.2, 30), 6) + rng.normal(0, 0.1, 180)
        found, alone = st.clustered_mean(scores, clusters), st.clustered_mean(scores)
        hits += found.low <= 0.6 <= found.high
        naive += alone.low <= 0.6 <= alone.high
    assert hits >= LEAST
    assert naive < LEAST - 40


def test_intervals_of_shares_of_right_answers_cover_near_the_end_too():
    rng = np.random.default_rng(4)
    for truth in (0.5, 0.93):
        hits = 0
        for _ in range(RUNS):
            right = rng.beta(truth * 4, (1 - truth) * 4, 40)  # how hard each prompt is
            scores = (rng.random((40, 3)) < right[:, None]).astype(float).ravel()
            found = st.clustered_mean(scores, np.repeat(np.arange(40), 3))
            hits += found.low <= truth <= found.high
        assert hits >= LEAST - 8, truth


@pytest.mark.thorough
def test_intervals_of_paired_differences_cover():
    rng = np.random.default_rng(5)
    hits = dict.fromkeys(("t", "ranks", "bootstrap", "mid-p", "exact"), 0)
    for _ in range(RUNS):
        d = rng.normal(0.1, 1, 40)
        only_first, only_second, neither = rng.multinomial(40, [0.25, 0.1, 0.65])
        answers = np.repeat([1, -1, 0], [only_first, only_second, neither])
        for name, found, truth in (
            ("t", st.paired_t(d), 0.1),
            ("ranks", st.hodges_lehmann(d), 0.1),
            ("bootstrap", st.bootstrap_mean(d, resamples=999), 0.1),
            ("mid-p", st.bounded_mean(answers, -1, 1, method="mid-p"), 0.15),
            ("exact", st.bounded_mean(answers, -1, 1), 0.15),
        ):
            hits[name] += found.low <= truth <= found.high
    assert all(hits[name] >= LEAST for name in ("t", "ranks", "mid-p", "exact")), hits
    assert hits["bootstrap"] >= LEAST - 8


def test_tests_find_nothing_where_nothing_is_about_as_rarely_as_they_promise():
    rng = np.random.default_rng(6)
    most = int(stats.binom.ppf(0.999, RUNS, 0.05))
    false = {"t": 0, "wilcoxon": 0, "mcnemar": 0}
    for _ in range(RUNS):
        d = rng.normal(0, 1, 30)
        false["t"] += st.paired_t(d).p < 0.05
        false["wilcoxon"] += st.wilcoxon(d) < 0.05
        b, c, _ = rng.multinomial(60, [0.2, 0.2, 0.6])
        false["mcnemar"] += st.mcnemar(b, c) < 0.05
    assert all(n <= most for n in false.values()), false


def test_a_difference_as_large_as_detectable_is_found_in_four_of_five_experiments():
    rng = np.random.default_rng(7)
    shift = st.minimum_detectable_difference(1.0, 40)
    found = sum(st.paired_t(rng.normal(shift, 1, 40)).p < 0.05 for _ in range(RUNS))
    low, high = stats.binom.ppf([0.001, 0.999], RUNS, 0.8)
    assert low <= found <= high
