"""Large reads through Arrow in other processes return the same frame as reads row by row."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import closing
from datetime import UTC, datetime, timedelta
from mmap import mmap

import pandas as pd
import pytest

from ipyllm import usage
from ipyllm.ledger import Ledger, arrow_read
from ipyllm.ledger.store import Store

pytest.importorskip("adbc_driver_sqlite", reason="large reads need ipyllm[tables]")

_START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def large(monkeypatch):
    """Take any read for a large one, and count them."""
    monkeypatch.setattr(arrow_read, "MIN_ROWS", 1)
    read = Store.read_large
    counted = []

    def counting(store, query):
        chunks = read(store, query)
        counted.append(chunks is not None)
        return chunks

    monkeypatch.setattr(Store, "read_large", counting)
    return counted


@pytest.fixture
def filled(path, call):
    """A ledger of rows in another order than their moments', with nulls first, last and in between."""
    with Ledger(path) as ledger:
        for n in range(60):
            ledger.put(
                call(
                    call_id=f"{(n * 7) % 60:03}",
                    started_at=None if n == 5 else _START + timedelta(seconds=(n * 7) % 60, microseconds=n),
                    status="ok" if n % 3 else "error",
                    model=f"openai/m{n % 4}",
                    experiment=f"e{n % 2}" if n > 10 else None,
                    warmup=bool(n % 2) if n > 20 else None,
                    params={"stop": ["a"]} if n % 5 == 0 else {"temperature": n % 2},
                    tags=None if n == 7 else {"arm": "it's", "part": str(n % 3)},
                    ttft_s=float(n) if n > 30 else None,
                    n_chunks=n if n > 40 else None,
                    response="é\n" * n if n != 11 else None,
                )
            )
        assert ledger.flush(30)
        yield ledger


@pytest.mark.parametrize(
    ("least", "conditions", "arrow"),
    [
        (60, {}, True),
        (61, {}, False),
        (60, {"limit": 60}, True),
        (60, {"limit": 59}, False),
        (15, {"model": "openai/m1"}, True),
        (16, {"model": "openai/m1"}, False),
    ],
)
def test_a_read_is_large_from_exactly_the_least_number_of_rows_on(filled, large, monkeypatch, least, conditions, arrow):
    monkeypatch.setattr(arrow_read, "MIN_ROWS", least)
    usage(None, ledger=filled, **conditions)
    assert large == [arrow]


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"text": False},
        {"model": ["openai/m1", "openai/m2"], "status": "ok"},
        {"experiment": "e1", "origin": "api"},
        {"tags": {"arm": "it's", "part": "1"}},
        {"since": _START + timedelta(seconds=10), "until": _START + timedelta(seconds=40)},
        {"limit": 7},
        {"model": "no? such %s model"},
    ],
    ids=str,
)
def test_the_large_way_gives_the_same_frame_as_the_small_way(filled, conditions, large, monkeypatch):
    many = usage(None, ledger=filled, **conditions)
    monkeypatch.setattr(arrow_read, "MIN_ROWS", 1_000_000)
    few = usage(None, ledger=filled, **conditions)
    # Where nothing is found there are not many.
    assert large == [len(many) > 0, False]
    pd.testing.assert_frame_equal(many, few, check_column_type=True)
    assert type(many) is type(few)


@pytest.mark.parametrize("name", ["né", "日本", 'a"b', "a\\b", "a\nb", "a b", "a.b", "$", "'", "[0]", ""])
def test_a_tag_of_any_name_is_found(path, call, name):
    with Ledger(path) as ledger:
        ledger.put(call(call_id="1", tags={name: "x"}))
        ledger.put(call(call_id="2", tags={name: "y"}))
        ledger.put(call(call_id="3", tags={"other": "x"}))
        assert ledger.flush(30)
        assert usage(None, ledger=ledger, tags={name: "x"})["call_id"].tolist() == ["1"]


def test_large_messages_have_memory_of_their_own(filled, large, monkeypatch):
    usual = usage(None, ledger=filled)
    monkeypatch.setattr(arrow_read, "_OWN_MEMORY_BYTES", 1)
    sizes = []
    monkeypatch.setattr(arrow_read, "mmap", lambda _, size: (sizes.append(size), mmap(-1, size))[1])
    pd.testing.assert_frame_equal(usage(None, ledger=filled), usual)
    assert large == [True, True]
    assert len(sizes) > len(usual.columns)


