"""``assert_no_regression`` fails for a worse candidate, and for too few prompts to decide."""

from __future__ import annotations

import re
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ipyllm
from ipyllm import statistics as st
from ipyllm.errors import LLMError
from ipyllm.statistics import assert_no_regression
from ipyllm.statistics.bounded_mean import probability_negative
from ipyllm.statistics.power import n_needed_within_margin
from tests.service.statistics.simulated import calls


def _run(arm, right, *, ttft=0.3, seed=1, prompts=200, repeats=2):
    return calls({arm: (right, ttft)}, prompts=prompts, repeats=repeats, seed=seed)


def _flip(run, n):
    """Return the run with its first ``n`` right answers wrong."""
    changed = run.copy()
    rows = changed.index[changed["score_exact"].astype(bool)][:n]
    changed.loc[rows, "score_exact"] = False
    return changed


def _scores(values, **options):
    values = list(values)
    return pd.DataFrame({"arm": "a", "prompt_id": range(len(values)), "status": "ok", "score_x": values, **options})


def test_the_same_results_pass_with_a_margin_and_without_one_it_is_asked_for():
    run = _run("a", 0.7)
    found = assert_no_regression(run, run, metric="exact", margin=0.02)
    assert (found.passed, found.difference, found.n_pairs) == (True, 0, 200)
    with pytest.raises(AssertionError, match=r"With a margin of 0 only a candidate that is shown to be better passes"):
        assert_no_regression(run, run, metric="exact")
    assert assert_no_regression(_flip(run, 60), run, metric="exact").bound > 0


@pytest.mark.parametrize(("n", "worse_by"), [(5, "0.451"), (58, "0.0503")])
def test_what_did_not_change_on_few_prompts_may_still_be_worse(n, worse_by):
    with pytest.raises(AssertionError) as refused:
        assert_no_regression(_scores([1] * n), _scores([1] * n), metric="x", margin=0.05)
    assert str(refused.value) == (
        f"x may have become worse: from 1 to 1 over {n} prompts; with 95% confidence it could be worse by {worse_by}; "
        "accepted is 0.05. If it is as good as before, at least 59 prompts are needed to show it."
    )
    assert assert_no_regression(_scores([1] * 59), _scores([1] * 59), metric="x", margin=0.05).passed


@pytest.mark.parametrize("margin", [0.05, 0.1])
@pytest.mark.parametrize("n", [5, 20, 50])
def test_a_candidate_that_is_worse_by_the_margin_passes_at_most_in_one_of_twenty_runs(n, margin):
    # Counted out over all numbers of prompts that only one of the two answers correctly; make simulate has more.
    @cache
    def passes(lost, won):
        points = {-1: lost, 1: won, 0: n - lost - won}
        values = np.array([value for value, count in points.items() if count] + [-1])  # and one that is the worst
        counts = np.array([count for count in points.values() if count] + [1])
        return probability_negative(values + margin, counts) <= 0.05

    assert not passes(n, 0)
    assert passes(0, n)
    for base in (0.5, 0.9, 0.95, 1.0):
        worse = base - margin
        for only_before, only_after in ((margin, 0.0), (base * (1 - worse), (1 - base) * worse)):
            lost, won = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
            left = np.maximum(n - lost, 0)
            probability = stats.binom.pmf(lost, n, only_before) * stats.binom.pmf(
                won, left, only_after / (1 - only_before)
            )
            likely = [tuple(map(int, cell)) for cell in np.argwhere((probability > 1e-6) & (lost + won <= n))]
            assert sum(probability[cell] for cell in likely if passes(*cell)) <= 0.05


def test_the_gate_is_that_bound_for_answers_asked_once_and_for_repeats():
    rng = np.random.default_rng(3)
    for repeats in (1, 3):
        right = rng.random((2, 80 * repeats)) < [[0.9], [0.85]]
        prompts = np.repeat(range(80), repeats)
        before, after = (_scores(values.astype(int)).assign(prompt_id=prompts) for values in right)
        d = np.diff(right.reshape(2, 80, repeats).mean(axis=2), axis=0)[0]
        expected = st.bounded_mean(d, -1, 1, level=0.9)
        found = assert_no_regression(before, after, metric="x", margin=0.3)
        assert (found.bound, found.difference, found.n_pairs) == pytest.approx((expected.low, expected.value, 80))


