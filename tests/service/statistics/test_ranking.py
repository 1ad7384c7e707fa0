"""Strengths from votes: against published figures, an independent computation, and cases that used to diverge."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize
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
    assert any("bad won or lost every decided vote" in note for note in table.notes)


def test_an_arm_that_won_everything_is_ahead_without_certainty():
    cast = pd.DataFrame([{"arms": {"a": "1", "b": "2"}, "outcome": "a"}] * 3)
    table = st.ranking(cast)
    assert table.loc["a", "high"] - table.loc["a", "low"] > 1
    assert table.loc["a", "p_best"] < 0.999


def test_ties_everywhere_rank_nobody():
    cast = pd.DataFrame([{"arms": {"a": "1", "b": "2"}, "outcome": outcome} for outcome in ["tie", "both_bad"] * 20])
    table = st.ranking(cast)
    assert table["strength"].to_list() == pytest.approx([0, 0], abs=1e-9)
    assert table.loc["a", ["ties", "both_bad"]].to_list() == [20, 20]
    assert table.conclusion == "None of 40 votes preferred one arm to another, so they cannot be ranked."
    assert any("20 of 40 votes found all answers bad" in note for note in table.notes)


def test_true_strengths_lie_in_their_intervals_about_as_often_as_they_should():
    truth = {"a": 1.0, "b": 0.3, "c": -0.3, "d": -1.0}
    inside = 0
    for seed in range(60):
        table = st.ranking(votes(truth, n=150, seed=seed, tie=0))
        inside += sum(table.loc[arm, "low"] <= strength <= table.loc[arm, "high"] for arm, strength in truth.items())
    # 240 intervals at 95 %: with a true coverage of 0.95 fewer than 216 come once in a thousand runs.
    assert inside >= 216


def test_the_bootstrap_finds_the_same_intervals_where_votes_are_independent():
    cast = votes({"a": 0.8, "b": 0.0, "c": -0.8}, n=600).drop(columns="prompt")
    hessian, bootstrap = st.ranking(cast), st.ranking(cast, interval="bootstrap")
    assert bootstrap["low"].to_numpy() == pytest.approx(hessian["low"].to_numpy(), abs=0.08)
    assert bootstrap["high"].to_numpy() == pytest.approx(hessian["high"].to_numpy(), abs=0.08)


def test_the_bootstrap_widens_where_the_same_prompts_decide_every_vote():
    once = votes({"a": 0.8, "b": 0.0}, n=40, tie=0)
    copied = pd.concat([once] * 10, ignore_index=True)
    copied["prompt"] = list(range(40)) * 10
    hessian, bootstrap = st.ranking(copied), st.ranking(copied, interval="bootstrap")
    width = {name: (t["high"] - t["low"]).iloc[0] for name, t in {"h": hessian, "b": bootstrap}.items()}
    assert width["b"] > 2 * width["h"]


def test_arms_that_never_met_are_said_to_be_ordered_by_the_prior():
    cast = pd.DataFrame(
        [{"arms": {"a": "1", "b": "2"}, "outcome": "a"}] * 5 + [{"arms": {"c": "1", "d": "2"}, "outcome": "d"}] * 5
    )
    assert any("never compared" in note and "a and b; c and d" in note for note in st.ranking(cast).notes)


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
