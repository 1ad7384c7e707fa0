"""The headline says what is best, by how much, how sure that is and what it costs, and nothing that is not shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ipyllm import statistics as st
from ipyllm.comparison.headline import headline
from ipyllm.statistics.families import families_of
from ipyllm.statistics.observations import observe
from tests.service.statistics.simulated import scored


def sentences(given, baseline=None, **metrics):
    observed = observe(given)
    families = families_of(observed, metrics.get("metrics"), metrics.get("secondary"))
    pairs = st.paired(given, baseline, **metrics) if len(observed.arms) > 1 else None
    return headline(observed, families[0].metrics if families else (), st.summarise_arms(given), pairs)


def right(n, of=40):
    return [1] * n + [0] * (of - n)


def test_a_clear_winner_is_named_with_the_difference_its_interval_and_the_price():
    given = scored(small=right(10), large=right(30))
    given["cost_usd"] = given["arm"].map({"small": 0.001, "large": 0.004})
    row = st.paired(given, metrics="s").loc[("score_s", "large")]
    low, high = (f"{100 * row[end]:.3g}" for end in ("low", "high"))
    assert sentences(given, metrics="s") == [
        f"large is better on s: 75%, 50 points more than small (95% interval {low} to {high}, 40 prompts).",
        "A call of large costs $0.004, 4 times as much as small.",
    ]


def test_a_baseline_that_is_best_is_compared_with_the_next():
    given = scored(large=right(38), small=right(10), middle=right(14))
    given["cost_usd"] = given["arm"].map({"small": 0.001, "middle": 0.002, "large": 0.0015})
    first, cost = sentences(given, metrics="s")
    assert first.startswith("large is best of 3 arms on s: 95%, 60 points more than middle (95% interval ")
    assert cost == "A call of large costs $0.0015, 25% less than middle."


def test_what_cannot_be_told_is_said_and_which_costs_least():
    given = scored(small=right(20), large=right(22))
    given["cost_usd"] = given["arm"].map({"small": 0.001, "large": 0.004})
    first, leads, limits, cost = sentences(given, metrics="s")
    assert first == "It cannot be told which of 2 arms is better on s."
    assert leads == "large leads with 55%, but small may be as good."
    assert limits.startswith("large minus small lies between -")
    assert limits.endswith(" points (95% interval, 40 prompts).")
    assert cost == "Of these, small costs less: $0.001 a call, 75% less than large."


def test_better_than_the_baseline_is_not_best_of_all():
    given = scored(poor=right(5), good=right(30), fine=right(32), worst=right(2))
    first, leads, *_ = sentences(given, metrics="s")
    assert first == "It cannot be told which of 4 arms is best on s."
    assert leads.startswith("fine leads with 80%, 67.5 points more than poor (95% interval ")
    assert leads.endswith("40 prompts), but good may be as good.")


def test_the_arms_of_which_some_is_called_best_are_corrected_for_all_primary_metrics():
    given = scored(a=right(5), b=right(24), c=right(30))
    given["score_t"] = given["score_s"]
    one = st.paired(given, "c", metrics="s").loc[("score_s", "b")]
    assert one["p"] < 0.05 / 2
    assert one["p"] > 0.05 / 4
    assert sentences(given, metrics="s")[0].startswith("c is best of 3 arms on s")
    assert sentences(given, metrics=["s", "t"])[0] == "It cannot be told which of 3 arms is best on s."


@pytest.mark.thorough
def test_equal_arms_are_seldom_called_best():
    rng = np.random.default_rng(4)
    named = 0
    for _ in range(60):
        given = scored(**{arm: rng.integers(0, 2, 30).astype(float) for arm in "abcd"})
        named += "cannot be told" not in sentences(given, metrics="s")[0]
    assert named <= 0.05 * 60 + 3 * np.sqrt(0.05 * 0.95 * 60)


def test_one_arm_alone_is_described():
    given = scored(only=right(30)).assign(cost_usd=0.002)
    own, alone, cost = sentences(given)
    row = st.summarise_arms(given).loc["only"]
    assert own == (
        f"only has a score on s of 75% (95% interval {100 * row['score_s_low']:.3g}% to "
        f"{100 * row['score_s_high']:.3g}%)."
    )
    assert alone == "There is no other arm to compare it with."
    assert cost == "A call of only costs $0.002."


def test_without_scores_the_fastest_is_named():
    rng = np.random.default_rng(1)
    given = scored(slow=right(1, 30), fast=right(1, 30)).drop(columns="score_s")
    given["ttft_s"] = given["arm"].map({"slow": 2.0, "fast": 0.5}) + rng.uniform(0, 0.1, len(given))
    given["arrival_clock"], given["client_lag_s"] = "kernel", 0.0
    first, cost = sentences(given)
    assert first.startswith("fast is faster by time to first token: 0.5")
    assert " s less than slow (95% interval 1." in first
    assert cost == "What it costs is not known."


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ({}, "What it costs is not known."),
        ({"large": 0.004}, "A call of large costs $0.004; the cost of small is not known."),
        ({"small": 0.004}, "What it costs is not known."),
        ({"small": 0.0, "large": 0.0}, "A call of large costs nothing, as little as small."),
        ({"small": 0.0, "large": 0.004}, "A call of large costs $0.004, small nothing."),
        ({"small": 0.004, "large": 0.004}, "A call of large costs $0.004, as much as small."),
    ],
    ids=["none", "of the baseline", "of the best", "free", "free baseline", "equal"],
)
def test_unknown_costs_are_unknown(costs, said):
    given = scored(small=right(10), large=right(30))
    given["cost_usd"] = given["arm"].map(costs).astype(float)
    assert sentences(given, metrics="s")[1] == said


def test_calls_of_unknown_cost_are_counted():
    given = scored(small=right(10), large=right(30)).assign(cost_usd=0.001)
    given.loc[given.index[:3], "cost_usd"] = None
    assert sentences(given, metrics="s")[1].endswith("as much as small (3 calls of unknown cost left out).")


def test_failures_are_counted_by_arm_and_all_failed_says_so():
    given = scored(small=right(10), large=right(30))
    failed = given.index[:2]
    given.loc[failed, "status"], given.loc[failed, "score_s"] = "error", np.nan
    assert sentences(given, metrics="s")[-1] == "2 of 80 calls failed: 2 of small."
    none = given.assign(status="error", error_category="auth", score_s=np.nan)
    assert sentences(none) == ["All 80 calls failed with auth: there is nothing to compare."]


def test_an_arm_without_scores_is_named():
    given = pd.concat([scored(small=right(10), large=right(30)), scored(gone=[np.nan] * 40).assign(status="error")])
    said = sentences(given.reset_index(drop=True), metrics="s")
    assert said[0].startswith("large is better on s: 75%")
    assert "No s is known of gone." in said
    assert said[-1] == "40 of 120 calls failed: 40 of gone."


def test_a_score_without_a_direction_is_higher_never_better():
    rng = np.random.default_rng(1)
    given = scored(brief=rng.uniform(0, 0.2, 30), long=rng.uniform(0.5, 0.7, 30))
    first, unknown, _ = sentences(given)
    assert first.startswith("long has the higher mean s: 0.")
    assert unknown == "Nothing says whether higher is better."
    lower = given.copy()
    lower.attrs["directions"] = {"score_s": False}
    assert sentences(lower)[0].startswith("brief is better on s: 0.")
    assert " less than long (95% interval " in sentences(lower, "long")[0]


def test_equal_arms_do_not_lead_and_cost_the_same():
    given = scored(a=right(40), b=right(40)).assign(cost_usd=0.002)
    undecided, equal, limits, cost = sentences(given, metrics="s")
    assert undecided == "It cannot be told which of 2 arms is better on s."
    assert equal == "a and b have the same score on s, 100%."
    assert limits.startswith("a minus b lies between -")
    assert cost == "They cost the same: $0.002 a call."
    assert sentences(given.assign(cost_usd=0.0), metrics="s")[-1] == "They cost nothing."


def test_two_arms_lead_together():
    given = scored(c=right(38), a=right(40), b=right(40))
    assert sentences(given, "a", metrics="s")[1] == "a and b lead with 100%, but c may be as good."


def test_a_difference_in_cost_that_is_not_shown_may_be_chance():
    rng = np.random.default_rng(2)
    given = scored(small=right(10), large=right(30))
    given["cost_usd"] = rng.lognormal(-6, 1.0, len(given))
    ours = sentences(given, metrics="s")[1]
    assert st.paired(given, metrics="cost_usd")["verdict"].item() == "cannot be told"
    assert ours.endswith(" small, which may be chance.")
    assert sentences(given, metrics="s", secondary="cost_usd")[1] == ours


def test_which_costs_least_is_said_of_known_costs_only():
    given = scored(a=right(20), b=right(21), c=right(22))
    given["cost_usd"] = given["arm"].map({"a": 0.001, "c": 0.004})
    assert sentences(given, metrics="s")[-1] == (
        "Of these, a costs least: $0.001 a call, 75% less than c; the cost of b is not known."
    )
    given["cost_usd"] = given["arm"].map({"a": 0.004, "c": 0.001})
    assert sentences(given, metrics="s")[-1] == (
        "Of these, c costs least: $0.001 a call, 75% less than a; the cost of b is not known."
    )
    given["cost_usd"] = given["arm"].map({"c": 0.001})
    assert sentences(given, metrics="s")[-1] == "A call of c costs $0.001."
    given["cost_usd"] = np.where(given["arm"] == "b", np.nan, 0.001)
    assert sentences(given, metrics="s")[-1] == "c and a cost the same: $0.001 a call; the cost of b is not known."


def test_unknown_costs_of_all_arms_that_may_be_best_are_counted():
    given = scored(a=right(20), b=right(21)).assign(cost_usd=0.001)
    given.loc[given.groupby("arm").head(2).index, "cost_usd"] = None
    assert sentences(given, metrics="s")[-1].endswith(" a call (4 calls of unknown cost left out).")


def test_different_prompts_are_told():
    given = scored(a=right(20), b=right(30))
    told = "Not all arms were asked the same prompts"
    assert not any(sentence.startswith(told) for sentence in sentences(given, metrics="s"))
    apart = given.assign(prompt_id=given["arm"] + given["prompt_id"].astype(str))
    assert sentences(apart, metrics="s")[-1].endswith("their own figures are of different prompts.")
    fewer = given[(given["arm"] == "a") | (given["prompt_id"] > 9)]
    assert sum(sentence.startswith(told) for sentence in sentences(fewer, metrics="s")) == 1


def test_what_is_found_on_further_primary_metrics_is_told():
    given = scored(a=right(20), b=right(21), c=right(22), d=right(20))
    given["score_t"] = given["arm"].map({"a": 0.5, "b": 0.9, "c": 0.1, "d": 0.9})
    given["score_t"] += np.tile(np.linspace(0, 0.05, 40), 4) * (given["arm"] != "a")
    given.attrs["directions"] = {"score_t": True}
    assert sentences(given, metrics=["s", "t"])[-1] == "On t, b and d are better; c is worse than a."
    assert not any(sentence.startswith("On t") for sentence in sentences(given, metrics="s"))
    assert not any(sentence.startswith("On t") for sentence in sentences(given[given["arm"] == "a"]))
    given["score_t"] = given["score_s"]
    assert not any(sentence.startswith("On t") for sentence in sentences(given, metrics=["s", "t"]))
