"""Strengths from votes: against published figures, an independent computation, and cases that used to diverge."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from ipyllm import statistics as st
from ipyllm.statistics import ComparisonOutcome
from tests.service.statistics.simulated import votes

BASEBALL = {
    # Agresti (2002), table 10.10: the American League of 1987, wins of the row against the column.
    "Milwaukee": [0, 7, 9, 7, 7, 9, 11],
    "Detroit": [6, 0, 7, 5, 11, 9, 9],
    "Toronto": [4, 6, 0, 7, 7, 8, 12],
    "New York": [6, 8, 6, 0, 6, 7, 10],
    "Boston": [6, 2, 6, 7, 0, 7, 12],
    "Cleveland": [4, 4, 5, 6, 6, 0, 6],
    "Baltimore": [2, 4, 1, 3, 1, 7, 0],
}
PUBLISHED = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0]


def _games():
    return [
        ComparisonOutcome((i, j), i)
        for i, wins in enumerate(BASEBALL.values())
        for j, n in enumerate(wins)
        for _ in range(n)
    ]


def test_strengths_of_the_baseball_season_are_the_published_ones():
    # Agresti (2002), §10.6, and the vignette of R's BradleyTerry2: log abilities with Baltimore at 0.
    strengths = st.fit_strengths(_games(), 7, prior_sd=1e4).strengths
    assert strengths - strengths[-1] == pytest.approx(PUBLISHED, abs=1e-4)


def test_standard_errors_without_a_prior_are_those_of_a_logistic_regression():
    rows = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    wins = np.array(list(BASEBALL.values()))
    design = np.zeros((len(rows), 6))
    for row, (i, j) in enumerate(rows):
        design[row, i] = 1
        if j < 6:
            design[row, j] = -1
    theirs = GLM(np.array([[wins[i, j], wins[j, i]] for i, j in rows]), design, family=Binomial()).fit()
    ours = st.fit_strengths(_games(), 7, prior_sd=1e3)
    against_baltimore = np.hstack([np.eye(6), -np.ones((6, 1))])
    assert np.sqrt(np.diag(against_baltimore @ ours.covariance @ against_baltimore.T)) == pytest.approx(
        theirs.bse, rel=1e-4
    )


def test_ties_and_choices_among_three_maximise_the_likelihood_written_out():
    rng = np.random.default_rng(1)
    choices = [ComparisonOutcome((0, 1, 2), int(rng.choice(3, p=[0.5, 0.3, 0.2]))) for _ in range(40)]
    choices += [ComparisonOutcome((0, 1), None) for _ in range(9)] + [
        ComparisonOutcome((1, 2, 3), None) for _ in range(5)
    ]
    choices += [ComparisonOutcome((2, 3), 3) for _ in range(7)] + [ComparisonOutcome((2, 3), 2) for _ in range(4)]
    prior_sd = 1.5

    def cost(theta):
        strengths, tie = theta[:4], theta[4]
        total = (strengths**2).sum() / (2 * prior_sd**2) + tie**2 / (2 * 3.0**2)
        for choice in choices:
            of = strengths[list(choice.arms)]
            weights = [*np.exp(of), math.exp(tie + of.mean())]
            chosen = weights[-1] if choice.winner is None else math.exp(strengths[choice.winner])
            total -= math.log(chosen / sum(weights))
        return total

    theirs = optimize.minimize(cost, np.zeros(5), method="BFGS", tol=1e-10).x
    ours = st.fit_strengths(choices, 4, prior_sd=prior_sd)
    assert ours.strengths == pytest.approx(theirs[:4] - theirs[:4].mean(), abs=1e-4)
    assert ours.tie == pytest.approx(theirs[4], abs=1e-4)


def test_an_arm_that_never_won_stays_finite_and_is_said_to():
    cast = pd.DataFrame(
        [{"arms": {"good": "1", "bad": "2"}, "outcome": "good"}] * 50
        + [{"arms": {"good": "1", "fair": "3"}, "outcome": outcome} for outcome in ["good", "fair"] * 25]
    )
    table = st.ranking(cast)
    assert list(table.index)[-1] == "bad"
    assert np.isfinite(table[["strength", "low", "high"]].to_numpy()).all()
    assert -8 < table.loc["bad", "strength"] < -1
    assert table.notes[-1] == (
        "bad lost every vote that was not a tie. How far ahead or behind that puts an arm cannot be told from votes: "
        "its strength is partly assumed."
    )
    assert any(note.startswith("a won and b lost every vote") for note in st.ranking(_cast(*["a"] * 8, "tie")).notes)
    assert not any("every vote" in note for note in st.ranking(_cast(*["a"] * 8, "b")).notes)


def _cast(*outcomes, prompts=None, **columns):
    """Return votes between a and b, by default each on a prompt of its own."""
    asked = range(len(outcomes)) if prompts is None else prompts
    rows = {"arms": [{"a": "1", "b": "2"}] * len(outcomes), "outcome": outcomes, "prompt": [f"p{n}" for n in asked]}
    return pd.DataFrame({**rows, **columns})


@pytest.mark.parametrize(("prompts", "votes_each"), [(1, 1), (1, 500), (5, 1), (5, 100)])
def test_votes_on_few_prompts_rank_nobody_and_say_how_many_are_needed(prompts, votes_each):
    table = st.ranking(_cast(*["a"] * prompts * votes_each, prompts=list(range(prompts)) * votes_each))
    assert table[["low", "high", "behind_low", "behind_high", "p_best"]].isna().all(axis=None)
    assert table["prompts"].to_list() == [prompts] * 2
    assert table.conclusion == (
        f"Votes on {prompts} prompt{'' if prompts == 1 else 's'} are too few to rank 2 arms with 95% confidence: "
        "at least 6 prompts are needed."
    )
    assert not table.notes, "one sentence says all that such votes tell"


def test_the_prompts_needed_are_those_that_chance_does_not_agree_on():
    # Binomial: all n prompts for the same of two arms, in 2 (1/2)^n of cases, must be 5 % or rarer.
    assert stats.binom.pmf(6, 6, 0.5) * 2 <= 0.05 < stats.binom.pmf(5, 5, 0.5) * 2
    assert st.prompts_to_rank(2) == 6
    assert [st.prompts_to_rank(n) for n in (3, 4, 5, 6)] == [7, 8, 9, 10]
    assert st.prompts_to_rank(2, level=0.99) == 8
    assert st.prompts_to_rank(2, level=0.5) == 2
    assert st.ranking(_cast(*"aaaaab"))[["low", "high", "p_best"]].notna().all(axis=None)
    assert st.ranking(_cast(*"aaaab"))[["low", "high", "p_best"]].isna().all(axis=None)


def test_an_arm_that_won_everything_is_ahead_without_certainty():
    table = st.ranking(_cast(*["a"] * 8))
    assert table.loc["a", "high"] - table.loc["a", "low"] > 1
    assert table.loc["a", "p_best"] < 0.999


def test_arms_with_votes_on_too_few_prompts_are_named_and_the_others_ranked():
    rows = [{"arms": ["a", "b"], "outcome": "a" if n % 5 else "b", "prompt": n} for n in range(60)]
    rows += [{"arms": ["a", "c"], "outcome": "c", "prompt": n} for n in range(3)] * 20
    table = st.ranking(pd.DataFrame(rows))
    assert list(table.index) == ["c", "a", "b"]
    assert table.conclusion.startswith("In 120 votes on 60 prompts, a is preferred to b: it wins an estimated ")
    assert table.conclusion.endswith(
        "c cannot be ranked: its votes are on 3 prompts, and at least 7 are needed with 3 arms at 95% confidence."
    )
    assert table.loc["c", ["low", "high", "behind", "p_best"]].isna().all()
    assert math.isnan(table.loc["a", "behind"])
    assert table.loc["b", "behind_low"] > 0


def test_the_conclusion_about_two_arms_says_what_their_intervals_say():
    for wins in range(13):
        table = st.ranking(_cast(*["a"] * wins, *["b"] * (12 - wins)))
        first, second = table.index
        assert (f"{first} is preferred to {second}" in table.conclusion) == (table.loc[first, "low"] > 0)
        assert (table.loc[second, "behind_low"] > 0) == (table.loc[first, "low"] > 0)
        assert (table.loc[first, "p_best"] > 0.97) or table.loc[first, "low"] < 0


def test_the_conclusion_names_the_votes_and_the_prompts_where_all_are_known():
    clear, open_, equal = [*"a" * 11, "b"], [*"aaaaaaa", *"bbbbb"], [*"ab" * 6]
    twice = list(range(6)) * 2
    assert st.ranking(_cast(*clear)).conclusion.startswith("In 12 votes on 12 prompts, a is preferred to b: it wins ")
    assert st.ranking(_cast(*open_, prompts=twice)).conclusion.startswith(
        "In 12 votes on 6 prompts, a is ahead of b, but not clearly: it wins "
    )
    assert st.ranking(_cast(*equal)).conclusion == "In 12 votes on 12 prompts, a and b are equally strong."
    unknown = _cast(*clear).assign(prompt=[None, *map(str, range(11))])
    assert st.ranking(unknown).conclusion.startswith("In 12 votes, a is preferred to b: ")


def test_votes_that_were_not_blind_have_a_caution():
    seen = st.ranking(_cast("a", "b", "a", blind=[False, True, None])).notes
    assert "1 of 3 votes is not blind: who sees a model's name may prefer the name." in seen
    assert not any("blind" in note for note in st.ranking(_cast("a", "b", blind=[True, True])).notes)


@pytest.mark.parametrize("prompt", [None, "", float("nan")])
def test_votes_on_unknown_prompts_are_said_to_be_counted_as_independent(prompt):
    table = st.ranking(_cast(*"ab" * 4).assign(prompt=prompt))
    assert table["prompts"].to_list() == [8, 8]
    assert any(note.startswith("8 of 8 votes are on an unknown prompt") for note in table.notes)


def test_the_clustered_covariance_is_the_one_of_leaving_each_prompt_out():
    cast = votes({"a": 0.6, "b": 0.0, "c": -0.5}, n=400)
    index = {"a": 0, "b": 1, "c": 2}
    outcomes = [
        ComparisonOutcome(tuple(index[arm] for arm in arms), index.get(outcome))
        for arms, outcome in zip(cast["arms"], cast["outcome"], strict=True)
    ] * 3  # every vote three times
    prompts = [*cast["prompt"]] * 3
    ours = st.fit_strengths(outcomes, 3, clusters=prompts)
    without = np.array(
        [
            st.fit_strengths([o for o, p in zip(outcomes, prompts, strict=True) if p != left_out], 3).strengths
            for left_out in sorted(set(prompts))
        ]
    )
    changes = without - ours.strengths
    brute_force = (len(changes) - 1) / len(changes) * changes.T @ changes
    contrast = np.array([1, -1, 0])
    assert contrast @ ours.covariance @ contrast == pytest.approx(contrast @ brute_force @ contrast, rel=0.02)
    # statsmodels' clustered errors of the same logistic regression have no correction for few clusters.
    decided = [(o, p) for o, p in zip(outcomes, prompts, strict=True) if o.winner is not None and set(o.arms) == {0, 1}]
    alone = st.fit_strengths([o for o, _ in decided], 2, clusters=[p for _, p in decided], prior_sd=1e3)
    theirs = GLM(
        np.array([float(o.winner == 0) for o, _ in decided]), np.ones((len(decided), 1)), family=Binomial()
    ).fit(cov_type="cluster", cov_kwds={"groups": np.unique([p for _, p in decided], return_inverse=True)[1]})
    difference = np.sqrt(np.array([1, -1]) @ alone.covariance @ np.array([1, -1]))
    assert theirs.bse[0] < difference < 1.15 * theirs.bse[0]


def test_votes_on_one_prompt_are_never_worth_more_than_independent_ones():
    outcomes = [ComparisonOutcome((0, 1), 0), ComparisonOutcome((0, 1), 1)] * 20  # every prompt has one of each
    clustered = st.fit_strengths(outcomes, 2, clusters=[n // 2 for n in range(40)])
    assert clustered.covariance == pytest.approx(st.fit_strengths(outcomes, 2).covariance, abs=1e-9)


def test_ties_everywhere_rank_nobody():
    cast = pd.DataFrame([{"arms": {"a": "1", "b": "2"}, "outcome": outcome} for outcome in ["tie", "both_bad"] * 20])
    table = st.ranking(cast)
    assert table["strength"].to_list() == pytest.approx([0, 0], abs=1e-9)
    assert table.loc["a", ["ties", "both_bad"]].to_list() == [20, 20]
    assert table.conclusion == "None of 40 votes prefers one arm to another, so they cannot be ranked."
    assert any("20 of 40 votes found all answers bad" in note for note in table.notes)


def test_true_strengths_lie_in_their_intervals_about_as_often_as_they_should():
    truth = {"a": 1.0, "b": 0.3, "c": -0.3, "d": -1.0}
    inside = 0
    for seed in range(60):
        table = st.ranking(votes(truth, n=150, seed=seed, tie=0))
        inside += sum(table.loc[arm, "low"] <= strength <= table.loc[arm, "high"] for arm, strength in truth.items())
    # 240 intervals at 95 %: with a true coverage of 0.95 fewer than 216 come once in a thousand runs.
    assert inside >= 216


def test_the_same_prompts_again_are_not_more_prompts():
    once = votes({"a": 0.8, "b": 0.0}, n=40, tie=0)
    once["prompt"] = range(40)
    copied = pd.concat([once] * 10, ignore_index=True)
    first, tenfold = st.ranking(once), st.ranking(copied)
    widths = [(table["high"] - table["low"]).iloc[0] for table in (first, tenfold)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_arms_that_never_met_are_not_ranked_against_each_other():
    cast = pd.DataFrame(
        [{"arms": {"a": "1", "b": "2"}, "outcome": "a", "prompt": n} for n in range(30)]
        + [{"arms": {"c": "1", "d": "2"}, "outcome": "d", "prompt": n} for n in range(30)]
    )
    table = st.ranking(cast)
    assert table.conclusion == (
        "Some arms were never compared, not even through others, so they cannot be ranked: a and b; c and d."
    )
    assert table[["low", "high", "behind", "p_best"]].isna().all(axis=None)


def test_the_win_matrix_counts_every_vote_once_and_halves_ties():
    cast = votes({"a": 1, "b": 0, "c": -1}, n=90, bad=0.5)
    matrix = st.win_matrix(cast)
    assert matrix.to_numpy().sum() == 90
    assert (matrix + matrix.T).loc["a", "b"] == sum({"a", "b"} == set(arms) for arms in cast["arms"])


def test_the_order_of_votes_and_of_arms_within_them_changes_nothing():
    cast = votes({"a": 1, "b": 0, "c": -1}, n=60)
    turned = cast.iloc[::-1].assign(arms=[dict(reversed(arms.items())) for arms in cast["arms"].iloc[::-1]])
    first, second = st.ranking(cast), st.ranking(turned)
    assert second.loc[first.index, "strength"].to_numpy() == pytest.approx(first["strength"].to_numpy(), abs=1e-7)


def test_limits_of_being_behind_are_those_of_all_pairs_together():
    given = votes({"a": 1.0, "b": 0.0, "c": -1.0}, n=300)
    table, pairs_alone = st.ranking(given), st.ranking(given, level=1 - 0.05 / 3)
    df = 49  # votes() has 50 prompts
    for arm in ("b", "c"):
        half = table.loc[arm, "behind_high"] - table.loc[arm, "behind"]
        wider = pairs_alone.loc[arm, "behind_high"] - pairs_alone.loc[arm, "behind"]
        assert wider / half == pytest.approx(stats.t.ppf(1 - 0.05 / 18, df) / stats.t.ppf(1 - 0.05 / 6, df))
    of_b = table.loc["b", "high"] - table.loc["b", "strength"]
    of_b_wider = pairs_alone.loc["b", "high"] - pairs_alone.loc["b", "strength"]
    assert of_b_wider / of_b == pytest.approx(stats.t.ppf(1 - 0.05 / 6, df) / stats.t.ppf(0.975, df))


@pytest.mark.parametrize(("prompts", "few"), [(19, True), (20, False)])
def test_votes_on_few_prompts_have_a_caution(prompts, few):
    notes = st.ranking(_cast(*"ab" * prompts, prompts=[*range(prompts)] * 2)).notes
    assert ("a and b have votes on only 19 prompts: so few may not represent what you will ask." in notes) == few
    assert any("votes on only" in note for note in notes) == few
