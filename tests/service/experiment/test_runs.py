"""Experiments of a ledger: listed, read again without their code, compared with one another, handed to somebody."""

from __future__ import annotations

import json
import math
import zipfile
from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import BaseModel

from ipyllm import Experiment, LLMError, cast_vote, compare_runs, experiments, votes
from ipyllm.experiment.arms_of_runs import arms_to_compare
from ipyllm.scorers import exact
from tests.fakes import answer, status

pytestmark = pytest.mark.filterwarnings("ignore:1 of the 4 prompts is a duplicate")

TABLE = pd.DataFrame(
    {"text": ["so", "la", "mi", "so"], "gold": ["SO", "LA", "no", "SO"]},
    index=pd.Index(["w", "x", "y", "z"], name="id"),
)


def asked_about(model, name, table=TABLE, **options):
    return Experiment(table, "{{ text }}", models=model, scorers=[exact("gold")], name=name, warmup=0, **options).run(
        progress=False
    )


def test_experiments_are_listed_with_their_state_cost_note_and_tags(model, priced, server):
    first = asked_about([priced, model("b")], "first", note="prompts of May", tags={"data": 1})
    server.on(lambda request: status(400, {"error": {"message": "No."}}) if request.prompt == "la" else answer("?"))
    asked_about(model("a"), "second", TABLE.iloc[:2])
    found = experiments()
    assert list(found.index) == ["second", "first"]
    row = found.loc["first"]
    assert (row["arms"], row["n_prompts"], row["repeats"], row["calls"]) == (["a", "b"], 3, 1, 6)
    assert (row["answered"], row["failed"], row["state"]) == (6, 0, "complete")
    assert row["cost_usd"] == pytest.approx(0.6)
    assert (row["note"], row["tags"]) == ("prompts of May", {"data": "1"})
    assert (found.loc["second", "answered"], found.loc["second", "failed"]) == (1, 1)
    assert found.loc["second", "state"] == "incomplete"
    assert found.loc["second", "data_hash"] != row["data_hash"]
    first.annotate("prompts of June")
    again = experiments().loc["first"]
    assert (again["note"], again["tags"], again["data_hash"]) == ("prompts of June", {"data": "1"}, row["data_hash"])
    assert again["started_at"] == row["started_at"]


def test_a_cost_that_nobody_knows_is_null_and_nothing_paid_is_zero(model):
    results = asked_about(model("unpriced"), "unpriced")
    assert math.isnan(experiments().loc["unpriced", "cost_usd"])
    assert math.isnan(results.costs.loc["total", "cost_usd"])
    assert results.costs.loc["judges", "cost_usd"] == 0
    assert "It costs" not in results._repr_html_()


def test_answers_of_an_earlier_grid_do_not_make_an_experiment_complete(model, server):
    asked_about(model("a"), "changed")
    server.on(lambda request: status(400, {"error": {"message": "No."}}))
    with pytest.warns(UserWarning, match="has changed"):
        Experiment(TABLE, "Again: {{ text }}", models=model("a"), name="changed", warmup=0).run(progress=False)
    row = experiments().loc["changed"]
    assert (row["calls"], row["answered"], row["failed"], row["state"]) == (3, 0, 3, "incomplete")


def test_an_experiment_is_opened_without_its_prompts_models_and_scorers(model, server):
    results = asked_about(
        [model("a"), model("b")], "kept", params={"cool": {"temperature": 0}, "hot": {"temperature": 1}}
    )
    n_requests = len(server.requests)
    opened = Experiment.open("kept")
    assert opened.state == results.state
    pd.testing.assert_frame_equal(opened.calls, results.calls)
    pd.testing.assert_frame_equal(opened.rows, results.rows)
    assert opened.directions == {"score_exact": True}
    assert str(opened.paired()) == str(results.paired())
    assert opened.calls["score_exact"].tolist() == results.calls["score_exact"].tolist()
    assert len(server.requests) == n_requests
    assert set(Experiment.open("kept", scorers=[exact("text")]).calls["score_exact"]) == {0.0}