def test_repeats_of_a_prompt_are_not_more_prompts():
    often = _scores([1] * 100).assign(prompt_id=[i % 10 for i in range(100)])
    with pytest.raises(AssertionError, match=r"over 10 prompts.* it could be worse by 0.259; .* at least 59 prompts"):
        assert_no_regression(often, often, metric="x", margin=0.05)


def test_scores_beyond_0_and_1_are_bounded_by_their_range():
    fives = _scores([5] * 40)
    with pytest.raises(AssertionError, match=r"no bound on how much.* say so with score_range=…\.$"):
        assert_no_regression(fives, fives, metric="x", margin=0.5, directions={"x": True})
    known = {"metric": "x", "margin": 0.5, "directions": {"x": True}, "score_range": (1, 5)}
    assert assert_no_regression(fives, fives, **known).bound == pytest.approx(-4 * (1 - 0.05 ** (1 / 40)))
    mixed = _scores([5, 4, 1, 2] * 10)
    found = assert_no_regression(mixed, mixed, metric="x", margin=0.5, directions={"x": True})
    assert found.bound == pytest.approx(-4 * (1 - 0.05 ** (1 / 40)))
    assert found.sentence.endswith(
        "This takes scores of x to be from 1 to 5, as in these calls; score_range=… sets other limits."
    )
    assert "as in these calls" not in assert_no_regression(mixed, mixed, **known).sentence


def test_a_failed_call_scores_0_also_where_the_range_begins_at_1():
    before = _scores([5, 4, 3, 2] * 20)
    after = before.assign(status=["error"] + ["ok"] * 79, score_x=[None, *before["score_x"][1:]])
    options = {"metric": "x", "margin": 1, "directions": {"x": True}, "score_range": (1, 5)}
    found = assert_no_regression(before, after, **options)
    assert found.difference == pytest.approx(-5 / 80)
    assert found.sentence.endswith("1 of the candidate's 80 calls failed; without a score they count as 0.")


@pytest.mark.parametrize("metric", ["x", "ttft_s"])
def test_a_margin_that_no_number_of_prompts_could_show_is_said_so(metric):
    before = _scores([0, 1] * 10, ttft_s=np.random.default_rng(1).lognormal(0, 0.3, 20))
    after = before.assign(score_x=[1, 0] * 10, ttft_s=before["ttft_s"].to_numpy()[::-1])
    with pytest.raises(AssertionError, match=r"No number of prompts could show so little\.$"):
        assert_no_regression(before, after, metric=metric, margin=1e-7)


def test_a_rare_loss_of_a_whole_score_is_not_ruled_out_by_a_small_standard_error():
    before = np.random.default_rng(8).uniform(0.9, 1, 30)
    after = before + np.random.default_rng(9).normal(0, 0.001, 30).clip(-0.002, 0.002)
    # One prompt in eleven may lose 1: 30 prompts miss that with a probability of 0.057.
    options = {"metric": "x", "margin": 1 / 11, "directions": {"x": True}}
    with pytest.raises(AssertionError, match=r"x may have become worse: .* it could be worse by 0\.095"):
        assert_no_regression(_scores(before), _scores(after), **options)


def test_a_share_of_the_baseline_is_as_uncertain_as_the_baseline():
    right = np.random.default_rng(9).random((2, 30)) < [[0.8], [0.7]]
    before, after = (_scores(values.astype(int)) for values in right)
    contrast = right[1] - 0.5 * right[0]  # above 0 if the candidate keeps half of what was right
    expected = st.bounded_mean(contrast, -0.5, 1, level=0.9).low - 0.5 * right[0].mean()
    found = assert_no_regression(before, after, metric="x", margin="50%")
    assert found.bound == pytest.approx(expected)
    assert found.difference == pytest.approx(right[1].mean() - right[0].mean())
    absolute = assert_no_regression(before, after, metric="x", margin=found.margin)
    assert absolute.bound != pytest.approx(found.bound)


