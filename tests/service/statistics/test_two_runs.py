"""The prompts of two runs are matched by their ids, and by their texts where the ids are of different versions."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from ipyllm import LLMError, assert_no_regression


def run(ids):
    texts = [f"text {n}" for n in range(80)]
    return pd.DataFrame(
        {"arm": "a", "prompt_id": [ids(text) for text in texts], "prompt": texts, "status": "ok", "score_exact": 1}
    )


def of_text(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def of_row(text):
    return hashlib.sha256(f'{{"text": "{text}"}}'.encode()).hexdigest()[:12]


def test_a_run_with_ids_of_texts_is_matched_by_the_texts():
    found = assert_no_regression(run(of_text), run(of_row), metric="exact", margin=0.1)
    assert found.n_pairs == 80


def test_ids_decide_where_they_match_or_are_the_users_own():
    moved = run(of_row).assign(prompt=[f"another text {n}" for n in range(80)])
    assert assert_no_regression(run(of_row), moved, metric="exact", margin=0.1).n_pairs == 80
    with pytest.raises(LLMError, match="no prompt with scores of exact in common"):
        assert_no_regression(
            run(lambda text: f"old {text}"), run(lambda text: f"new {text}"), metric="exact", margin=0.1
        )


def test_a_metric_that_a_run_does_not_have_is_not_a_matter_of_prompts():
    known = run(of_row).assign(cost_usd=0.001)
    with pytest.raises(LLMError, match=r"^No costs of the candidate are known\.$"):
        assert_no_regression(known, run(of_row), metric="cost_usd")
    with pytest.raises(LLMError, match=r"^No costs of the baseline and the candidate are known\.$"):
        assert_no_regression(run(of_row), run(of_row), metric="cost_usd")
