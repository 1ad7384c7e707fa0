"""Figures against published values and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from ipyllm import statistics as st
from ipyllm.statistics import signed_ranks
from ipyllm.statistics.power import _mcnemar_power, n_needed_within_margin


def test_quantile_limits_are_the_order_statistics_of_binomial_tables():
    # qbinom(c(0.025, 0.975), 16, 0.75) is 8 and 15; of 20 and one half it is 6 and 14.
    assert st.quantile_interval(range(1, 17), 0.75) == (8, 16)
    assert st.quantile_interval(range(1, 21), 0.5) == (6, 15)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [10, 72, 73, 400])
def test_quantile_limits_cover_what_the_binomial_says_they_do(n, q):
    low, high = st.quantile_interval(range(1, n + 1), q)
    below = 0 if math.isnan(low) else stats.binom.cdf(low - 1, n, q)
    above = 0 if math.isnan(high) else stats.binom.sf(high - 1, n, q)
    assert below <= 0.025
    assert above <= 0.025
    # and no narrower one would
    if not math.isnan(low):
        assert stats.binom.cdf(low, n, q) > 0.025 or low == n
    if not math.isnan(high):
        assert stats.binom.sf(high - 2, n, q) > 0.025


def test_so_many_calls_give_an_upper_limit_and_one_less_does_not():
    for q in (0.9, 0.95, 0.99):
        n = st.calls_for_upper_limit(q)
        assert not math.isnan(st.quantile_interval(range(n), q).high)
        assert math.isnan(st.quantile_interval(range(n - 1), q).high)


def test_standard_errors_clustered_by_prompt_are_those_of_statsmodels():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(25), rng.integers(1, 6, 25))
    scores = rng.normal(0, 1, 25)[clusters] + rng.normal(0, 0.5, clusters.size)
    theirs = OLS(scores, np.ones(scores.size)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    ours = st.clustered_mean(scores, clusters)
    assert ours.value == pytest.approx(theirs.params[0])
    assert ours.se == pytest.approx(theirs.bse[0], rel=1e-9)
    of_clusters = np.bincount(clusters, weights=scores - scores.mean())
    assert hall(ours, 24, of_clusters) == pytest.approx(stats.t.ppf([0.975, 0.025], 24))


def test_without_repeats_the_standard_error_is_the_usual_one():
    scores = [0.1, 0.5, 0.9, 0.4, 0.7]
    ours = st.clustered_mean(scores)
    assert ours.se == pytest.approx(stats.sem(scores))
    assert hall(ours, 4, scores) == pytest.approx(stats.t.ppf([0.975, 0.025], 4))
    symmetric = st.clustered_mean([0.1, 0.3, 0.5, 0.7, 0.9])
    theirs = stats.t.interval(0.95, 4, loc=0.5, scale=symmetric.se)
    assert (symmetric.low, symmetric.high) == pytest.approx(theirs)


def hall(mean, df, values):
    """Return Hall's (1992) g(t) at both limits, by its definition with scipy's skewness: Student's quantiles."""
    skewness, n = stats.skew(values, bias=False), df + 1
    t = (mean.value - np.array([mean.low, mean.high])) / mean.se
    return t + skewness * t**2 / (3 * np.sqrt(n)) + skewness**2 * t**3 / (27 * n) + skewness / (6 * np.sqrt(n))


@pytest.mark.parametrize(("right", "n"), [(0, 10), (8, 10), (10, 10), (81, 263)])
def test_shares_of_right_answers_have_wilsons_interval(right, n):
    ours = st.clustered_mean([1] * right + [0] * (n - right))
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)
    # Asked three times with the same answers, there are not more prompts.
    again = st.clustered_mean(([1] * right + [0] * (n - right)) * 3, [*range(n)] * 3)
    if right in {0, n}:
        assert (again.low, again.high) == (ours.low, ours.high)
    else:
        assert 0 <= again.low < ours.value < again.high <= 1
        assert again.high - again.low > 0.9 * (ours.high - ours.low)


def test_wilsons_interval_is_the_one_newcombe_published():
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 of 263, 0.2553 to 0.3662.
    assert [round(limit, 4) for limit in st.wilson(81 / 263, 263)] == [0.2553, 0.3662]


def test_paired_t_is_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 1, 30), rng.normal(0.3, 1, 30)
    theirs = stats.ttest_rel(a, b)
    ours = st.paired_t(a - b)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_students_sleep_data_give_the_published_t_test():
    # Student (1908): extra sleep under two drugs, t = -4.0621, p = 0.002833, 95 % -2.4598858 to -0.7001142.
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = st.paired_t(first - second)
    assert found.p == pytest.approx(0.002833, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)