def test_rows_still_in_memory_are_laid_over_the_many(filled, large, sql, monkeypatch):
    with closing(sqlite3.connect(filled._writer._target, isolation_level=None)) as other:
        monkeypatch.setattr("ipyllm.ledger.database.BUSY_S", 0.1)
        monkeypatch.setattr("ipyllm.ledger.writer._LOCKED_TOO_LONG_S", 0.0)
        filled._writer.store.close()
        other.execute("BEGIN IMMEDIATE")
        filled.put({"call_id": "010", "status": "cancelled", "cost_usd": 0.5, "tags": {"new": "x"}, "warmup": True})
        filled.put({"call_id": "new", "started_at": _START, "status": "running", "model": "openai/m1"})
        with pytest.warns(UserWarning, match="cannot be written"):
            many = usage(None, ledger=filled)
        some = usage(None, ledger=filled, model="openai/m1", limit=1)
        monkeypatch.setattr(arrow_read, "MIN_ROWS", 1_000_000)
        few = usage(None, ledger=filled)
        other.execute("ROLLBACK")
    assert large[0]
    pd.testing.assert_frame_equal(many, few)
    assert len(many) == 61
    assert many.set_index("call_id").loc["010", "tags"] == {"new": "x"}
    assert list(some["call_id"]) == [few[few["model"] == "openai/m1"]["call_id"].iloc[-1]]


def test_every_row_has_dicts_of_its_own(filled, large):
    frame = usage(None, ledger=filled)
    assert large == [True]
    frame["params"][1]["changed"] = True
    frame["tags"][1]["changed"] = True
    assert sum("changed" in params for params in frame["params"]) == 1
    assert sum("changed" in tags for tags in frame["tags"] if tags is not None) == 1


def test_a_large_read_takes_no_lock_from_a_transaction_under_way(filled, large):
    """An SQLite library of another make in this process would: closing the file ends the locks of both."""
    with closing(sqlite3.connect(filled._writer._target, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("UPDATE calls SET service = 'mine'")
        assert len(usage(None, ledger=filled)) == 60
        assert large == [True]
        tried = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')",
                filled._writer._target,
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "database is locked" in tried.stderr
        writing.execute("ROLLBACK")


def test_a_large_read_that_fails_goes_the_slow_way_and_says_why(filled, large, caplog, monkeypatch):
    monkeypatch.setattr(arrow_read, "_SAMPLE", arrow_read._SAMPLE | {"text": "no_such_column"})
    with caplog.at_level(logging.WARNING, "ipyllm.ledger"):
        assert len(usage(None, ledger=filled)) == 60
    assert large == [False]
    (record,) = caplog.records
    assert "no such column: no_such_column" in record.getMessage()
    assert "reading row by row instead" in record.getMessage()


def test_a_ledger_that_is_rewritten_between_the_two_halves_is_read_anew(filled, large, caplog):
    first_half = Future()

    def rewrite_between(frame, event, _argument):
        if frame.f_code is not arrow_read._receive.__code__:
            return
        is_second = "rowid >" in frame.f_locals["statement"]
        if event == "call" and is_second:
            first_half.result(60)
            with closing(sqlite3.connect(filled._writer._target, isolation_level=None)) as other:
                other.execute("VACUUM")
        elif event == "return" and not is_second:
            first_half.set_result(None)

    threading.setprofile(rewrite_between)  # of the threads that start from here on: those that receive
    try:
        with caplog.at_level(logging.WARNING, "ipyllm.ledger"):
            assert len(usage(None, ledger=filled)) == 60
    finally:
        threading.setprofile(None)
    assert first_half.done()
    assert large == [False]
    assert "it was rewritten in the meantime" in caplog.records[0].getMessage()


def test_without_the_extra_large_ledgers_are_read_all_the_same(run_script, filled):
    assert (
        run_script(
            """
            import sys
            sys.modules["pyarrow"] = None
            from ipyllm import usage
            from ipyllm.ledger import Ledger, arrow_read
            arrow_read.MIN_ROWS = 1
            print(len(usage(None, ledger=Ledger(sys.argv[1]))))
            """,
            filled._writer._target,
        )
        == "60"
    )
