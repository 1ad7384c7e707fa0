"""Columns that a process reads as arrays are those that a read by rows returns."""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ipyllm.dataframes.compact_frame import read_compact
from ipyllm.ledger import Ledger, column_read
from ipyllm.ledger.query import Query
from ipyllm.ledger.store import Store

_START = datetime(2026, 11, 1, tzinfo=UTC)
_COLUMNS = frozenset(
    {
        *("call_id", "started_at", "model", "status", "experiment", "warmup", "cold", "ttft_s", "total_s", "n_chunks"),
        *("attempts", "origin", "kernel_id", "error_category"),
    }
)


@pytest.fixture
def by_process(monkeypatch):
    """Take any read for a large one, and tell which were read as arrays."""
    monkeypatch.setattr(column_read, "MIN_ROWS", 1)
    read, found = Store.read_columns, []

    def counting(store, query):
        found.append(read(store, query))
        return found[-1]

    monkeypatch.setattr(Store, "read_columns", counting)
    return found


@pytest.fixture
def filled(path, call, monkeypatch):
    """A ledger of rows in another order than their times', with nulls first, last and in between."""
    with Ledger(path) as ledger:
        for n in range(60):
            ledger.put(
                call(
                    call_id=f"é{(n * 7) % 60:03}{'x' * (n % 3)}",
                    started_at=None if n == 5 else _START + timedelta(seconds=(n * 7) % 60, microseconds=n),
                    status="ok" if n % 3 else "error",
                    model=f"openai/m{n % 4}",
                    experiment=f"e{n % 2}" if n > 10 else None,
                    warmup=bool(n % 2) if n > 20 else None,
                    cold=None,
                    tags=None if n == 7 else {"arm": "it's", "part": str(n % 3)},
                    ttft_s=0.1 * n if 30 < n < 50 else None,
                    total_s=None,
                    n_chunks=n if n > 40 else None,
                )
            )
        assert ledger.flush(30)
        yield ledger


def by_rows(monkeypatch, query, ledger):
    monkeypatch.setattr(column_read, "MIN_ROWS", 1_000_000)
    return read_compact(query, ledger, pytest.fail)


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"models": ("openai/m1", "openai/m2"), "statuses": ("ok",)},
        {"tags": {"arm": "it's", "part": "1"}},
        {"since": _START + timedelta(seconds=10), "until": _START + timedelta(seconds=40)},
        {"limit": 7},
        {"limit": 60},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1_024, 7])
def test_arrays_of_a_process_make_the_same_frame_as_rows(filled, conditions, by_process, batch, monkeypatch, tmp_path):
    script = tmp_path / "column_read_process.py"
    script.write_text(column_read._SCRIPT.read_text().replace("= 1_024", f"= {batch}"))
    monkeypatch.setattr(column_read, "_SCRIPT", script)
    query = replace(Query(text=False, only=_COLUMNS), **conditions)
    arrays = read_compact(query, filled, pytest.fail)
    assert by_process[0] is not None
    rows = by_rows(monkeypatch, query, filled)
    assert by_process[1] is None
    assert len(rows) >= 7
    pd.testing.assert_frame_equal(arrays.reset_index(drop=True), rows.reset_index(drop=True))
    assert arrays.dtypes["model"] == "category"
    assert "tags" not in arrays


def test_without_arrow_the_ids_are_the_same(filled, by_process, monkeypatch):
    query = Query(text=False, only=_COLUMNS)
    ids = read_compact(query, filled, pytest.fail)["call_id"].tolist()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert read_compact(query, filled, pytest.fail)["call_id"].tolist() == ids
    assert None not in by_process


def test_a_column_without_values_takes_no_memory(filled, by_process):
    read_compact(Query(text=False, only=_COLUMNS), filled, pytest.fail)
    assert by_process[0].arrays["total_s"].strides == (0,)
    assert by_process[0].arrays["ttft_s"].strides == (8,)