def test_hodges_and_lehmann_of_the_depression_data_is_the_published_one():
    # Hollander & Wolfe (1973), examples 3.1 to 3.3, as in R's wilcox.test: p = 0.03906, -0.46 (-0.786, -0.010).
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = st.hodges_lehmann(after - before)
    assert found.p == pytest.approx(0.0390625)
    assert found.value == pytest.approx(-0.46, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((-0.786, -0.010), abs=5e-4)


def test_hodges_and_lehmann_of_many_pairs_is_the_one_that_lists_all_averages():
    rng = np.random.default_rng(2)
    d = np.round(rng.lognormal(0, 1, 2400) - 1.5, 3)  # with ties
    listed = st.hodges_lehmann(d[:2000])
    i, j = np.triu_indices(2400)
    averages = np.sort((d[i] + d[j]) / 2)
    ranks = [1, 900_000, averages.size // 2, averages.size]
    counted = signed_ranks._averages_of_rank(np.sort(d), ranks)
    assert counted == pytest.approx([averages[rank - 1] for rank in ranks])
    assert st.hodges_lehmann(d).value == pytest.approx(listed.value, abs=0.05)


def test_wilcoxon_is_scipys_and_the_published_one():
    # Wilcoxon's own example as in R: Hollander & Wolfe above, V = 40, p = 0.03906.
    d = np.array([0.952, -0.147, 1.022, 0.43, 0.62, 0.59, 0.49, -0.08, 0.01])
    assert st.wilcoxon(d) == pytest.approx(0.0390625)
    rng = np.random.default_rng(1)
    for n in (5, 60, 200):
        d = rng.normal(0.2, 1, n)
        assert st.wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)
    d = rng.normal(0.1, 1, 300)
    assert st.wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="asymptotic", correction=True).pvalue, rel=1e-3)


@pytest.mark.parametrize("d", [[-0.25] * 4, [1, 1, 1, 2, 2], [-3, -3, -3, -3, -3, -3]])
def test_wilcoxon_of_equal_differences_is_the_permutation_test(d):
    flips = stats.permutation_test((np.array(d, dtype=float),), np.mean, permutation_type="samples", vectorized=True)
    assert st.wilcoxon(d) == pytest.approx(flips.pvalue) == 2.0 ** (1 - len(d))


def test_wilcoxon_with_ties_and_zeros_keeps_its_level_however_few_values_there_are():
    # Every sign of every size is equally probable: counted out, p <= a happens at most with probability a.
    for sizes in ([1, 1, 2, 2, 3], [0, 0, 1, 1, 2, 5], [1] * 8, [0, 1, 2, 3, 4, 5, 6]):
        signs = np.array(np.meshgrid(*[[-1, 1]] * len(sizes))).reshape(len(sizes), -1).T
        p = np.array([st.wilcoxon(row * sizes) for row in signs])
        for level in np.unique(p):
            assert (p <= level).mean() <= level + 1e-12


def test_wilcoxon_counts_zeros_against_the_finding():
    # Two zeros make three averages of 0: sums of ranks up to 3 come in 5 of 2^8 cases.
    assert st.wilcoxon([0, 0, 1, 2, 3, 4, 5, 6]) == 2 * 5 / 2**8 > st.wilcoxon([1, 2, 3, 4, 5, 6])


def test_mcnemar_is_the_published_one_and_statsmodels():
    # Fagerland, Lydersen & Laake (2013), table 1 (Bentur et al. 2009): exact 0.070, mid-p 0.039, asymptotic 0.034.
    assert [round(st.mcnemar(1, 7, method=m), 3) for m in ("exact", "mid-p", "chi2")] == [0.070, 0.039, 0.034]
    for b, c in [(3, 9), (10, 10), (0, 5), (40, 61)]:
        table = [[7, b], [c, 11]]
        assert st.mcnemar(b, c, method="exact") == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
        chi2 = statsmodels_mcnemar(table, exact=False, correction=False).pvalue
        assert st.mcnemar(b, c, method="chi2") == pytest.approx(chi2)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_a_bounded_mean_of_right_and_wrong_has_clopper_and_pearsons_interval(right, n):
    found = st.bounded_mean([1] * right + [0] * (n - right), 0, 1)
    assert (found.low, found.high) == pytest.approx(proportion_confint(right, n, method="beta"), abs=1e-9)


