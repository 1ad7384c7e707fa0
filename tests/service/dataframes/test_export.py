"""Export of the ledger to CSV and Parquet."""

from __future__ import annotations

import json
import stat
import sys

import pandas as pd
import pytest

from ipyllm import LLMError, cast_vote, export_usage, usage, votes
from ipyllm.ledger.ids import kernel_id


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