def test_fields_of_a_schema_and_templates_are_there_again(model, server):
    class Verdict(BaseModel):
        good: bool

    server.on(lambda request: answer('{"good": true}'))
    templates = {"v1": "{{ text }}", "v2": "Well, {{ text }}"}
    experiment = Experiment(TABLE, templates, models=model("a"), schema=Verdict, name="kept", warmup=0)
    results = experiment.run(progress=False)
    opened = Experiment.open("kept")
    assert opened.calls["parsed_good"].tolist() == [True] * 6
    assert opened.arms == results.arms == ("a · v1", "a · v2")
    assert opened.calls["call_id"].tolist() == results.calls["call_id"].tolist()


def test_scores_that_were_not_stored_are_missing_with_a_reason(model):
    experiment = Experiment(TABLE, "{{ text }}", models=model("a"), scorers=[exact("gold")], name="kept", warmup=0)
    experiment.start().rescore([exact("gold")])
    experiment.wait()
    experiment.results()._scores.on_scored(experiment.results()._scores.stored())  # before any score
    opened = Experiment.open("kept")
    assert opened.calls["score_exact"].isna().all()
    assert set(opened.calls["score_exact_error"]) == {
        "It was not scored when the experiment was stored: give scorers=… to score it now."
    }


def test_two_runs_are_compared_row_by_row(model, server):
    rows = [{"prompt": f"word {n}", "gold": f"WORD {n}"} for n in range(12)]
    before = Experiment(rows[:11], models=model("a"), scorers=[exact("gold")], name="monday", warmup=0).run(
        progress=False
    )
    server.on(lambda request: answer("wrong"))
    Experiment(rows[1:], models=model("a", temperature=1), scorers=[exact("gold")], name="today", warmup=0).run(
        progress=False
    )
    table = compare_runs("monday", "today", metrics="exact")
    row = table.loc[("score_exact", "today")]
    assert (row["n_pairs"], row["difference"], row["verdict"], row["baseline"]) == (10, -1.0, "worse", "monday")
    assert "1 prompt of 'monday' is not in 'today'." in table.notes
    assert "1 prompt of 'today' is not in 'monday'." in table.notes
    assert compare_runs(before, "today", metrics="exact").equals(table)


def test_runs_of_several_arms_are_compared_arm_by_arm_and_corrected_for_their_number(model, server):
    rows = [{"prompt": f"word {n}", "gold": f"WORD {n}"} for n in range(12)]
    for name in ("monday", "today"):
        Experiment(rows, models=[model("a"), model("b")], scorers=[exact("gold")], name=name, warmup=0).run(
            progress=False
        )
        server.on(lambda request: answer("wrong") if request.json["model"] == "a" else answer(request.prompt.upper()))
    table = compare_runs("monday", "today", metrics="exact")
    assert list(table.index) == [("score_exact", "a · today"), ("score_exact", "b · today")]
    alone = compare_runs("monday", "today", metrics="exact", level=0.975)
    assert table["verdict"].tolist() == ["worse", "cannot be told"]
    p = table["p"].tolist()
    assert table["p_adjusted"].tolist() == [pytest.approx(min(1, 2 * each)) for each in p]
    assert table["low"].iloc[1] > alone["low"].iloc[1]


def test_what_changed_between_two_runs_is_said(model, server):
    rows = [{"prompt_id": n, "prompt": f"word {n}", "gold": f"WORD {n}"} for n in range(4)]
    server.on(lambda request: answer(request.prompt.upper(), model="a-2026-01"))
    Experiment(rows, models=model("a"), scorers=[exact("gold")], name="monday", warmup=0).run(progress=False)
    server.on(lambda request: answer(request.prompt.upper(), model="a-2026-02"))
    rows[0]["gold"] = "other"
    Experiment(rows, models=model("a"), scorers=[exact("gold")], name="today", warmup=0).run(progress=False)
    notes = compare_runs("monday", "today").notes
    assert "The data of 1 prompt changed between the runs: their scores may differ for that." in notes
    assert "a was answered by a-2026-01 before, and by a-2026-02 after." in notes


