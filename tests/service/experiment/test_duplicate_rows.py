"""Equal rows of an experiment's input: asked once, answered each, counted each."""

from __future__ import annotations

import pandas as pd
import pytest

from ipyllm import Experiment
from ipyllm.statistics import paired, summarise_arms

ROWS = pd.DataFrame(
    {"text": ["so", "la", "so", "so"], "status": ["x", "y", "x", "x"]},
    index=pd.Index(["d", "c", "b", "d"], name="place"),
)


@pytest.fixture
def results(model):
    def right(response):
        return response.content.startswith("SO")

    with pytest.warns(UserWarning, match="2 of the 4 prompts are duplicates: equal prompts are asked once"):
        experiment = Experiment(
            ROWS, "{{ text }}", models=[model("a"), model("b")], scorers=[right], repeats=2, warmup=0
        )
    return experiment.run(progress=False)


def test_equal_rows_are_asked_once_and_each_has_the_answer_on_its_index(results, asked):
    assert len(asked()) == 2 * 2 * 2
    rows = results.rows
    assert list(rows.index) == [place for place in ROWS.index for _ in range(4)]
    assert rows.index.name == "place"
    assert rows["text"].tolist() == [text for text in ROWS["text"] for _ in range(4)]
    assert rows["input_status"].tolist() == [status for status in ROWS["status"] for _ in range(4)]
    assert rows["response"].tolist() == rows["text"].str.upper().tolist()
    assert rows["arm"].tolist() == ["a", "a", "b", "b"] * 4
    assert rows["repeat"].tolist() == [0, 1] * 8
    assert rows["score_right"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, *[1] * 8]
    calls = results.calls
    assert len(calls[~calls["warmup"]]) == 8
    assert calls.groupby("prompt")["n_rows"].unique().map(list).to_dict() == {"la": [1], "so": [3]}


def test_scores_count_for_each_of_the_equal_rows_as_one_cluster(results):
    summary = results.summary()
    assert summary["score_right"].tolist() == [0.75, 0.75]
    assert summary["score_right_n"].tolist() == [8, 8]
    assert summary["n"].tolist() == [4, 4]
    assert summary["prompts"].tolist() == [2, 2]


def test_equal_rows_do_not_narrow_an_interval_and_do_not_count_twice_in_pairs():
    calls = pd.DataFrame(
        {
            "arm": ["a"] * 40 + ["b"] * 40,
            "prompt_id": [*range(40)] * 2,
            "status": "ok",
            "score_x": [0.1 * (n % 7) for n in range(40)] + [0.1 * (n % 5) for n in range(40)],
            "cost_usd": 0.5,
        }
    )
    once, thrice = summarise_arms(calls), summarise_arms(calls.assign(n_rows=3))
    for name in ("score_x", "score_x_low", "score_x_high", "cost_usd", "n"):
        assert once[name].tolist() == pytest.approx(thrice[name].tolist())
    weighted = summarise_arms(calls.assign(n_rows=[5] + [1] * 79))
    a = calls["score_x"][:40]
    assert weighted.loc["a", "score_x"] == pytest.approx((a.sum() + 4 * a[0]) / 44)
    pd.testing.assert_frame_equal(paired(calls), paired(calls.assign(n_rows=3)))


def test_pass_at_k_counts_a_prompt_for_each_of_its_rows():
    calls = pd.DataFrame(
        {
            "arm": "a",
            "prompt_id": [1, 1, 2, 2],
            "status": "ok",
            "score_x": [1, 0, 0, 0],
            "n_rows": [3, 3, 1, 1],
        }
    )
    assert summarise_arms(calls, pass_at=(2,)).loc["a", "score_x_pass_at_2"] == pytest.approx(0.75)


def test_a_list_is_numbered_and_a_row_without_a_call_has_no_answer(model):
    with pytest.warns(UserWarning, match="1 of the 3 prompts is a duplicate"):
        experiment = Experiment(["so", "la", "so"], models=model(), warmup=0)
    rows = experiment.results().rows
    assert rows.index.tolist() == [0, 1, 2]
    assert rows["prompt"].tolist() == ["so", "la", "so"]
    assert rows["response"].isna().all()


def test_the_input_is_kept_as_it_was(model):
    frame = pd.DataFrame({"prompt": pd.Categorical(["so", "la"]), "n": pd.array([1, None], dtype="Int64")})
    experiment = Experiment(frame, models=model(), warmup=0)
    frame["n"] = 0
    rows = experiment.run(progress=False).rows
    assert rows["n"].dtype == "Int64"
    assert rows["n"].isna().tolist() == [False, True]
    assert rows["prompt"].dtype == "category"
