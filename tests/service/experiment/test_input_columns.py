"""The user's own columns beside the calls, and the order of rows, arms and repeats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ipyllm import Experiment
from ipyllm.scorers import pairwise_judge
from tests.fakes import answer

TABLE = pd.DataFrame(
    {
        "text": ["so", "la", "mi"],
        "status": ["new", "old", "new"],
        "score_human": [1, 2, 3],
        "prompt_id": [30, 10, 20],
        "vector": [np.zeros(2), np.ones(2), np.zeros(3)],
    },
    index=pd.Index(["z", "x", "y"], name="place"),
)


def run(model, source=TABLE, template="{{ text }}", **options):
    options = {"models": [model("b"), model("a")], "warmup": 1, "repeats": 2, **options}
    return Experiment(source, template, **options).run(progress=False)


def test_the_calls_have_the_columns_of_the_input_and_its_index(model):
    def length(response):
        return len(response.content)

    calls = run(model, scorers=[length]).calls
    measured = calls[~calls["warmup"]]
    assert measured["row"].tolist() == [place for place in TABLE.index for _ in range(4)]
    own = TABLE.loc[measured["row"]]
    for column, name in {"text": "text", "input_status": "status", "input_score_human": "score_human"}.items():
        assert measured[column].tolist() == own[name].tolist()
    assert measured["prompt_id"].tolist() == own["prompt_id"].astype(str).tolist()
    assert "input_prompt_id" not in calls
    assert all((one == other).all() for one, other in zip(measured["vector"], own["vector"], strict=True))
    assert set(measured["status"]) == {"ok"}
    assert measured["score_length"].eq(2).all()
    names = list(calls.columns)
    assert names[names.index("n_rows") + 1 :][:4] == ["text", "input_status", "input_score_human", "vector"]


def test_rows_arms_and_repeats_stand_in_the_order_given(model):
    results = run(model)
    calls = results.calls
    assert calls["warmup"].tolist() == [False] * 12 + [True] * 2
    assert calls[~calls["warmup"]]["arm"].tolist() == ["b", "b", "a", "a"] * 3
    assert calls[~calls["warmup"]]["repeat"].tolist() == [0, 1] * 6
    assert list(calls.groupby("arm").size().index) == ["b", "a"]
    assert list(results.rows.groupby("arm").size().index) == ["b", "a"]
    assert list(results.summary().index) == ["b", "a"]
    assert list(calls.pivot_table(index="text", columns="arm", values="total_s").columns) == ["b", "a"]


def test_a_human_score_of_the_input_is_no_metric(model):
    results = run(model)
    assert "score_human" not in " ".join(results.summary().columns).replace("input_score_human", "")
    assert not results.paired()["family"].eq("secondary").all()
    assert results.directions == {}


@pytest.mark.parametrize(
    ("source", "template", "own"),
    [
        (["so", "la"], None, []),
        (["so", "la"], "{{ prompt }}!", ["input_prompt"]),
        ([{"text": "so", "n": 1}, {"text": "la"}], "{{ text }}", ["text", "n"]),
        (pd.Series(["so", "la"], name="x"), None, []),
    ],
    ids=["texts", "template", "dicts", "series"],
)
def test_what_has_no_index_is_numbered_and_the_prompt_is_not_there_twice(model, source, template, own):
    calls = run(model, source, template, warmup=0, repeats=1).calls
    assert calls["row"].tolist() == [0, 0, 1, 1]
    names = list(calls.columns)
    assert names[names.index("n_rows") + 1 : names.index("prompt")] == own


def test_judges_compare_arms_in_the_order_given_each_with_its_question(model, server):
    server.on(
        lambda request: (
            answer('{"reason": "so", "better": "first"}')
            if request.json["model"] == "judge"
            else answer(request.prompt.upper())
        )
    )
    results = run(model, template={"v1": "{{ text }}", "v2": "Sing {{ text }}"}, models=model("b"), warmup=0, repeats=1)
    votes = pairwise_judge(model("judge")).votes(results.calls)
    assert [list(arms) for arms in votes["arms"]] == [["b · v1", "b · v2"]] * 3
    assert votes["prompt_id"].tolist() == ["30", "10", "20"]
    asked = [request.prompt for request in server.requests if request.json["model"] == "judge"]
    assert len(asked) == 6
    for prompt in asked:
        assert "Question of the first answer" in prompt
        first, _, rest = prompt.partition("Question of the second answer")
        second, _, answers = rest.partition("First answer")
        one, _, other = answers.partition("Second answer")
        assert ("Sing" in first) == ("SING" in one) != ("Sing" in second) == ("SING" in other)
    assert results.ranking(votes)["prompts"].tolist() == [3, 3]