def test_prompts_and_settings_that_changed_between_two_runs_are_named(model):
    def run(name, *models, template="{{ text }}", **options):
        Experiment(TABLE, template, models=models, scorers=[exact("gold")], name=name, warmup=0, **options).run(
            progress=False
        )

    run("monday", model("a"), model("b"), params={"temperature": 0}, system="Be brief.")
    run("today", model("a"), model("b"), template="Say: {{ text }}", params={"temperature": 1}, examples=[("a", "b")])
    run("model", model("c"), params={"temperature": 1})
    run("alone", model("b"), params={"temperature": 1})
    run("again", model("a"), model("b"), params={"temperature": 0}, system="Be brief.")
    assert compare_runs("monday", "today").notes[:4] == (
        "The prompts changed: 3 rows with the same data were sent with another text, messages or images.",
        "The system prompt was 'Be brief.', and is not set.",
        "The examples changed, or the messages before each prompt.",
        "temperature was 0, and is 1.",
    )
    assert compare_runs("model", "alone").notes[0] == "The model was openai/c, and is openai/b."
    unchanged = compare_runs("monday", "again").notes
    assert [note for note in unchanged if "changed" in note or ", and is " in note] == []


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda: Experiment.open("mondey"), "Did you mean 'monday'?"),
        (lambda: compare_runs("monday", "monday"), "These are one experiment"),
        (lambda: compare_runs("monday", "other"), "have no row in common"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(model, ask, expected):
    Experiment(["so"], models=model("a"), name="monday", warmup=0).run(progress=False)
    Experiment(["la"], models=model("a"), name="other", warmup=0).run(progress=False)
    with pytest.raises(LLMError, match=expected):
        ask()


def test_a_saved_experiment_is_read_by_us_and_by_others_on_another_machine(model, server, tmp_path):
    results = asked_about([model("a"), model("b")], "kept")
    path = results.save(tmp_path / "run.zip")
    loaded = Experiment.load(path)
    assert loaded.name == "kept"
    same = [
        "arm",
        "prompt_id",
        "row",
        "text",
        "gold",
        "response",
        "status",
        "ttft_s",
        "cost_usd",
        "tags",
        "score_exact",
    ]
    pd.testing.assert_frame_equal(loaded.calls[same], results.calls[same])
    assert loaded.calls["started_at"].tolist() == results.calls["started_at"].tolist()
    assert str(loaded.summary()) == str(results.summary())
    assert loaded.costs.equals(results.costs)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["calls.parquet", "experiment.json", "ledger.parquet"]
        assert json.loads(archive.read("experiment.json"))["format"] == "ipyllm-experiment"
        archive.extract("calls.parquet", tmp_path)
    table = pd.read_parquet(tmp_path / "calls.parquet")
    assert table["score_exact"].tolist() == results.calls["score_exact"].tolist()
    assert table["response"].tolist() == results.calls["response"].tolist()
    assert list(table.columns) == list(results.calls.columns)
    assert path.stat().st_mode & 0o077 == 0


def test_a_table_whose_columns_are_named_as_texts_is_saved(model, tmp_path):
    table = pd.DataFrame({"text": ["so", "la"], "response": ["do", "re"], "reasoning": ["mi", "fa"]})
    results = Experiment(table, "{{ text }}", models=model("a"), name="kept", warmup=0).run(progress=False)
    loaded = Experiment.load(results.save(tmp_path / "run.zip"))
    for each in (results, loaded):
        assert each.calls["input_response"].tolist() == ["do", "re"]
        assert each.calls["input_reasoning"].tolist() == ["mi", "fa"]
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        archive.extract("calls.parquet", tmp_path)
    saved = pd.read_parquet(tmp_path / "calls.parquet")
    assert list(saved.columns) == list(results.calls.columns)
    assert saved["response"].tolist() == results.calls["response"].tolist()


def test_votes_and_notes_are_handed_over_too(model, tmp_path):
    results = asked_about([model("a"), model("b")], "kept")
    matrix = results.matrix()
    judgements = results.judgements(matrix)
    judgements.vote(matrix.rows[0], "b")
    judgements.vote(matrix.rows[1], "tie")
    judgements.note(matrix.rows[0], "Sings better.")
    cast_vote({"x": None, "y": None}, "x", prompt="another's")
    loaded = Experiment.load(results.save(tmp_path / "run.zip"))
    assert str(loaded.ranking()) == str(results.ranking())
    pd.testing.assert_frame_equal(loaded.notes, results.notes)
    shown = loaded.matrix()
    assert [loaded.judgements(shown).vote_on(row) for row in shown.rows[:2]] == ["b", "tie"]
    assert len(votes(kernel=None, ledger=loaded._ledger)) == 2
    again = Experiment.load(loaded.save(tmp_path / "again.zip"))
    assert str(again.ranking()) == str(results.ranking())


def test_two_templates_are_compared_with_one(model):
    asked_about(model("a"), "monday")
    rows = {"v1": "{{ text }}", "v2": "Say {{ text }}"}
    Experiment(TABLE, rows, models=model("a"), scorers=[exact("gold")], name="today", warmup=0).run(progress=False)
    table = compare_runs("monday", "today", metrics="exact")
    assert list(table.index) == [("score_exact", "a · v1 · today"), ("score_exact", "a · v2 · today")]
    assert set(table["baseline"]) == {"a · monday"}
    assert "baseline" not in table.compact().columns
    back = compare_runs("today", "monday", metrics="exact").compact()
    assert back["baseline"].tolist() == ["a · v1 · today", "a · v2 · today"]
    chosen = compare_runs("monday", "today", arms={"a": "a · v2"}, metrics="exact")
    assert list(chosen.index) == [("score_exact", "today")]
    assert chosen.notes[0] == "1 arm of 'today' is not compared: a · v1."
    with pytest.raises(LLMError, match=r"'today' has no arm 'a · v3'. Did you mean"):
        compare_runs("monday", "today", arms={"a": "a · v3"})


ARM = {"a": "m", "b": "n", "a · v1": "m", "a · v2": "m", "b · v1": "n", "b · v2": "n", "c": "o", "d": "p"}


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        (["a", "b"], ["b", "c"], [("b", "b")]),
        (["a"], ["b"], [("a", "b")]),
        (["a · v1", "a · v2"], ["a"], [("a · v1", "a"), ("a · v2", "a")]),
        (["a", "b"], ["a · v1", "b · v1"], [("a", "a · v1"), ("b", "b · v1")]),
        (["a", "b"], ["a · v1", "a · v2", "c"], [("a", "a · v1"), ("a", "a · v2")]),
        (["a", "b"], ["c", "d"], None),
        (["a · v1", "a · v2"], ["b", "c"], None),
    ],
)
def test_arms_are_paired_where_it_is_clear_which(before, after, pairs):
    runs = [(name, [SimpleNamespace(label=x, model=ARM[x]) for x in of]) for name, of in (("m", before), ("t", after))]
    if pairs is None:
        with pytest.raises(LLMError, match=r"is not clear: .*arms=\{'"):
            arms_to_compare(*runs)
    else:
        assert arms_to_compare(*runs) == pairs