def test_lower_is_better_where_the_scorer_says_so():
    short, long = _scores([3, 4] * 20), _scores([9, 10] * 20)
    options = {"metric": "x", "margin": 2, "directions": {"x": False}}
    with pytest.raises(AssertionError, match=r"x became worse by more than is accepted: from 3.5 to 9.5"):
        assert_no_regression(short, long, **options)
    assert assert_no_regression(long, short, **options).difference == 6
    with pytest.raises(
        LLMError, match="It is not known whether higher scores of x are better: say so with directions="
    ):
        assert_no_regression(short, long, metric="x", margin=2)


def test_equal_times_pass_from_five_prompts_on_and_costs_are_bounded_by_the_highest():
    times = [_scores([0] * n, ttft_s=0.25) for n in (4, 5)]
    with pytest.raises(AssertionError, match=r"no bound on how much.* at least 5 prompts are needed"):
        assert_no_regression(times[0], times[0], metric="ttft_s", margin="5%")
    assert assert_no_regression(times[1], times[1], metric="ttft_s", margin="5%").bound == 0
    with pytest.raises(AssertionError, match=r"could be worse by 0 s; .* With a margin of 0 only"):
        assert_no_regression(times[1], times[1], metric="ttft_s")
    costs = times[1].assign(ttft_s=None, cost_usd=0.01)
    with pytest.raises(AssertionError, match=r"it could be worse by \$0\.0047; .*costs to be from \$0 to \$0\.01"):
        assert_no_regression(costs, costs, metric="cost_usd", margin="5%")


def test_a_clearly_worse_candidate_is_refused_in_one_sentence():
    run = _run("a", 0.7)
    with pytest.raises(AssertionError) as refused:
        assert_no_regression(run, _flip(run, 60), metric="exact", margin=0.02)
    sentence = str(refused.value)
    was, now = run["score_exact"].mean(), _flip(run, 60)["score_exact"].mean()
    assert sentence.startswith(
        f"exact became worse by more than is accepted: from {was:.3g} to {now:.3g} over 200 prompts; with 95% "
    )
    assert re.search(r"each, it is worse by at least 0\.1\d+ and by at most 0\.1\d+; accepted", sentence)
    assert sentence.endswith("accepted is 0.02.")
    assert "\n" not in sentence


def test_a_little_worse_passes_within_the_margin_and_fails_outside():
    run = _run("a", 0.7)
    worse = _flip(run, 4)  # by 0.01
    assert assert_no_regression(run, worse, metric="exact", margin=0.05).passed
    with pytest.raises(AssertionError, match="exact may have become worse"):
        assert_no_regression(run, worse, metric="exact", margin=0.011)


def test_too_few_prompts_do_not_pass_and_it_says_how_many_would_do():
    before, after = _run("a", 0.7, prompts=10), _run("a", 0.7, prompts=10, seed=9)
    options = {"metric": "similarity", "margin": 0.1, "directions": {"similarity": True}}
    with pytest.raises(
        AssertionError, match=r"may have become worse.*about [\d,]+ prompts show it with a power of 80%\."
    ):
        assert_no_regression(before, after, **options)


def test_as_many_prompts_as_it_says_show_an_equal_candidate_in_four_of_five_runs():
    rng = np.random.default_rng(5)
    for margin, draw, sd in (
        (0.1, lambda n: rng.normal(0, 0.2, n).clip(-1, 1), 0.2),
        (0.1, lambda n: rng.choice([-1, 0, 1], n, p=[0.1, 0.8, 0.1]), 0.2**0.5),
    ):
        n = n_needed_within_margin(margin, sd, worst=-1)
        passed = 0
        for _ in range(200):
            points, counts = np.unique(draw(n), return_counts=True)
            passed += probability_negative(np.append(points, -1) + margin, np.append(counts, 1)) <= 0.05
        assert 140 <= passed <= 180, margin  # binomial(200, 0.8), one in a thousand on either side


