"""What must not change a comparison, a gate or a ranking; and no finite input ends otherwise than in a sentence."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.statistics import assert_no_regression

# The machine may be busy: no example has a deadline, none is made simpler; and all of them come again in the next run.
_unhurried = settings(deadline=None, derandomize=True, max_examples=25, phases=[Phase.explicit, Phase.generate])

_OPPOSITE = {"better": "worse", "worse": "better", "higher": "lower", "lower": "higher"}

_right_or_wrong = some.sampled_from([0.0, 1.0])
_quarters = some.integers(-8, 8).map(lambda k: k / 4)  # sums of these are exact
# Below 1e-60 the variances are 0.
_any_number = some.floats(-1e61, 1e61).map(lambda x: x if abs(x) > 1e-60 else 0.0)
_value = some.one_of(some.none(), _any_number, some.sampled_from([0.0, 1.0]))


def _pairs(value, least=1):
    """Return the values of two arms on the same prompts, each prompt asked once or twice: arms × prompts × repeats."""
    shapes = some.tuples(some.just(2), some.integers(least, 30), some.integers(1, 2))
    return shapes.flatmap(
        lambda shape: some.lists(value, min_size=math.prod(shape), max_size=math.prod(shape)).map(
            lambda values: np.array(values).reshape(shape)
        )
    )


def _calls(values, metric="score_x", arms=("a", "b")):
    _, prompts, repeats = values.shape
    return pd.DataFrame(
        {
            "arm": np.repeat(arms, prompts * repeats),
            "prompt_id": np.tile(np.repeat(np.arange(prompts), repeats), 2),
            "status": "ok",
            metric: values.ravel(),
        }
    )


_metric_and_pairs = some.one_of(
    some.tuples(some.just("score_x"), _pairs(_right_or_wrong)),
    some.tuples(some.sampled_from(["score_x", "ttft_s", "cost_usd"]), _pairs(_quarters.map(lambda x: x + 3))),
)


@_unhurried
@given(_metric_and_pairs, some.sampled_from([True, False, None]))
def test_swapping_the_arms_swaps_the_verdict_and_turns_the_interval(data, direction):
    metric, values = data
    directions = {"x": direction} if metric == "score_x" else None
    calls = _calls(values, metric)
    there, back = (st.paired(calls, baseline, metrics=metric, directions=directions).iloc[0] for baseline in "ab")
    assert back["verdict"] == _OPPOSITE.get(there["verdict"], there["verdict"])
    figures = ["difference", "low", "high", "p", "detectable"]
    turned = [-there["difference"], -there["high"], -there["low"], there["p"], there["detectable"]]
    assert back[figures].to_list() == pytest.approx(turned, rel=1e-6, abs=1e-9, nan_ok=True)


@_unhurried
@given(_metric_and_pairs, some.sampled_from(["test", "bootstrap"]), some.randoms(use_true_random=False))
def test_other_names_and_another_order_of_the_prompts_change_nothing(data, interval, random):
    metric, values = data
    if interval == "bootstrap":  # which the test replaces on fewer prompts
        values = np.tile(values, (1, math.ceil(100 / values.shape[1]), 1))
    calls = _calls(values, metric)
    names = random.sample(range(1000), values.shape[1])
    renamed = calls.assign(prompt_id=[f"prompt {names[n]}" for n in calls["prompt_id"]])
    order = random.sample(range(len(calls)), len(calls))
    # The first arm stays the first.
    shuffled = renamed.iloc[order].sort_values("arm", kind="stable").reset_index(drop=True)
    first, second = (st.paired(given, metrics=metric, interval=interval) for given in (calls, shuffled))
    assert second.conclusion == first.conclusion
    assert second.notes == first.notes
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(second), rtol=1e-9, atol=1e-9)


@_unhurried
@given(_pairs(_quarters, least=2), some.sampled_from(["score_x", "ttft_s"]), some.integers(3, 9))
def test_the_same_amount_more_in_both_arms_changes_no_difference(values, metric, constant):
    # Not 0 and 1 alone, whose limits would bind; nor the same difference everywhere, which the range then bounds.
    values = values + np.array([0, 2.5])[:, None, None]
    table, moved = (st.paired(_calls(given, metric), metrics=metric) for given in (values, values + constant))
    figures = ["verdict", "difference", "low", "high", "p", "detectable"]
    pd.testing.assert_frame_equal(pd.DataFrame(table)[figures], pd.DataFrame(moved)[figures], rtol=1e-9, atol=1e-9)


def _gate(before, after, **options):
    """Return whether the gate passes, and its sentence."""
    try:
        found = assert_no_regression(before, after, **options)
    except AssertionError as refused:
        return False, str(refused), None
    assert found.passed
    assert found.bound > -found.margin
    return True, found.sentence, found


@_unhurried
@given(_metric_and_pairs, some.sampled_from([0.0, 0.05, 0.25, 1.0, "0%", "10%"]), some.randoms(use_true_random=False))
def test_the_gate_passes_what_a_larger_margin_passes_whatever_prompts_are_called(data, margin, random):
    metric, values = data
    directions = {"x": True} if metric == "score_x" else None
    before, after = (_calls(values, metric).query("arm == @arm") for arm in "ab")
    options = {"metric": metric, "directions": directions}
    passed, sentence, found = _gate(before, after, margin=margin, **options)
    names = random.sample(range(1000), values.shape[1])
    again = [
        side.assign(prompt_id=[f"p{names[n]}" for n in side["prompt_id"]]).sample(frac=1, random_state=1)
        for side in (before, after)
    ]
    assert _gate(*again, margin=margin, **options)[:2] == (passed, sentence)
    if not isinstance(margin, str):
        assert _gate(before, after, margin=margin + 0.5, **options)[0] >= passed
    better = values[1].mean() - values[0].mean() if metric == "score_x" else values[0].mean() - values[1].mean()
    if found is not None and metric != "ttft_s":
        assert found.difference == pytest.approx(better)
    assert ("did not become worse by more than is accepted" in sentence) == passed
    assert not (better > 0 and metric != "ttft_s" and " became worse" in sentence)
    if passed:
        limit = re.search(
            r"confidence it is (better by at least|worse by at most) (\S+?)(?: s|/s)?; accepted", sentence
        )
        assert limit, sentence
        assert limit[1].startswith("better") == (found.bound > 0)
    elif " became worse" not in sentence:
        assert re.search(r"may have become worse: .* (it could be worse by|there is no bound on how much)", sentence)


@_unhurried
@given(some.integers(1, 40), some.integers(0, 3), some.randoms(use_true_random=False))
def test_votes_know_neither_the_names_of_arms_nor_of_prompts_nor_an_order(n, spread, random):
    rows = []
    for i in range(n):
        arms = random.sample("abc", random.choice([2, 2, 3]))
        outcome = random.choice([*arms[:1] * 3, *arms, "tie"])
        rows.append({"arms": arms, "outcome": outcome, "prompt": f"p{i // (1 + spread)}"})
    votes = pd.DataFrame(rows)
    other = {"a": "b", "b": "c", "c": "a"}
    turned = pd.DataFrame(
        [
            {
                "arms": [other[arm] for arm in reversed(row["arms"])],
                "outcome": other.get(row["outcome"], row["outcome"]),
                "prompt": f"another {row['prompt']}",
            }
            for row in random.sample(rows, n)
        ]
    )
    first, second = st.ranking(votes), st.ranking(turned)
    labels = [other[arm] for arm in first.index]
    counted = ["votes", "prompts", "wins", "losses", "ties", "both_bad"]
    assert second.loc[labels, counted].to_numpy().tolist() == first[counted].to_numpy().tolist()
    fitted = ["strength", "low", "high"]
    assert second.loc[labels, fitted].to_numpy() == pytest.approx(first[fitted].to_numpy(), abs=1e-6, nan_ok=True)
    apart = first["strength"].diff().abs().min() > 1e-6  # else either may stand first
    if apart:
        assert second.index.to_list() == labels
        behind = ["behind", "behind_low", "behind_high"]
        assert second[behind].to_numpy() == pytest.approx(first[behind].to_numpy(), abs=1e-6, nan_ok=True)


_any_call = some.fixed_dictionaries(
    {
        "arm": some.sampled_from(["a", "b"]),
        "prompt_id": some.integers(0, 5),
        "status": some.sampled_from(["ok", "ok", "ok", "error", "cancelled"]),
        **dict.fromkeys(["score_x", "ttft_s", "total_s", "output_tps", "cost_usd"], _value),
    }
)


@_unhurried
@given(
    some.lists(_any_call, min_size=1, max_size=30),
    some.sampled_from(["test", "bootstrap"]),
    some.sampled_from(["x", "ttft_s", "cost_usd", "errors"]),
)
def test_any_finite_calls_are_compared_or_refused_in_a_sentence(rows, interval, metric):
    calls = pd.DataFrame(rows)
    directions = {"x": True} if metric == "x" else None
    for compare in (
        lambda: st.summarise_arms(calls),
        lambda: st.paired(calls, interval=interval),
        lambda: assert_no_regression("a", calls, metric=metric, margin=1, directions=directions),
    ):
        assert _outcome(compare).rstrip().endswith((".", "?"))


def _outcome(compare):
    """Return what is shown of the result, or the sentence of a refusal."""
    try:
        found = compare()
    except AssertionError as refused:
        return str(refused)
    except LLMError as refused:
        return str(refused) if refused.category == "bad_request" else repr(refused)
    return getattr(found, "sentence", None) or repr(found)
