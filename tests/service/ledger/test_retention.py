"""``prune``: deletes old rows, or only their texts, and never running calls."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from ipyllm import LLMError, cast_vote, prune
from ipyllm.ledger import Ledger, database, store
from ipyllm.ledger.columns import NOTES, VOTES

_NOW = datetime.now(UTC)


def _age(days):
    return _NOW - timedelta(days=days)


def test_old_rows_go_younger_ones_lose_their_text_and_running_ones_stay(ledger, sql, call):
    ledger.put(call(call_id="old", started_at=_age(100), status="ok"))
    ledger.put(call(call_id="old but running", started_at=_age(100)))
    ledger.put(call(call_id="older than its text", started_at=_age(40), status="error", response="said", ttft_s=1.0))
    ledger.put(call(call_id="young", started_at=_age(1), status="ok"))
    ledger.put({"comparison": "old", "cast_at": _age(100), "prompt": "asked"}, VOTES)
    ledger.put({"comparison": "middle", "cast_at": _age(40), "prompt": "asked"}, VOTES)

    assert prune(timedelta(days=90), keep_text=timedelta(days=30), ledger=ledger) == (1, 1, 2)
    assert sql("SELECT call_id, prompt, response, ttft_s FROM calls ORDER BY started_at, call_id") == [
        ("old but running", "What is a ledger?", None, None),
        ("older than its text", None, None, 1.0),
        ("young", "What is a ledger?", None, None),
    ]
    assert sql("SELECT comparison, prompt FROM votes") == [("middle", None)]
    assert prune(timedelta(days=90), keep_text=timedelta(days=30), ledger=ledger) == (0, 0, 0)


def test_old_notes_go_and_younger_ones_keep_their_text(ledger, sql):
    for note, days in (("old", 100), ("middle", 40)):
        ledger.put({"note_id": note, "written_at": _age(days), "note": note}, NOTES)
    assert prune(timedelta(days=90), keep_text=timedelta(days=30), ledger=ledger) == (0, 0, 0)
    assert sql("SELECT note FROM notes") == [("middle",)]


def test_what_was_put_and_not_yet_written_is_pruned_too(ledger, sql, call):
    ledger.put(call(started_at=_age(2), status="ok"))
    cast_vote({"a": None, "b": None}, "tie", ledger=ledger)
    assert prune(timedelta(days=1), ledger=ledger) == (1, 0, 0)
    assert sql("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM votes)") == [(0, 1)]


def test_what_is_pruned_is_gone_from_the_file_and_the_file_is_smaller(path, ledger, call, monkeypatch):
    monkeypatch.setattr(store, "_PRUNE_BATCH", 100)
    for number in range(550):
        ledger.put(call(started_at=_age(2), status="ok", response=f"a secret plan {number} " * 50))
    ledger.put(call(started_at=_age(0), status="ok", response="of today"))
    assert ledger.flush(30)
    assert ledger.read()[0][-2].startswith("a secret plan")
    assert prune(timedelta(days=1), ledger=ledger) == (550, 0, 0)
    log = path.with_name(path.name + "-wal")
    left = path.read_bytes() + (log.read_bytes() if log.exists() else b"")
    assert b"a secret plan" not in left
    assert b"of today" in left
    assert len(left) < 200_000


def test_pruning_a_ledger_that_another_program_locks_says_so_and_deletes_nothing(path, sql, call, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    with Ledger(path) as ledger:
        ledger.put(call(started_at=_age(2), status="ok"))
        assert ledger.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LLMError, match=r"cannot be pruned \(database is locked\)"):
                prune(timedelta(days=1), ledger=ledger)
        assert sql("SELECT count(*) FROM calls") == [(1,)]
        assert prune(timedelta(days=1), ledger=ledger) == (1, 0, 0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "needs an age"),
        ({"older_than": "long ago"}, "older_than='long ago' is not a date"),
        ({"keep_text": timedelta(days=-1)}, "is in the future"),
        ({"older_than": 90}, "older_than=90 is not a date"),
    ],
)
def test_what_says_no_age_is_refused_in_one_sentence(ledger, call, given, sentence):
    ledger.put(call(status="ok"))
    with pytest.raises(LLMError, match=sentence) as raised:
        prune(ledger=ledger, **given)
    assert raised.value.category == "bad_request"
    assert len(ledger.read()) == 1