def test_higher_is_worse_for_times_and_a_margin_may_be_a_share():
    before = _run("a", 0.7, ttft=0.3)
    assert assert_no_regression(before, _run("a", 0.7, ttft=0.2, seed=2), metric="ttft_s").passed
    assert assert_no_regression(before, _run("a", 0.7, ttft=0.31, seed=2), metric="ttft_s", margin="15%").passed
    with pytest.raises(
        AssertionError, match=r"time to first token became worse by more than is accepted: from 0\.3\d* s to 0\.6\d* s"
    ):
        assert_no_regression(before, _run("a", 0.7, ttft=0.6, seed=2), metric="ttft_s", margin="15%")


def test_failing_on_the_hard_prompts_is_no_way_to_pass():
    run = _run("a", 0.7)
    failing = run.copy()
    lost = ~failing["score_exact"].astype(bool) | (failing.index % 4 == 0)
    failing["score_exact"] = failing["score_exact"].astype(object).mask(lost)
    failing.loc[lost, "status"] = "error"
    assert failing["score_exact"].dropna().all()
    with pytest.raises(AssertionError, match=r"became worse.*of the candidate's 400 calls failed"):
        assert_no_regression(run, failing, metric="exact", margin=0.02)
    with pytest.raises(AssertionError, match="error rate became worse"):
        assert_no_regression(run, failing, metric="errors", margin=0.02)


def test_a_candidate_whose_every_call_failed_is_refused_on_any_metric():
    run = _run("a", 0.7, prompts=5)
    dead = run.assign(status="error", ttft_s=None, score_exact=None)
    with pytest.raises(AssertionError, match=r"^All 10 calls of the candidate failed\.$"):
        assert_no_regression(run, dead, metric="ttft_s", margin="5%")
    with pytest.raises(AssertionError, match=r"exact (may have become|became) worse"):
        assert_no_regression(run, dead, metric="exact", margin=0.05)


def test_prompts_that_are_gone_are_mentioned():
    run = _run("a", 0.7)
    found = assert_no_regression(run, run[run["prompt_id"] != "p3"], metric="exact", margin=0.05)
    assert found.sentence.endswith("1 of the baseline's 200 prompts were not sent to the candidate.")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_the_baseline_may_be_a_file_of_an_earlier_run(tmp_path, suffix):
    run = _run("a", 0.7, prompts=30)
    path = tmp_path / f"baseline{suffix}"
    if suffix == ".csv":
        run.to_csv(path, index=False)
    elif suffix == ".jsonl":
        run.drop(columns="started_at").to_json(path, orient="records", lines=True)
    else:
        run.to_parquet(path)
    assert assert_no_regression(path, run, metric="exact", margin=0.1).difference == 0
    known = {"directions": {"similarity": True}}
    assert assert_no_regression(str(path), run, metric="similarity", margin=0.1, **known).passed


def test_an_arm_may_have_a_label_that_looks_like_a_file():
    run = _run("a", 0.7)
    both = pd.concat([run.assign(arm="model.csv"), run.assign(arm="new")])
    assert assert_no_regression("model.csv", both, metric="exact", margin=0.1).passed


def test_parquet_without_pyarrow_is_said_in_one_sentence(tmp_path, monkeypatch):
    run = _run("a", 0.7, prompts=5)
    path = tmp_path / "baseline.parquet"
    run.to_parquet(path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)  # as where it was never installed
    with pytest.raises(LLMError, match=r"Parquet needs pyarrow, which is not installed: .*ipyllm\[tables\]"):
        assert_no_regression(path, run, metric="exact")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_broken_file_is_said_in_one_sentence(tmp_path, suffix):
    path = tmp_path / f"baseline{suffix}"
    path.write_bytes(b"" if suffix == ".csv" else b"not what it says")
    with pytest.raises(LLMError, match=r"The baseline 'baseline.* cannot be read"):
        assert_no_regression(path, _run("a", 0.7, prompts=5), metric="exact")


