"""Export of the ledger to CSV and Parquet."""

from __future__ import annotations

import json
import stat
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ipyllm import LLMError, cast_vote, export_usage, usage, votes
from ipyllm.ledger import arrow_read, paging
from ipyllm.ledger.ids import kernel_id

_START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def frame(ledger, call):
    ledger.put(call(status="ok", response='said "it",\nthen é', ttft_s=0.25, n_chunks=3, cold=False))
    ledger.put(call(tags=None, params={"stop": ["a"]}, status="error"))
    return usage(None, ledger=ledger)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_every_column_of_every_call_is_in_the_file(frame, tmp_path, suffix):
    path = export_usage(tmp_path / f"calls.{suffix}", frame)
    read = pd.read_parquet(path) if suffix == "parquet" else pd.read_csv(path, parse_dates=["started_at"])
    assert list(read.columns) == list(frame.columns)
    assert list(read["call_id"].astype("int64")) == list(frame["call_id"].astype("int64"))
    assert read["response"][0] == 'said "it",\nthen é'
    assert (read["ttft_s"][0], read["n_chunks"][0], bool(read["cold"][0])) == (0.25, 3, False)
    assert [json.loads(text) for text in read["params"]] == list(frame["params"])
    assert json.loads(read["tags"][0]) == {"arm": "a"}
    assert pd.isna(read["tags"][1])
    assert list(read["started_at"]) == list(frame["started_at"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert isinstance(frame["params"][0], dict), "what was given is left as it was"


def test_parquet_keeps_the_types_also_of_no_calls(frame, tmp_path):
    for part in (frame, frame[:0]):
        read = pd.read_parquet(export_usage(tmp_path / "calls.parquet", part))
        for name in ("started_at", "ttft_s", "n_chunks", "cold"):
            assert str(read.dtypes[name]).lower() == str(frame.dtypes[name]).lower()


def test_without_a_frame_the_calls_of_this_kernel_are_written(tmp_path, call):
    from ipyllm.ledger import current_ledger

    current_ledger().put(call(kernel_id=kernel_id(), model="mine"))
    current_ledger().put(call(model="another's"))
    assert list(pd.read_csv(export_usage(tmp_path / "calls.csv"))["model"]) == ["mine"]


def test_votes_are_exported_too(ledger, tmp_path):
    cast_vote({"a": "01", "b": None}, "a", ledger=ledger)
    read = pd.read_csv(export_usage(tmp_path / "votes.csv", votes(ledger=ledger)))
    assert json.loads(read["arms"][0]) == {"a": "01", "b": None}


def test_a_file_that_cannot_be_written_leaves_the_one_before(frame, tmp_path, monkeypatch):
    path = tmp_path / "calls.csv"
    path.write_text("before")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(LLMError, match="cannot be written: No space left on device"):
        export_usage(path, frame)
    assert path.read_text() == "before"
    assert list(tmp_path.glob(".ipyllm-*")) == []


def test_a_name_without_a_known_ending_is_refused_in_one_sentence(frame, tmp_path):
    with pytest.raises(
        LLMError, match=r"'calls.xlsx' is not a file that calls can be exported to.* Use \.parquet or \.csv"
    ):
        export_usage(tmp_path / "calls.xlsx", frame)
    with pytest.raises(LLMError, match="cannot be written: No such file or directory"):
        export_usage(tmp_path / "nowhere" / "calls.csv", frame)


def test_parquet_without_pyarrow_says_what_to_install(frame, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LLMError, match=r"pip install 'ipyllm\[tables\]'"):
        export_usage(tmp_path / "calls.parquet", frame)
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.fixture
def odd_rows(ledger, call, monkeypatch):
    """A ledger that is read in pages of eight rows: equal and missing times, missing and first late values."""
    monkeypatch.setattr(paging, "PAGE_ROWS", 8)
    monkeypatch.setattr(paging, "_LEAST_ROWS", 8)
    for n in range(23):
        started_at = None if n % 5 == 0 else _START + timedelta(seconds=n // 7)
        ledger.put(
            call(
                call_id=f"{(n * 7) % 23:03}",
                started_at=started_at,
                kernel_id="mine" if n % 4 else "another's",
                tags={"arm": "it's", "né": str(n)} if n > 12 else None,
                params={"stop": ["a"]} if n % 2 else {},
                response='said "it",\nthen é' if n > 18 else None,
                cost_usd=0.1 + n if n > 15 else None,
                n_chunks=n if n > 17 else None,
                warmup=bool(n % 2) if n > 8 else None,
            )
        )
    assert ledger.flush(30)
    return ledger


_DAMAGES = {
    "none": "SELECT 1",
    "texts": "UPDATE calls SET response = CAST(x'636166e9' AS TEXT), tags = '{\"a\": 1, ' WHERE call_id > '010'",
    "numbers": "UPDATE calls SET cost_usd = 'much', n_chunks = x'00ff' WHERE call_id > '015'",
    "times": "UPDATE calls SET started_at = 'late' || call_id WHERE call_id > '012'",
    "times_no_texts": "UPDATE calls SET started_at = CAST(x'ff' AS TEXT) WHERE call_id > '012'",
    "times_bytes": "UPDATE calls SET started_at = x'ff' WHERE call_id > '012'",
    "all_at_once": "UPDATE calls SET started_at = (SELECT max(started_at) FROM calls)",
    "no_times": "UPDATE calls SET started_at = NULL",
}


@pytest.mark.parametrize(
    ("damage", "filters", "through_arrow"),
    [
        *((damage, {}, False) for damage in _DAMAGES),
        ("none", {"kernel": "mine"}, False),
        ("none", {"text": False, "limit": 9}, False),
        ("none", {}, True),
        ("times_bytes", {}, True),
    ],
)
@pytest.mark.filterwarnings("ignore:The ledger at .* has damaged values")
def test_what_is_written_in_pages_is_what_usage_returns(
    odd_rows, damage, filters, through_arrow, tmp_path, sql, monkeypatch
):
    if through_arrow:
        pytest.importorskip("adbc_driver_sqlite")
        monkeypatch.setattr(arrow_read, "MIN_ROWS", 8)
    sql(_DAMAGES[damage])
    filters = {"kernel": None} | filters
    whole = usage(ledger=odd_rows, **filters)
    for suffix in ("parquet", "csv"):
        expected = export_usage(tmp_path / f"whole.{suffix}", whole)
        written = export_usage(tmp_path / f"pages.{suffix}", ledger=odd_rows, **filters)
        if suffix == "csv":
            assert written.read_text() == expected.read_text()
        else:
            pd.testing.assert_frame_equal(pd.read_parquet(written), pd.read_parquet(expected))
            if damage == "none" and "limit" not in filters:
                assert pq.read_schema(written).equals(pq.read_schema(expected))
