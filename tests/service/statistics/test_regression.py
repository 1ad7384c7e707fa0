"""``assert_no_regression`` fails for a worse candidate, and for too few prompts to decide."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

import ipyllm
from ipyllm.errors import LLMError
from ipyllm.statistics import assert_no_regression
from tests.service.statistics.simulated import calls


def _run(arm, right, *, ttft=0.3, seed=1, prompts=200, repeats=2):
    return calls({arm: (right, ttft)}, prompts=prompts, repeats=repeats, seed=seed)


def _flip(run, n):
    """Return the run with its first ``n`` right answers wrong."""
    changed = run.copy()
    rows = changed.index[changed["score_exact"].astype(bool)][:n]
    changed.loc[rows, "score_exact"] = False
    return changed


def test_the_same_results_pass_even_without_a_margin():
    run = _run("a", 0.7)
    found = assert_no_regression(run, run, metric="exact")
    assert (found.passed, found.difference, found.n_pairs) == (True, 0, 200)


def test_a_clearly_worse_candidate_is_refused_in_one_sentence():
    run = _run("a", 0.7)
    with pytest.raises(AssertionError) as refused:
        assert_no_regression(run, _flip(run, 60), metric="exact", margin=0.02)
    sentence = str(refused.value)
    was, now = run["score_exact"].mean(), _flip(run, 60)["score_exact"].mean()
    assert sentence.startswith(
        f"exact became worse: from {was:.3g} to {now:.3g} over 200 prompts; with 95% confidence "
    )
    assert "it is worse by at most 0." in sentence
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
    with pytest.raises(AssertionError, match=r"may have become worse.*About [\d,]+ prompts would probably decide it"):
        assert_no_regression(before, after, metric="similarity", margin=0.01, directions={"similarity": True})


def test_about_one_in_twenty_candidates_at_the_margin_gets_through():
    rng = np.random.default_rng(1)
    before = pd.DataFrame({"arm": "a", "prompt_id": range(50), "status": "ok", "score_x": rng.normal(0.5, 0.1, 50)})
    passed = 0
    for _ in range(300):
        after = before.assign(score_x=before["score_x"] + rng.normal(-0.05, 0.1, 50))
        try:
            assert_no_regression(before, after, metric="x", margin=0.05, directions={"x": True})
            passed += 1
        except AssertionError:
            pass
    assert 4 <= passed <= 28  # binomial(300, 0.05), one in a thousand on either side


def test_higher_is_worse_for_times_and_a_margin_may_be_a_share():
    before = _run("a", 0.7, ttft=0.3)
    assert assert_no_regression(before, _run("a", 0.7, ttft=0.2, seed=2), metric="ttft_s").passed
    assert assert_no_regression(before, _run("a", 0.7, ttft=0.31, seed=2), metric="ttft_s", margin="15%").passed
    with pytest.raises(AssertionError, match=r"time to first token became worse: from 0\.3\d* s to 0\.6\d* s"):
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
    with pytest.raises(AssertionError, match="exact became worse"):
        assert_no_regression(run, dead, metric="exact", margin=0.05)


def test_prompts_that_are_gone_are_mentioned():
    run = _run("a", 0.7)
    found = assert_no_regression(run, run[run["prompt_id"] != "p3"], metric="exact")
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
    assert assert_no_regression(path, run, metric="exact").difference == 0
    known = {"directions": {"similarity": True}}
    assert assert_no_regression(str(path), run, metric="similarity", margin=1e-6, **known).passed


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
