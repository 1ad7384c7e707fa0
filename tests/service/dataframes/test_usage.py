"""``usage()`` and ``summarise()``."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ipyllm.dataframes.calls_frame import CallsFrame
from ipyllm.dataframes.filters import as_tuple, kernel_filter
from ipyllm.dataframes.usage import summarise, usage
from ipyllm.ledger import Ledger, arrow_read, current_ledger, set_ledger
from ipyllm.ledger.columns import COLUMNS
from ipyllm.ledger.ids import kernel_id


def test_an_empty_frame_has_the_same_columns_and_dtypes_as_a_full_one(ledger, call):
    empty = usage(ledger=ledger)
    ledger.put(
        call(
            kernel_id=kernel_id(),
            status="ok",
            ttft_s=0.5,
            input_tokens=3,
            cold=False,
            cache_hit=False,
            params={"temperature": 0.5, "stop": ["a"]},
        )
    )
    full = usage(ledger=ledger)
    assert list(empty.columns) == list(full.columns) == list(COLUMNS)
    assert dict(empty.dtypes) == dict(full.dtypes)
    assert str(full.dtypes["started_at"]) == "datetime64[us, UTC]"
    assert str(full.dtypes["ttft_s"]) == "float64"
    assert str(full.dtypes["output_tokens"]) == "Int64"
    assert str(full.dtypes["cold"]) == "boolean"
    row = full.iloc[0]
    assert row["params"] == {"temperature": 0.5, "stop": ["a"]}
    assert row["tags"] == {"arm": "a"}
    assert row["input_tokens"] == 3
    assert pd.isna(row["output_tokens"])
    assert pd.isna(row["response"])


def test_this_kernels_calls_by_default_all_on_request_sorted_by_time(ledger, call):
    now = datetime.now(UTC)
    mine = call(kernel_id=kernel_id(), started_at=now)
    earlier = call(started_at=now - timedelta(hours=1))
    ledger.put(mine)
    ledger.put(earlier)
    assert list(usage(ledger=ledger)["call_id"]) == [mine["call_id"]]
    assert list(usage(None, ledger=ledger)["call_id"]) == [earlier["call_id"], mine["call_id"]]
    assert list(usage("kernel-a", ledger=ledger)["call_id"]) == [earlier["call_id"]]


@pytest.fixture(params=["written", "in memory"])
def varied(request, path, call):
    """Four calls, in the database or still in memory: the same rules must find them."""
    now = datetime.now(UTC)
    rows = [
        call(call_id="old", started_at=now - timedelta(days=2), status="ok"),
        call(call_id="b", model="openai/b", status="error", tags={"arm": "b", 'q"uote': "1"}),
        call(call_id="seven", status="ok", tags={"arm": "a", "run": 7}),
        call(call_id="none", status="ok", tags=None),
    ]
    if request.param == "in memory":
        path.parent.parent.joinpath("file").touch()
        path = path.parent.parent / "file" / "ledger.sqlite"
    with Ledger(path) as ledger:
        for row in rows:
            ledger.put(row)
        ledger.flush()
        ledger.take_warning()
        yield ledger


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, ["old", "b", "seven", "none"]),
        ({"since": timedelta(days=1)}, ["b", "seven", "none"]),
        ({"since": datetime.now(UTC) - timedelta(days=1)}, ["b", "seven", "none"]),
        ({"since": "2020-01-01"}, ["old", "b", "seven", "none"]),
        ({"since": "24h"}, ["b", "seven", "none"]),
        ({"until": "30m"}, ["old"]),
        ({"model": "openai/b"}, ["b"]),
        ({"model": ["openai/b", "openai/gpt"], "status": "ok"}, ["old", "seven", "none"]),
        ({"status": ["error"]}, ["b"]),
        ({"tags": {"arm": "a"}}, ["old", "seven"]),
        ({"tags": {"arm": "a", "run": 7}}, ["seven"]),
        ({"tags": {'q"uote': "1"}}, ["b"]),
    ],
)
def test_filters_find_the_same_rows_in_the_database_and_in_memory(varied, conditions, found):
    assert sorted(usage(None, ledger=varied, **conditions)["call_id"]) == sorted(found)


def test_what_is_not_a_date_is_refused_with_examples(ledger):
    with pytest.raises(ValueError, match=r"since='last tuesday' is not a date\. Use 2026-11-23"):
        usage(ledger=ledger, since="last tuesday")


def test_a_ledger_that_cannot_be_written_warns_once_and_shows_this_kernels_rows(tmp_path, call):
    (tmp_path / "file").touch()
    with Ledger(tmp_path / "file" / "ledger.sqlite") as ledger:
        ledger.put(call(kernel_id=kernel_id(), response="kept"))
        with pytest.warns(UserWarning, match="cannot be written"):
            frame = usage(ledger=ledger)
        assert list(frame["response"]) == ["kept"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(usage(ledger=ledger)) == 1


def test_the_current_ledger_is_that_of_the_settings_until_one_is_set(path, tmp_path, call, monkeypatch, sql):
    monkeypatch.setenv("IPYLLM_LEDGER", str(path))
    first = current_ledger()
    assert current_ledger() is first
    first.put(call(kernel_id=kernel_id()))
    assert len(usage()) == 1

    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    second = current_ledger()
    assert second is not first
    second.put(call(response="private"))
    assert second.flush()
    assert sql("SELECT count(*), count(prompt) FROM calls") == [(2, 1)]

    with Ledger(tmp_path / "other.sqlite") as other:
        set_ledger(other)
        assert current_ledger() is other
        set_ledger(None)
    assert current_ledger() is not other
    for ledger in (first, second, current_ledger()):
        ledger.close()


def _calls(*rows):
    return pd.DataFrame([{"model": "a", "status": "ok"} | row for row in rows])


def test_cold_cached_and_late_measured_calls_are_counted_but_left_out_of_latency():
    frame = _calls(
        {"ttft_s": 1.0, "total_s": 2.0, "client_lag_s": 0.05},
        {"ttft_s": 3.0, "total_s": 4.0},
        {"ttft_s": 90.0, "cold": True},
        {"ttft_s": 0.0, "cache_hit": True},
        {"ttft_s": 1.0, "client_lag_s": 0.11, "arrival_clock": "process"},
        {"status": "error", "total_s": 60.0},
        {"status": "cancelled"},
    )
    summary = summarise(frame).loc["a"]
    assert (summary["n"], summary["errors"], summary["left_out"]) == (7, 1, 3)
    assert (summary["ttft_p50_s"], summary["total_p50_s"]) == (2.0, 3.0)
    assert summary["ttft_p95_s"] == pytest.approx(2.9)


def test_answers_cut_off_at_the_limit_are_counted_apart_from_errors():
    frame = _calls(
        {"finish_reason": "length", "response": "Half of"},
        {"finish_reason": "length", "response": ""},
        {"finish_reason": "stop"},
        {"status": "error", "finish_reason": None},
    )
    assert summarise(frame).loc["a", ["n", "errors", "cut"]].to_list() == [4, 1, 2]


def test_what_is_not_known_of_cost_and_tokens_stays_null():
    frame = _calls(
        {"model": "priced", "cost_usd": 0.25, "input_tokens": 5, "usage_source": "server"},
        {"model": "priced", "input_tokens": 100, "usage_source": "estimated"},
        {"model": "unknown"},
        {"model": "local", "cost_usd": 0.0},
    )
    summary = summarise(frame)
    assert summary.loc["priced", "cost_usd"] == 0.25
    assert (summary.loc["priced", "input_tokens"], summary.loc["priced", "estimated"]) == (5, 1)
    assert pd.isna(summary.loc["unknown", "cost_usd"])
    assert pd.isna(summary.loc["unknown", "input_tokens"])
    assert summary.loc["local", "cost_usd"] == 0
    assert summary["cost_unknown"].to_dict() == {"local": 0, "priced": 1, "unknown": 1}
    assert summary["uncounted"].to_dict() == {"local": 1, "priced": 2, "unknown": 1}


def test_an_estimate_is_in_no_sum_in_either_form_of_the_ledger():
    now = {"input_tokens": None, "output_tokens": None, "output_tokens_estimated": 50, "usage_source": "estimated"}
    before = {"input_tokens": 40, "output_tokens": 50, "usage_source": "estimated"}
    counted = {"input_tokens": 4, "output_tokens": 5, "usage_source": "server"}
    summary = summarise(_calls(now, before, counted)).loc["a"]
    assert (summary["input_tokens"], summary["output_tokens"]) == (4, 5)
    assert (summary["uncounted"], summary["estimated"]) == (2, 2)


def test_a_sum_of_costs_and_tokens_is_shown_as_the_lower_bound_that_it_is():
    priced = {"cost_usd": 0.016, "input_tokens": 4, "output_tokens": 5, "usage_source": "server"}
    frame = _calls(*[priced] * 10, *[{}] * 9, {"status": "cancelled"}, {"model": "b", **priced})
    summary = summarise(frame)
    shown = summary.compact()
    assert shown["cost_usd"].to_dict() == {"a": "≥ $0.16, 10 of 20 unknown", "b": "$0.016"}
    assert shown["output_tokens"].astype(str).to_dict() == {"a": "≥ 50", "b": "5"}
    with pd.option_context("display.width", 300, "display.max_columns", None):
        assert "≥ $0.16, 10 of 20 unknown" in repr(summary)
    assert "≥ $0.16, 10 of 20 unknown" in summary._repr_html_()
    assert summary.loc["a", "cost_usd"] == pytest.approx(0.16), "the column has numbers"


def test_a_call_that_was_never_sent_leaves_out_nothing():
    refused = {"status": "error", "cost_usd": 0.0, "price_source": "not sent"}
    summary = summarise(_calls(refused)).loc["a"]
    assert (summary["cost_unknown"], summary["uncounted"]) == (0, 0)


def test_summaries_go_by_several_columns_and_by_keys_within_params_and_tags():
    frame = _calls(
        {"params": {"temperature": 0}, "tags": {"arm": "x"}},
        {"params": {"temperature": 1}, "tags": {"arm": "x"}},
        {"params": {"temperature": 1, "stop": ["\n"]}, "tags": None},
    )
    assert summarise(frame, "params.temperature")["n"].to_dict() == {0: 1, 1: 2}
    assert summarise(frame, ["model", "tags.arm"])["n"].to_list() == [2], "calls without the tag are no arm"
    assert summarise(frame, "params.stop")["n"].sum() == 3


def test_a_wrong_name_to_summarise_by_says_what_was_probably_meant():
    frame = _calls({"params": {"temperature": 0}})
    with pytest.raises(ValueError, match=r"Did you mean 'model'\?"):
        summarise(frame, "modle")
    with pytest.raises(ValueError, match=r"Did you mean 'params.temperature'\?"):
        summarise(frame, "params.temprature")
    with pytest.raises(ValueError, match="needs a column to group by"):
        summarise(frame, [])


def test_an_empty_frame_has_an_empty_summary(ledger):
    summary = summarise(usage(ledger=ledger))
    assert len(summary) == 0
    assert {"n", "errors", "left_out", "ttft_p50_s", "cost_usd"} <= set(summary.columns)


def test_filters_are_tuples_and_a_wrong_one_says_what_was_meant():
    assert (as_tuple("status", "ok"), as_tuple("status", None)) == (("ok",), ())
    with pytest.raises(ValueError, match=r"^There is no status 'eror'\. Did you mean 'error'\?$"):
        as_tuple("status", "eror", accepted=["ok", "error"])
    assert kernel_filter(None) is None
    assert kernel_filter("a") == ("a",)


def test_times_are_shown_to_the_second_and_kept_to_the_microsecond():
    started = pd.Timestamp("2026-11-27 02:39:17.031055", tz="UTC")
    calls = CallsFrame({"started_at": [started], "n": [1]})
    for shown in (repr(calls), calls._repr_html_(), repr(calls[["started_at"]])):
        assert "2026-11-27 02:39:17+00:00" in shown
        assert "031055" not in shown
    assert calls["started_at"].iloc[0] == started


@pytest.mark.parametrize("min_rows", [1, 10**9])
def test_only_the_columns_asked_for_are_read_and_returned_in_their_order(ledger, call, min_rows, monkeypatch):
    monkeypatch.setattr(arrow_read, "MIN_ROWS", min_rows)
    for n in range(3):
        ledger.put(call(status="ok", tags={"arm": str(n)}, ttft_s=n / 4, response="a"))
    assert ledger.flush(30)
    wanted = ["ttft_s", "model", "response"]
    read = []
    for name in ("read", "read_large"):
        original = getattr(ledger, name)
        monkeypatch.setattr(ledger, name, lambda query, ask=original: (read.append(query), ask(query))[1])
    frame = usage(None, columns=wanted, tags={"arm": "1"}, ledger=ledger)
    pd.testing.assert_frame_equal(frame, usage(None, tags={"arm": "1"}, ledger=ledger)[wanted])
    assert set(read[0].columns) == {*wanted, "call_id", "started_at", "tags"}
    assert list(usage(None, columns="model", ledger=ledger)) == ["model"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": ["modle"]}, "There is no column 'modle'. Did you mean 'model'"),
        ({"columns": []}, "leave it out for all columns"),
        ({"columns": ["model", "prompt"], "text": False}, "text=False leaves out prompt"),
    ],
)
def test_columns_that_cannot_be_read_are_refused_in_a_sentence(options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        usage(**options)