def test_files_that_are_no_saved_experiment_are_refused(model, tmp_path):
    results = asked_about(model("a"), "kept")
    with pytest.raises(LLMError, match=r"'run.csv' must end in .zip"):
        results.save(tmp_path / "run.csv")
    with pytest.raises(LLMError, match="No such file"):
        Experiment.load(tmp_path / "none.zip")
    text = tmp_path / "text.zip"
    text.write_text("Hello")
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("experiment.json", "{}")
        archive.writestr("ledger.parquet", "")
    newer = tmp_path / "newer.zip"
    with zipfile.ZipFile(newer, "w") as archive:
        archive.writestr("experiment.json", '{"format": "ipyllm-experiment", "version": 99}')
        archive.writestr("ledger.parquet", "")
    for path, why in ((text, "not a zip"), (foreign, "another program"), (newer, "a newer ipyllm")):
        with pytest.raises(LLMError, match=why):
            Experiment.load(path)


def test_a_ledger_without_experiments_says_that_it_lists_none():
    with pytest.raises(LLMError, match=r"There is no experiment 'monday' in this ledger\. It lists none yet\."):
        Experiment.open("monday")


def test_what_the_user_asks_not_to_store_is_not_stored(model, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    asked_about(model("a"), "secret")
    assert experiments().loc["secret", "calls"] == 3
    with pytest.raises(LLMError, match="IPYLLM_STORE_TEXT=0"):
        Experiment.open("secret")