@pytest.mark.parametrize(
    ("b", "c", "n"), [(1, 7, 21), (0, 5, 5), (10, 10, 30), (30, 12, 100), (100, 60, 1000), (0, 0, 8)]
)
def test_a_bounded_mean_of_paired_answers_has_the_p_value_of_mcnemar(b, c, n):
    d = [1] * b + [-1] * c + [0] * (n - b - c)
    for method in ("exact", "mid-p"):
        assert st.bounded_mean(d, -1, 1, method=method).p == pytest.approx(st.mcnemar(b, c, method=method), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 50, 3000])
def test_the_limits_of_a_bounded_mean_are_quantiles_of_means_with_uniform_weights(n):
    # Gaffke (2005) as Learned-Miller & Thomas (2020) write it: the values and the lowest possible one, weighted with
    # the spacings of uniform order statistics.
    rng = np.random.default_rng(n)
    d = rng.uniform(-0.9, 0.7, n)
    draws = 20_000
    weights = rng.exponential(size=(draws, n + 1)) if n < 1000 else None
    for level in (0.5, 0.95):
        found = st.bounded_mean(d, -1, 1, level=level)
        if weights is None:
            # So many values are normal, by the central limit theorem of the weights.
            lowest = np.append(d, -1)
            centre, sd = lowest.mean(), lowest.std() / math.sqrt(n + 2)
            assert found.low == pytest.approx(stats.norm.ppf((1 - level) / 2, centre, sd), abs=0.01 * sd)
            continue
        means = weights @ np.append(d, -1) / weights.sum(axis=1)
        share = (means <= found.low).mean()
        tail = (1 - level) / 2
        assert abs(share - tail) < 4 * math.sqrt(tail * (1 - tail) / draws)


def test_five_of_five_unchanged_may_be_worse_by_up_to_045_and_a_margin_of_005_takes_59():
    assert st.bounded_mean([0] * 5, -1, 1, level=0.9).low == pytest.approx(-(1 - 0.05 ** (1 / 5)))
    assert n_needed_within_margin(0.05, sd=0, worst=-1) == 59 == math.ceil(math.log(0.05) / math.log(0.95))


def test_rank_biserial_is_the_published_one():
    # Kerby (2014), "The simple difference formula": favourable less unfavourable ranks, of 55 for ten pairs.
    assert st.rank_biserial([1, 2, 3, -4, 5, 6, 7, 8, 9, 10]) == pytest.approx((51 - 4) / 55)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 50), (0.5, 12), (0.1, 800), (0.8, 5)])
def test_power_is_statsmodels(effect, n):
    theirs = TTestPower().solve_power(effect_size=None, nobs=n, alpha=0.05, power=0.8)
    assert st.minimum_detectable_difference(1.0, n) == pytest.approx(theirs, rel=1e-4)
    assert st.n_needed(effect, sd=1.0) == math.ceil(
        TTestPower().solve_power(effect_size=effect, nobs=None, alpha=0.05, power=0.8)
    )


def test_power_agrees_with_cohens_table():
    # Cohen (1988): a paired t test for d_z = 0.5 at 0.05, two-sided, has power 0.8 from 34 pairs on.
    assert st.n_needed(0.5, sd=1.0) == 34


def test_pass_at_k_is_the_share_of_draws_with_a_right_one():
    # Chen et al. (2021), eq. 1, counted out.
    for n, c, k in [(10, 3, 5), (6, 0, 2), (6, 6, 2), (8, 5, 4)]:
        assert st.pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k))


def test_the_bootstrap_is_scipys_and_comes_again_from_its_seed():
    d = np.random.default_rng(4).exponential(1, 60) - 0.7
    theirs = stats.bootstrap((d,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0))
    ours = st.bootstrap_mean(d, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert ours == st.bootstrap_mean(d, resamples=20_000)
    assert ours != st.bootstrap_mean(d, resamples=20_000, seed=1)


@pytest.mark.parametrize(
    ("disagreement", "difference", "n", "alpha"),
    [(0.3, 0.2, 30, 0.05), (0.3, 0.3, 30, 0.05), (0.4, 0.25, 60, 0.05 / 8)],
)
def test_the_power_of_mcnemar_is_counted_out(disagreement, difference, n, alpha):
    shares = [(disagreement + difference) / 2, (disagreement - difference) / 2, 1 - disagreement]
    tables = ((b, c) for b in range(n + 1) for c in range(n - b + 1) if st.mcnemar(b, c) <= alpha)
    power = sum(stats.multinomial.pmf([b, c, n - b - c], n, shares) for b, c in tables)
    assert _mcnemar_power(disagreement, difference, n, alpha) == pytest.approx(power, rel=1e-9)
