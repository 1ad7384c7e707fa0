"""Experiments with a schema: values in columns, and answers that do not fit as failures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import pytest

from ipyllm import Experiment, usage
from ipyllm.ledger import current_ledger
from tests.fakes import answer


@dataclass
class Review:
    label: Literal["good", "bad"]
    stars: int


ROWS = [{"text": "joy", "label": "good"}, {"text": "gone", "label": "bad"}, {"text": "odd", "label": "good"}]
TEMPLATE = "Classify: {{ text }}"


@pytest.fixture
def server(server):
    """The server answers "odd" with prose, and everything else with a review."""

    def decide(request):
        told = request.messages[-1]["content"] if request.messages[-1]["role"] == "user" else ""
        if "That cannot be used" in told or "odd" in request.prompt:
            return answer("It has its moments.")
        good = "joy" in request.prompt
        return answer(json.dumps({"label": "good" if good else "bad", "stars": 5 if good else 1}))

    server.on(decide)
    return server


def right(response, row):
    assert isinstance(response.parsed, Review)
    return response.parsed.label == row["label"]


def experiment(model, **options):
    return Experiment(
        ROWS, TEMPLATE, models=model(), scorers=[right], **{"schema": Review, "repairs": 0, "warmup": 0, **options}
    )


def calls_of(results):
    return results.calls.set_index("prompt")


def test_values_and_their_fields_are_columns(model, server):
    calls = calls_of(experiment(model).run(progress=False))
    joy = calls.loc["Classify: joy"]
    assert joy["parsed"] == {"label": "good", "stars": 5}
    assert (joy["parsed_label"], joy["parsed_stars"]) == ("good", 5)
    assert calls["parsed_label"].cat.categories.tolist() == ["good", "bad"]
    assert calls["parsed_stars"].dtype == "Int64"
    assert pd.isna(calls.loc["Classify: odd", "parsed_stars"])
    assert server.requests[0].json["response_format"]["json_schema"]["name"] == "Review"


def test_rows_of_the_input_have_the_fields_beside_their_own_columns(model, server):
    rows = experiment(model).run(progress=False).rows
    assert rows["label"].tolist() == ["good", "bad", "good"]
    assert rows["parsed_label"].astype("object").fillna("none").tolist() == ["good", "bad", "none"]


def test_an_answer_that_does_not_fit_is_a_failure_everywhere(model, server):
    results = experiment(model).run(progress=False)
    odd = calls_of(results).loc["Classify: odd"]
    assert (odd["status"], odd["error_category"]) == ("error", "schema_mismatch")
    assert "does not fit the schema" in odd["error_message"]
    assert odd["response"] == "It has its moments."
    assert pd.isna(odd["score_right"])
    assert results.state == "2 of 3 calls have an answer. 1 failed (schema_mismatch 1)."
    summary = results.summary().iloc[0]
    assert (summary["errors"], summary["score_right_n"], summary["score_right"]) == (1, 2, 1.0)
    current_ledger().flush()
    assert sorted(usage()["status"]) == ["error", "ok", "ok"]


def test_it_is_not_asked_again_until_it_fits(model, server):
    experiment(model, name="reviews").run(progress=False)
    assert experiment(model, name="reviews").run(progress=False).undone == 0
    assert len(server.requests) == 3


def test_a_repaired_answer_is_one_call_with_the_cost_of_both(model, server, priced):
    asked = []

    def decide(request):
        asked.append(request)
        if len(asked) == 1:
            return answer("good, I think")
        return answer(json.dumps({"label": "good", "stars": 5}))

    server.on(decide)
    results = Experiment(["joy"], models=priced, schema=Review, warmup=0).run(progress=False)
    (call,) = results.calls.to_dict("records")
    assert (call["exchanges"], call["status"], call["parsed_stars"]) == (2, "ok", 5)
    current_ledger().flush()
    rows = usage()
    assert rows["step"].fillna("").tolist() == ["repair", ""]
    assert call["cost_usd"] == pytest.approx(rows["cost_usd"].sum())
    assert call["total_s"] >= rows["total_s"].sum() - 0.001
    assert results.costs.loc["calls", ["n", "cost_usd"]].tolist() == [1, pytest.approx(rows["cost_usd"].sum())]
    assert results.state == "1 of 1 calls have an answer."


def test_a_step_alone_is_no_answer(model, server):
    """A kernel that dies during a repair leaves a row with the status ok, whose answer was refused."""
    made = experiment(model, name="reviews")
    trial = next(iter(made.grid.trials.values()))
    tags = {"cell": trial.key, "grid": made.grid.signature}
    row = {"call_id": "0" * 26, "experiment": "reviews", "arm": trial.arm.label, "status": "ok", "tags": tags}
    current_ledger().put({**row, "response": "hm", "step": "repair", "warmup": False, "repeat": 0})
    assert made.results().undone == 3
    assert made.run(progress=False).undone == 0
    assert len(server.requests) == 3


def test_a_misfit_that_was_not_noted_is_one_all_the_same(model, server):
    """The kernel died between the answer and the note that it does not fit."""
    results = experiment(model).run(progress=False)
    call_id = calls_of(results).loc["Classify: odd", "call_id"]
    current_ledger().put({"call_id": call_id, "status": "ok", "error_category": None, "error_message": None})
    again = experiment(model).results()
    assert again.state == "2 of 3 calls have an answer. 1 failed (schema_mismatch 1)."
    assert calls_of(again).loc["Classify: odd", "error_category"] == "schema_mismatch"


def test_answers_that_the_ledger_does_not_store_are_read_too(model, server, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    calls = calls_of(experiment(model).run(progress=False))
    assert calls.loc["Classify: joy", "parsed_label"] == "good"


def test_schemas_of_several_arms_share_the_columns(model, server):
    @dataclass
    class Label:
        label: str

    results = Experiment(
        ROWS[:1],
        TEMPLATE,
        models=model(),
        params={"long": {"schema": Review}, "short": {"schema": Label}, "free": {}},
        repairs=0,
        warmup=0,
    ).run(progress=False)
    calls = results.calls.set_index("arm")
    assert calls["parsed_label"].astype("object").to_dict() == {
        "a · long": "good",
        "a · short": "good",
        "a · free": None,
    }
    assert calls.loc["a · long", "parsed_stars"] == 5
    assert pd.isna(calls.loc["a · short", "parsed_stars"])
    assert calls.loc["a · free", "parsed"] is None


def test_arms_may_differ_in_nothing_but_the_schema(model):
    sets = [
        {"schema": Review},
        {"schema": {"title": "Label", "type": "object", "properties": {"n": {"type": "integer"}}}},
    ]
    arms = Experiment(ROWS, TEMPLATE, models=model(), params=sets).grid.arms
    assert [arm.label for arm in arms] == ["a · schema=Review", "a · schema=Label"]


def test_what_is_not_an_object_is_parsed_without_fields(model, server):
    server.on(lambda request: answer('{"value": ["a", "b"]}'))
    calls = Experiment(["so"], models=model(), schema=list[str], warmup=0).run(progress=False).calls
    assert calls["parsed"].tolist() == [["a", "b"]]
    assert not [name for name in calls.columns if name.startswith("parsed_")]