def test_the_baseline_may_be_an_arm_of_the_same_run():
    both = calls({"old": (0.4, 0.3), "new": (0.8, 0.3)}, prompts=80)
    assert assert_no_regression("old", both, metric="exact").difference > 0.2
    with pytest.raises(AssertionError, match="exact became worse"):
        assert_no_regression("new", both, metric="exact", arm="old")


def test_what_cannot_be_compared_is_said_so(tmp_path):
    run = _run("a", 0.7, prompts=5)
    both = calls({"old": (0.4, 0.3), "new": (0.8, 0.3), "newer": (0.8, 0.3)}, prompts=5)
    for arguments, options, match in [
        ((run, run), {"metric": "exakt"}, "There is no metric 'exakt'. Did you mean 'exact'"),
        ((run, both), {"metric": "exact"}, "There are several arms .old, new, newer.: choose one with arm="),
        ((both, run), {"metric": "exact"}, "choose one with baseline_arm="),
        (("old", both), {"metric": "exact"}, "There are several arms .new, newer."),
        (("odl", both), {"metric": "exact"}, "There is no arm 'odl'. Did you mean 'old'"),
        ((tmp_path / "no.csv", run), {"metric": "exact"}, "does not exist"),
        ((tmp_path / "no.xlsx", run), {"metric": "exact"}, "save one as .parquet, .csv or .jsonl"),
        ((run, run), {"metric": "exact", "margin": -1}, "margin must be a number.* not -1"),
        ((run, run), {"metric": "exact", "margin": "much"}, "margin must be a number.* not 'much'"),
        (
            (run, run),
            {"metric": "exact", "score_range": (1, 0)},
            "score_range must be the lowest and the highest score",
        ),
        ((run, run), {"metric": "exact", "score_range": 5}, "score_range must be .* not 5"),
        ((run, run), {"metric": "exact", "score_range": (2, 5)}, "scores of exact beyond the range"),
        ((run, run), {"metric": "exact", "alpha": 1}, "alpha must be a probability"),
        ((run, run.assign(prompt_id="other")), {"metric": "exact"}, "no prompt with scores"),
        ((run.drop(columns=["prompt_id", "prompt"]), run), {"metric": "exact"}, "both need a column prompt_id"),
    ]:
        with pytest.raises(LLMError, match=match):
            assert_no_regression(*arguments, **options)


def test_it_is_one_of_the_names_of_the_package():
    assert ipyllm.assert_no_regression is assert_no_regression


def test_times_that_were_mostly_measured_late_decide_nothing_and_that_is_the_reason_given():
    before = _run("a", 0.7)
    late = _run("a", 0.7, seed=2).assign(arrival_clock="process", client_lag_s=0.2)
    with pytest.raises(LLMError, match="Most calls of the candidate were measured late, so their first-token"):
        assert_no_regression(before, late, metric="ttft_s", margin="5%")
    assert assert_no_regression(before, late, metric="total_s", margin="50%").passed


def test_where_the_medians_say_otherwise_it_says_what_decides():
    before = pd.DataFrame({"arm": "a", "prompt_id": range(9), "status": "ok", "total_s": [1.0, 2, 3, 4, 5, 6, 7, 8, 9]})
    slower = before.assign(total_s=[1.5, 2.5, 3.5, 4.5, 4.9, 6.5, 7.5, 8.5, 9.5])
    with pytest.raises(AssertionError) as refused:
        assert_no_regression(before, slower, metric="total_s", margin=0.01)
    assert "from 5 s to 4.9 s" in str(refused.value)
    assert str(refused.value).endswith(
        " These are medians, but prompt by prompt it is typically worse, by 0.5 s, which decides."
    )
    found = assert_no_regression(slower, before, metric="total_s", margin=0.01)
    assert found.sentence.endswith("prompt by prompt it is typically better, by 0.5 s, which decides.")
    agrees = assert_no_regression(before.assign(total_s=slower["total_s"] + 0.2), before, metric="total_s", margin=0.01)
    assert "medians" not in agrees.sentence
