"""Properties that every comparison must have, tested by hypothesis."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.statistics import ComparisonOutcome
from ipyllm.statistics.observations import METRICS

# The machine may be busy: no example has a deadline; and all of them come again in the next run.
_unhurried = settings(deadline=None, derandomize=True)

_number = some.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))
_numbers = some.lists(_number, min_size=1, max_size=60)
_level = some.sampled_from([0.5, 0.8, 0.95, 0.99])
_q = some.sampled_from([0.1, 0.5, 0.9, 0.95])


@_unhurried
@given(_numbers, _q, some.data())
def test_quantile_limits_are_observed_values_and_move_apart_with_the_level(values, q, data):
    clusters = data.draw(some.lists(some.integers(0, 5), min_size=len(values), max_size=len(values)))
    for groups in (None, clusters):
        narrow, wide = (st.quantile_interval(values, q, level=level, clusters=groups) for level in (0.8, 0.99))
        assert all(math.isnan(limit) or limit in values for limit in (*narrow, *wide))
        assert not narrow.low > narrow.high
        assert math.isnan(wide.low) or wide.low <= narrow.low
        assert math.isnan(wide.high) or wide.high >= narrow.high


@_unhurried
@given(_numbers)
def test_repeating_every_call_of_a_prompt_adds_no_certainty(values):
    prompts = list(range(len(values)))
    once = st.clustered_mean(values, prompts)
    thrice = st.clustered_mean(values * 3, prompts * 3)
    assert thrice.value == pytest.approx(once.value, rel=1e-9, abs=1e-9)
    assert thrice.se == pytest.approx(once.se, rel=1e-6, abs=1e-9, nan_ok=True)
    quantiles = [st.quantile_interval(values * 3, 0.5, clusters=prompts * 3), st.quantile_interval(values, 0.5)]
    # One is at most as narrow as the other, up to the rank that rounding costs.
    if not any(map(math.isnan, quantiles[1])) and not any(map(math.isnan, quantiles[0])):
        ordered = sorted(values)
        rank = max(ordered.index(quantiles[1].low), 0)
        assert quantiles[0].low <= ordered[min(rank + 1, len(ordered) - 1)]


@_unhurried
@given(_numbers, _level)
def test_a_mean_lies_in_its_interval_and_a_share_never_leaves_0_to_1(values, level):
    found = st.clustered_mean(values, level=level)
    if not math.isnan(found.low):
        assert found.low - 1e-6 <= found.value <= found.high + 1e-6
    share = st.clustered_mean([v > 0 for v in values], level=level)
    assert 0 <= share.low <= share.value <= share.high <= 1


@settings(_unhurried, max_examples=50)
@given(_numbers, _number)
def test_differences_turn_with_their_sign_and_move_with_a_shift(values, shift):
    for of in (st.paired_t, st.hodges_lehmann):
        there, back = of(values), of([-v for v in values])
        assert back.value == pytest.approx(-there.value, rel=1e-9, abs=1e-6)
        assert back.p == pytest.approx(there.p, rel=1e-6, abs=1e-12, nan_ok=True)
        assert back.low == pytest.approx(-there.high, rel=1e-9, abs=1e-6, nan_ok=True)
        moved = of([v + shift for v in values])
        assert moved.value == pytest.approx(there.value + shift, rel=1e-6, abs=1e-4)
    assert st.rank_biserial(values) == pytest.approx(-st.rank_biserial([-v for v in values]))
    assert -1 <= st.rank_biserial(values) <= 1


@_unhurried
@given(some.integers(0, 40), some.integers(0, 40))
def test_mcnemar_is_the_same_both_ways_and_mid_p_lies_below_exact(b, c):
    assert st.mcnemar(b, c) == pytest.approx(st.mcnemar(c, b))
    assert 0 <= st.mcnemar(b, c) <= st.mcnemar(b, c, method="exact") <= 1


@_unhurried
@given(some.integers(1, 30), some.data())
def test_pass_at_k_rises_with_k_and_with_what_is_right(n, data):
    correct = data.draw(some.integers(0, n))
    by_k = [st.pass_at_k(n, correct, k) for k in range(1, n + 1)]
    assert by_k[0] == pytest.approx(correct / n)
    assert all(b >= a - 1e-12 for a, b in pairwise(by_k))
    assert by_k[-1] == (1.0 if correct else 0.0)
    if correct < n:
        assert st.pass_at_k(n, correct + 1, 1) > by_k[0]


_choice = some.integers(2, 4).flatmap(
    lambda size: some.permutations(range(5)).flatmap(
        lambda arms: some.sampled_from([None, *arms[:size]]).map(
            lambda winner: ComparisonOutcome(tuple(arms[:size]), winner)
        )
    )
)


@_unhurried
@given(some.lists(_choice, min_size=1, max_size=40))
def test_strengths_are_finite_sum_to_nothing_and_one_more_win_never_weakens(choices):
    before = st.fit_strengths(choices, 5)
    assert np.isfinite(before.strengths).all()
    assert before.strengths.sum() == pytest.approx(0, abs=1e-9)
    assert (np.diag(before.covariance) > 0).all()
    after = st.fit_strengths([*choices, ComparisonOutcome((0, 1), 0)], 5)
    assert after.strengths[0] - after.strengths[1] >= before.strengths[0] - before.strengths[1] - 1e-6


_score = some.one_of(some.none(), some.booleans(), some.sampled_from([0.0, 0.25, 1.0]))
_call = some.fixed_dictionaries(
    {
        "arm": some.sampled_from(["a", "b", "c"]),
        "prompt_id": some.integers(0, 6),
        "status": some.sampled_from(["ok", "ok", "ok", "error", "truncated", "cancelled", "running"]),
        "score_x": _score,
        "ttft_s": some.one_of(some.none(), some.sampled_from([0.0, 0.1, 0.5])),
        "total_s": some.one_of(some.none(), some.sampled_from([0.2, 1.0])),
        "cost_usd": some.one_of(some.none(), some.sampled_from([0.0, 0.01])),
        "cold": some.one_of(some.none(), some.booleans()),
        "cache_hit": some.booleans(),
        "client_lag_s": some.one_of(some.none(), some.sampled_from([0.0, 1.0])),
        "warmup": some.sampled_from([False, False, False, True]),
    }
)


@settings(_unhurried, max_examples=25)
@given(some.lists(_call, min_size=1, max_size=40))
def test_any_calls_are_summed_up_or_refused_in_a_sentence(rows):
    calls = pd.DataFrame(rows)
    counted = calls[~calls["warmup"]]
    if counted.empty:
        with pytest.raises(LLMError, match="no calls"):
            st.summarise_arms(calls)
        return
    table = st.summarise_arms(calls)
    assert table["n"].sum() == len(counted)
    assert table["errors"].sum() == counted["status"].isin(["error", "truncated"]).sum()
    assert table.conclusion.endswith(".")
    assert repr(table)
    assert table._repr_html_()
    if len(set(counted["arm"])) > 1:
        pairs = st.paired(calls)
        assert ((pairs["p"].isna()) | pairs["p"].between(0, 1)).all()
        known = pairs[pairs["low"].notna() & pairs["high"].notna()]
        assert (known["low"] <= known["difference"] + 1e-12).all()
        assert (known["high"] >= known["difference"] - 1e-12).all()
        assert pairs.conclusion.endswith(".")


_few = some.sampled_from([0.0, 1.0])
_share = some.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
_pair_of = some.sampled_from([_few, _share, some.floats(0, 1), some.integers(1, 5).map(float)])
_pairs_of_arms = some.tuples(some.integers(2, 4), some.integers(1, 30), some.integers(1, 2)).flatmap(
    lambda shape: _pair_of.flatmap(
        lambda value: some.lists(value, min_size=math.prod(shape), max_size=math.prod(shape)).map(
            lambda values: np.array(values).reshape(shape)
        )
    )
)


@settings(_unhurried, max_examples=150)
@given(
    _pairs_of_arms,
    some.sampled_from(["score_x", "ttft_s", "cost_usd"]),
    some.sampled_from([0.8, 0.9, 0.95, 0.99]),
    some.sampled_from(["test", "bootstrap"]),
    some.sampled_from([True, False, None]),
    some.floats(-1, 1),
)
def test_verdict_interval_p_and_sentence_agree(values, metric, level, interval, direction, shift):
    arms, prompts, repeats = values.shape
    if metric != "score_x":
        values = values + 1 + shift * np.arange(arms)[:, None, None] / arms
    calls = pd.DataFrame(
        {
            "arm": np.repeat([f"arm{i}" for i in range(arms)], prompts * repeats),
            "prompt_id": np.tile(np.repeat(np.arange(prompts), repeats), arms),
            "status": "ok",
            metric: values.ravel(),
        }
    )
    directions = {"x": direction} if metric == "score_x" else None
    table = st.paired(calls, metrics=metric, level=level, interval=interval, directions=directions)
    comparisons = arms - 1
    for (_, arm), row in table.iterrows():
        decided = row["verdict"] != "cannot be told"
        assert decided == bool(row["low"] > 0 or row["high"] < 0)
        assert decided == (row["p_adjusted"] <= 1 - level)
        assert row["p_adjusted"] == pytest.approx(min(1, comparisons * row["p"]))
        if not (math.isnan(row["low"]) or math.isnan(row["high"])):
            assert row["low"] - 1e-9 <= row["difference"] <= row["high"] + 1e-9
        sentences = [text for text in table.conclusion.split("On ") if f" {arm} " in text]
        assert len(sentences) == 1
        words = {"better", "worse", "higher", "lower"}
        if decided:
            higher = row["low"] > 0
            good = METRICS[metric].higher_is_better if metric in METRICS else direction
            word = ("higher" if higher else "lower") if good is None else ("better" if higher == good else "worse")
            assert row["verdict"] == word
            assert f"{arm} is {word} than arm0" in sentences[0]
            assert ("corrected" in sentences[0]) == (comparisons > 1)
        else:
            assert not any(f"{arm} is {word} than" in sentences[0] for word in words)
            assert "it cannot be told whether" in sentences[0] or "equals arm0 on every prompt" in sentences[0]


@_unhurried
@given(
    some.lists(some.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=40),
    some.sampled_from(["exact", "mid-p"]),
)
def test_a_bounded_mean_has_nested_intervals_that_turn_with_the_sign(values, method):
    found = [st.bounded_mean(values, -1, 1, level=level, method=method) for level in (0.5, 0.9, 0.99)]
    for narrow, wide in pairwise(found):
        assert -1 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1
    assert found[-1].low <= found[0].value <= found[-1].high
    back = st.bounded_mean([-value for value in values], -1, 1, level=0.9, method=method)
    assert (back.low, back.high, back.p) == pytest.approx((-found[1].high, -found[1].low, found[1].p), abs=1e-9)
    exact = st.bounded_mean(values, -1, 1, level=0.9)
    assert exact.low <= found[1].low + 1e-9
    assert exact.p >= found[1].p - 1e-12
