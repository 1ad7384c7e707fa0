"""Plots of a score against cost and time have intervals on both axes, and join the arms of one model by effort."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from ipyllm import plots
from ipyllm import statistics as st
from ipyllm.plots.effort_curves import effort_curves
from tests.service.statistics.simulated import calls

ARMS = {"m · high": (0.8, 0.4), "m · low": (0.5, 0.1), "n": (0.6, 0.2), "m · medium": (0.7, 0.2)}
PARAMS = {"m · high": {"effort": "high"}, "m · low": {"effort": "low"}, "n": {}, "m · medium": {"effort": "medium"}}


@pytest.fixture(autouse=True)
def offscreen():
    mpl.use("Agg")


@pytest.fixture
def given():
    made = calls(ARMS)
    made["model"] = made["arm"].str[0]
    made["params"] = made["arm"].map(PARAMS)
    made["cost_usd"] = made["output_tokens"] * made["arm"].map({"m · high": 3, "m · low": 1, "n": 1, "m · medium": 2})
    return made


def lines(ax, n):
    return [line for line in ax.get_lines() if len(line.get_xdata()) == n and line.get_drawstyle() == "default"]


@pytest.mark.parametrize(
    ("draw", "column"),
    [(plots.cost_score, "cost_per_call_usd"), (plots.time_score, "total_p50_s")],
    ids=["cost", "time"],
)
def test_both_axes_have_intervals_and_efforts_are_joined_lowest_first(given, draw, column):
    table = st.summarise_arms(given)
    ax = draw(given)
    whiskers = lines(ax, 2)
    across = {(*line.get_xdata(), line.get_ydata()[0]) for line in whiskers if len(set(line.get_ydata())) == 1}
    upright = {(*line.get_ydata(), line.get_xdata()[0]) for line in whiskers if len(set(line.get_xdata())) == 1}
    assert across == {tuple(row) for row in table[[f"{column}_low", f"{column}_high", "score_exact"]].to_numpy()}
    assert upright == {tuple(row) for row in table[["score_exact_low", "score_exact_high", column]].to_numpy()}
    (curve,) = lines(ax, 3)
    assert curve.get_xdata() == pytest.approx(table.loc[["m · low", "m · medium", "m · high"], column].to_numpy())


def test_only_arms_that_differ_in_nothing_but_effort_are_joined(given):
    arms = list(ARMS)
    assert effort_curves(given, arms) == [["m · low", "m · medium", "m · high"]]
    assert effort_curves(given.assign(system=given["arm"]), arms) == []
    assert effort_curves(given.assign(address=given["arm"].map({"m · low": "b"})), arms) == [["m · medium", "m · high"]]
    hot = given["arm"].map(PARAMS | {"m · medium": {"effort": "medium", "temperature": 1}})
    assert effort_curves(given.assign(params=hot), arms) == [["m · low", "m · high"]]
    assert effort_curves(given.drop(columns="params"), arms) == []


def test_the_axis_of_times_names_its_unit_and_what_is_filled(given):
    ax = plots.time_score(given)
    assert ax.get_xlabel() == "total time (s), median; filled: no other arm is both faster and better"
    assert ax.get_ylabel() == "exact: share"
    without = given.assign(total_s=given["total_s"].where(given["arm"] != "n"))
    assert "1 arm without a known total time or score" in [text.get_text() for text in plots.time_score(without).texts]
    assert np.isfinite(ax.get_xlim()).all()
