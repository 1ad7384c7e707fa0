"""Whether higher scores are better: declared by scorers, carried by tables, heeded by statistics."""

from __future__ import annotations

import functools

import pandas as pd
import pytest

from ipyllm import LLMError, assert_no_regression, scorers
from ipyllm.plots import cost_score
from ipyllm.plots import pairs as draw_pairs
from ipyllm.scorers import Scorer
from ipyllm.statistics import paired, summarise_arms

N = 12


def calls(responses):
    """Return ``N`` calls of each arm, all with the arm's response."""
    return pd.DataFrame(
        [
            {"arm": arm, "prompt_id": n, "status": "ok", "response": response}
            for arm, response in responses.items()
            for n in range(N)
        ]
    )


def words(response):
    return len(response.content.split()) + int(response.prompt_id) % 3


def edits(response):
    return len(response.content)


edits.higher_is_better = False


@pytest.fixture
def scored():
    table = calls({"brief": "Bern", "long": "I think that it is Bern, of course"})
    declared = Scorer.of(words, name="words", higher_is_better=None)
    return scorers.apply([declared, edits, lambda response: "think" in response.content], table)


@pytest.mark.parametrize(
    "scorer",
    [
        scorers.exact("a"),
        scorers.contains("a"),
        scorers.regex("a"),
        scorers.similarity("a"),
        scorers.numeric("a"),
        scorers.json_valid(),
        scorers.json_schema({"type": "object"}),
        scorers.human(),
        scorers.human(pd.DataFrame({"arms": [], "outcome": []})),
        scorers.judge("local/smollm2-135m"),
    ],
    ids=lambda scorer: scorer.name,
)
def test_every_scorer_of_the_package_scores_what_is_better_higher(scorer):
    assert scorer.higher_is_better is True


def test_functions_and_objects_may_have_a_direction():
    class Count:
        name = "count"
        higher_is_better = False

        def score(self, response):
            return 1

        def other(self, response):
            return 1

        other.higher_is_better = None

    partial = functools.partial(edits)
    assert Scorer.of(edits).higher_is_better is False
    assert Scorer.of(partial).higher_is_better is False
    assert Scorer.of(functools.partial(partial)).higher_is_better is False
    partial.higher_is_better = None
    assert Scorer.of(partial).higher_is_better is None
    assert Scorer.of(Count()).higher_is_better is False
    assert Scorer.of(Count().other).higher_is_better is None
    assert Scorer.of(words).higher_is_better == "infer"


def test_an_argument_goes_before_the_attribute_also_for_a_scorer_of_the_package():
    assert Scorer.of(edits, higher_is_better=True).higher_is_better is True
    refusal = Scorer.of(scorers.regex("sorry", name="refusal"), higher_is_better=False)
    assert (refusal.name, refusal.higher_is_better) == ("refusal", False)
    assert Scorer.of(refusal, name="again").higher_is_better is False


@pytest.mark.parametrize("direction", ["lower", 1, [True]])
def test_other_directions_are_refused(direction):
    with pytest.raises(LLMError, match="higher_is_better of edits must be True, False, or None for neither, not "):
        Scorer.of(edits, higher_is_better=direction)


def test_scored_tables_carry_the_directions(scored):
    known = {"score_words": None, "score_edits": False, "score_lambda": True}
    assert scored.attrs["directions"] == known
    assert scored[scored["prompt_id"] > 3].attrs["directions"] == known
    again = scorers.apply([Scorer.of(words, higher_is_better=False)], scored)
    assert again.attrs["directions"] == known | {"score_words": False}
    assert scored.attrs["directions"] == known


def test_undeclared_scores_have_a_direction_only_if_all_are_0_or_1():
    table = calls({"a": "x", "b": "y"})
    directions = scorers.apply([Scorer.of(words), Scorer.of(lambda _: 1, name="one")], table).attrs["directions"]
    assert directions == {"score_words": None, "score_one": True}


def test_paired_calls_lower_better_where_it_is_and_nothing_better_without_a_direction(scored):
    conclusion = paired(scored).conclusion
    assert "On edits, long is worse than brief: higher by 30" in conclusion
    assert "On words, long is higher than brief by 7" in conclusion
    assert "On lambda, long is better than brief" in conclusion


def test_directions_may_be_given_for_a_table_without_them(scored):
    scored.attrs.clear()
    assert "On edits, long is higher than brief by 30" in paired(scored, metrics="edits").conclusion
    for name in ("edits", "score_edits"):
        found = paired(scored, metrics="edits", directions={name: False})
        assert "long is worse than brief: higher by 30" in found.conclusion


def test_directions_that_are_given_go_before_declared_ones(scored):
    assert "long is better than brief: higher" in paired(scored, metrics="edits", directions={"edits": True}).conclusion


