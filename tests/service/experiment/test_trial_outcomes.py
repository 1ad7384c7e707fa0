"""How trials ended, read from few columns, is what all columns say."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from ipyllm.experiment.parsed_answers import ParsedAnswers
from ipyllm.experiment.trial_outcomes import trial_outcomes
from ipyllm.ledger import current_ledger
from ipyllm.settings import get_settings
from tests.answered_experiment import answered, reviews

COLUMNS = ["arm", "status", "error_category", "cause", "concurrency", "executor", "machine"]


def outcomes(results, **options):
    grid = results.grid
    return trial_outcomes(results.name, grid, current_ledger(), ParsedAnswers(grid), None, **options)


def counted(frame):
    return Counter(map(str, frame[COLUMNS].astype(object).fillna("none").itertuples(index=False)))


def test_outcomes_are_those_of_all_columns():
    results = reviews(10, repeats=2)
    assert counted(outcomes(results)) == counted(results.calls)
    assert results.state == "36 of 40 calls have an answer. 4 failed (timeout 4)."


def test_a_trial_that_was_asked_again_counts_once_and_its_answer_wins():
    results = reviews(10)
    failed = results.calls[results.calls["status"] == "error"].iloc[0]
    again = {name: failed[name] for name in ("experiment", "arm", "prompt_id", "prompt", "tags", "repeat", "model")}
    times = [failed["started_at"].to_pydatetime().replace(year=year) for year in (2027, 2028)]
    current_ledger().put({**again, "call_id": "a", "started_at": times[0], "status": "ok", "response": "x"})
    current_ledger().put({**again, "call_id": "b", "started_at": times[1], "status": "error", "error_category": "x"})
    assert results.state == "19 of 20 calls have an answer. 1 failed (timeout 1)."


def test_rows_that_are_not_written_yet_count(monkeypatch):
    results = reviews(5, models=["a"])
    key = results.calls["call_id"].iloc[0]
    monkeypatch.setattr(type(current_ledger()), "flush", lambda *_, **__: True)
    monkeypatch.setattr(current_ledger()._writer.pending, "rows", lambda _: [{"call_id": key, "status": "error"}])
    assert results.state == "5 of 5 calls have an answer."  # an answer stays one
    trial = results.calls["tags"].iloc[0]
    fresh = {"call_id": "new", "experiment": results.name, "tags": trial, "status": "ok", "address": "x"}
    monkeypatch.setattr(current_ledger()._writer.pending, "rows", lambda _: [fresh])
    assert len(outcomes(results)) == 5


def test_all_failed_names_the_first_failure():
    failure = {"status": "error", "error_category": "timeout"}
    results = answered(["so", "la"], lambda _arm, row, _: {**failure, "error_message": f"Row {row} took too long."})
    assert results.state == "All 4 calls failed (timeout 4): Row 0 took too long."


@pytest.mark.parametrize("status", ["ok", "error"])
def test_damaged_tags_are_left_to_the_tolerant_read(status):
    results = answered(["so", "la", "ti"], lambda *_: {"response": "x"}, models=["a"])
    with closing(sqlite3.connect(Path(str(get_settings().ledger)))) as connection, connection:
        key = results.calls["call_id"].iloc[1]
        connection.execute("UPDATE calls SET tags = '{oh', status = ? WHERE call_id = ?", (status, key))
    assert outcomes(results) is None
    with pytest.warns(UserWarning, match="damaged values in 1 call"):
        assert results.state == "2 of 3 calls have an answer. 1 were not made. Call run() again to continue."


def test_calls_of_earlier_versions_are_left_to_the_whole_read():
    results = answered(["so"], lambda *_: {"response": "x", "tags": {"cell": "of-an-earlier-version"}}, models=["a"])
    assert outcomes(results) is None


def test_calls_done_before_are_told():
    results = reviews(5, models=["a"])
    key = next(iter(results.grid.trials))
    assert outcomes(results, done_before={key})["reused"].tolist().count(True) == 1