def test_rows_still_in_memory_are_laid_over_those_of_the_process(filled, by_process, monkeypatch):
    query = Query(text=False, only=_COLUMNS)
    with closing(sqlite3.connect(filled._writer._target, isolation_level=None)) as other:
        monkeypatch.setattr("ipyllm.ledger.database.BUSY_S", 0.1)
        monkeypatch.setattr("ipyllm.ledger.writer._LOCKED_TOO_LONG_S", 0.0)
        filled._writer.store.close()
        other.execute("BEGIN IMMEDIATE")
        filled.put({"call_id": "é010x", "status": "cancelled", "ttft_s": 0.5, "warmup": True})
        filled.put({"call_id": "new", "started_at": _START, "status": "running", "model": "lab/new"})
        told = []
        arrays = read_compact(query, filled, told.append)
        newest = read_compact(query.with_limit(3), filled, told.append)
        rows = read_compact(replace(query, call_ids=tuple(arrays["call_id"])), filled, told.append)
        other.execute("ROLLBACK")
    assert by_process[0] is not None
    assert "cannot be written" in told[0]
    pd.testing.assert_frame_equal(arrays, rows)
    assert len(arrays) == 61
    assert arrays.set_index("call_id").loc["é010x", ["status", "ttft_s"]].tolist() == ["cancelled", 0.5]
    pd.testing.assert_frame_equal(newest.reset_index(drop=True), rows[-3:].reset_index(drop=True))


@pytest.mark.parametrize(
    "damage",
    [
        "started_at = 'soon'",
        "ttft_s = 'fast'",
        "n_chunks = 1.5",
        "warmup = 7",
        "model = CAST(x'ff' AS TEXT)",
    ],
)
def test_damaged_values_are_read_row_by_row(filled, by_process, damage, caplog):
    with closing(sqlite3.connect(filled._writer._target, isolation_level=None)) as other:
        other.execute(f"UPDATE calls SET {damage} WHERE call_id = 'é021'")
    told = []
    with caplog.at_level(logging.WARNING, "ipyllm.ledger"):
        frame = read_compact(Query(text=False, only=_COLUMNS), filled, told.append)
    assert by_process == [None]
    assert "reading row by row instead" in caplog.text
    assert len(frame) == 60
    assert "has damaged values in 1 call (é021)" in told[0]


@pytest.mark.parametrize("executable", ["/no/such/python", "/bin/true"])
def test_without_a_process_rows_are_read_one_by_one(filled, by_process, executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    assert len(read_compact(Query(text=False, only=_COLUMNS), filled, pytest.fail)) == 60
    assert by_process == [None]


@pytest.mark.parametrize("kept", [8, 100, -1])
def test_a_process_that_is_killed_in_mid_answer_is_no_loss(filled, by_process, kept, monkeypatch, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, runpy, sys\n"
        "reading, writing = os.pipe()\n"
        "real = os.dup(1)\n"
        "if not os.fork():\n"
        "    os.dup2(writing, 1)\n"
        f"    runpy.run_path({str(column_read._SCRIPT)!r}, run_name='__main__')\n"
        "    os._exit(0)\n"
        "os.close(writing)\n"
        "os.dup2(2, 1)\n"
        "with open(reading, 'rb') as pipe, open(real, 'wb') as out:\n"
        f"    out.write(pipe.read()[:{kept}])\n"
    )
    monkeypatch.setattr(column_read, "_SCRIPT", script)
    assert len(read_compact(Query(text=False, only=_COLUMNS), filled, pytest.fail)) == 60
    assert by_process == [None]


def test_the_mark_of_a_ledger_changes_with_its_rows_and_only_then(filled, monkeypatch):
    assert filled.content_mark() is None, "a change at the same time could not be told from that before"
    monkeypatch.setattr("ipyllm.ledger.ledger._LEAST_AGE_S", float("-inf"))
    mark = filled.content_mark()
    assert mark is not None
    filled.read()
    assert filled.content_mark() == mark
    filled.put({"call_id": "é010x", "status": "cancelled"})
    assert filled.content_mark() != mark
    mark = filled.content_mark()
    with closing(sqlite3.connect(filled._writer._target)) as other:
        other.execute("UPDATE calls SET status = 'error'")
        other.commit()
    assert filled.content_mark() not in {mark, None}
    with Ledger("sqlite://") as unknown:
        assert unknown.content_mark() is None