def test_many_arms_are_higher_or_lower_without_a_direction():
    table = calls({"base": "a"} | {f"arm{n}": "a b c d e f"[: 1 + 2 * (n % 5)] for n in range(1, 16)})
    conclusion = paired(scorers.apply([words], table)).conclusion
    assert "are higher than base" in conclusion
    assert "better" not in conclusion
    declared = scorers.apply([Scorer.of(words, higher_is_better=False)], table)
    assert "are worse than base" in paired(declared).conclusion


@pytest.mark.parametrize(
    ("directions", "said"),
    [
        ({"edit": False}, "directions has 'edit', which is not a score. Did you mean 'edits'"),
        ({"edits": "lower"}, "The direction of edits must be True .higher is better., False .* not 'lower'"),
    ],
)
def test_directions_that_cannot_be_are_said(scored, directions, said):
    with pytest.raises(LLMError, match=said):
        paired(scored, directions=directions)


def test_a_gate_refuses_more_edits_and_takes_fewer(scored):
    with pytest.raises(AssertionError, match="edits became worse by more than is accepted: from 4 to 34"):
        assert_no_regression("brief", scored, metric="edits")
    assert assert_no_regression("long", scored, metric="edits").difference == 30


def test_a_gate_judges_no_score_without_a_direction(scored, tmp_path):
    sentence = "It is not known whether higher scores of words are better: say so with directions="
    with pytest.raises(LLMError, match=sentence):
        assert_no_regression("brief", scored, metric="words")
    assert assert_no_regression("brief", scored, metric="words", directions={"words": True}).passed


def test_a_saved_parquet_file_keeps_the_directions(scored, tmp_path):
    path = tmp_path / "baseline.parquet"
    scored[scored["arm"] == "brief"].to_parquet(path)
    worse = scored[scored["arm"] == "long"]
    worse.attrs.clear()
    with pytest.raises(AssertionError, match="edits became worse"):
        assert_no_regression(path, worse, metric="edits")


def test_a_failed_call_is_no_perfect_score_where_lower_is_better(scored):
    before = scored[scored["arm"] == "long"]
    failing = before.assign(status=["error"] * 6 + ["ok"] * 6, score_edits=[None] * 6 + [34.0] * 6)
    with pytest.raises(AssertionError, match="6 of the candidate's calls failed and have no score of edits"):
        assert_no_regression(before, failing, metric="edits", margin=1)
    both = pd.concat([before.assign(arm="before"), failing.assign(arm="after")])
    assert paired(both, metrics="edits", failures="zero", directions={"edits": False})["n_pairs"].tolist() == [6]


def test_a_failed_call_is_no_perfect_score_where_scores_are_negative():
    before = pd.DataFrame({"arm": "a", "prompt_id": range(N), "status": "ok", "score_x": [-3.0, -2.0] * (N // 2)})
    failing = before.assign(status=["error"] * 6 + ["ok"] * 6, score_x=[None] * 6 + [-3.0, -2.0] * 3)
    with pytest.raises(AssertionError, match=r"worse: from -2\.5 to -2\.75 .* without a score they count as -3\.$"):
        assert_no_regression(before, failing, metric="x", margin=0.01, directions={"x": True})


def test_the_plot_of_pairs_says_higher_where_nothing_is_better(scored):
    pytest.importorskip("matplotlib")
    assert draw_pairs(scored, metric="words").get_title().startswith("higher on 12, lower on 0")
    assert draw_pairs(scored, metric="edits").get_title().startswith("better on 0, worse on 12")


def test_the_plot_of_costs_fills_what_is_cheap_and_low_where_lower_is_better(scored):
    pytest.importorskip("matplotlib")
    priced = scored.assign(cost_usd=scored["arm"].map({"brief": 0.02, "long": 0.01}))
    worse = scored[scored["arm"] == "long"].assign(arm="dear", cost_usd=0.03)
    table = pd.concat([priced, worse])
    table.attrs = scored.attrs

    edits, words = (cost_score(table, name) for name in ("edits", "words"))
    assert "cheaper and better" in edits.get_xlabel()
    front = next(line for line in edits.lines if line.get_drawstyle() == "steps-post")
    assert front.get_ydata().tolist() == [34, 4]
    assert words.get_xlabel() == "cost per call"
    assert not any(len(line.get_xdata()) > 1 and line.get_drawstyle() == "steps-post" for line in words.lines)


def test_the_summary_names_the_lower_mean_where_lower_is_better(scored):
    conclusion = summarise_arms(scored).conclusion
    assert "It cannot be told which arm has the lower mean on edits: the mean of an arm is the" in conclusion
    assert "On words, long has the higher mean" in conclusion
    spread = scored.assign(score_edits=scored["score_edits"] + scored["prompt_id"])
    conclusion = summarise_arms(spread).conclusion
    assert "On edits, brief has the lower mean, 9.5 [" in conclusion
    assert "below the interval of long." in conclusion
