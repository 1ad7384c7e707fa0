"""Tiles, table, list and filters agree on which calls they count, and a row says its status once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ipyllm import usage
from ipyllm_widgets.dashboard.dashboard_filters import STATUSES, DashboardFilters
from ipyllm_widgets.dashboard.dashboard_html import call_html
from ipyllm_widgets.dashboard.figures import figures_of
from ipyllm_widgets.dashboard.static_snapshot import static_snapshot
from tests.widgets.dashboard.test_dashboard_ledgers import put


def put_sent_and_unsent():
    put(n=2)
    put(n=1, first=2, status="error", attempts=0, error_category="not_found", model="lab/misspelt")
    put(n=1, first=3, status="error", attempts=0, error_category="budget")


def test_tiles_table_and_list_agree_which_calls_they_count(dashboard):
    put_sent_and_unsent()
    rows = usage(None)
    figures = figures_of(rows, rows)
    assert (figures.tiles[0].value, figures.tiles[0].note) == ("2", "and 2 not sent")
    assert figures.tiles[1].value == "0", "no server failed"
    assert figures.model_heads[:4] == ("model", "calls", "not sent", "errors")
    assert [(row.model, *row.cells[:3]) for row in figures.models] == [
        ("lab/a", "2", "1", "0"),
        ("lab/misspelt", "0", "1", "–"),
    ]
    assert {len(row.cells) + 1 for row in figures.models} == {len(figures.model_heads)}
    shown = dashboard()
    assert "Calls <small>4, 2 of them not sent;" in shown.calls
    assert "not sent · not found" in shown.calls
    assert all(f">{model}<" in shown.bar and f" {model}</th>" in shown.models for model in ("lab/a", "lab/misspelt"))
    assert "2 of them not sent" in static_snapshot(figures, DashboardFilters(), datetime.now(UTC))[0]


def test_without_unsent_calls_there_is_no_word_of_them():
    put(n=2)
    rows = usage(None)
    figures = figures_of(rows, rows)
    assert (figures.tiles[0].note, figures.number, "not sent" in figures.model_heads) == ("", "2", False)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_finds_the_calls_that_the_list_shows_with_it(dashboard, status):
    put_sent_and_unsent()
    put(n=1, first=4, finish_reason="length")
    put(n=1, first=5, status="error", attempts=1, error_category="schema_mismatch", finish_reason="length")
    for at, other in enumerate(("truncated", "cancelled", "running", "interrupted"), 6):
        put(n=1, first=at, status=other, error_category=other)
    rows = usage(None)
    shown = {call.call_id: f"{call.status} · {call.failure}" for call in figures_of(rows, rows).calls}
    expected = {
        call_id
        for call_id, words in shown.items()
        if status in words.split(" · ", 1)[0] or (status == "cut off" and words.endswith("cut off"))
    }
    assert expected
    frame = dashboard(status=status).frame()
    assert {*frame["call_id"]} == expected
    facts = dashboard(status=status).calls
    assert {call_id for call_id in shown if call_id in facts} == expected


def test_cut_off_answers_stand_as_such_and_are_found_like_the_tile_counts_them(dashboard):
    put(n=1, finish_reason="length")
    put(n=1, first=1, status="error", attempts=1, error_category="schema_mismatch", finish_reason="length")
    put(n=1, first=2, finish_reason="stop")
    rows = usage(None)
    figures = figures_of(rows, rows)
    assert [call.failure for call in figures.calls] == ["cut off", "schema mismatch, cut off", ""]
    assert next(tile.value for tile in figures.tiles if tile.name == "cut off") == "2"
    shown = dashboard(status="cut off")
    assert shown.calls.count("data-call=") == 2
    assert '<option value="cut off" selected>cut off at max_tokens</option>' in shown.bar


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        (
            {"status": "truncated", "scope": "all", "since": "all"},
            "There are 2 calls of all kernels, but none with the status “truncated · broke off”: choose another.",
        ),
        (
            {"model": "lab/b"},
            "There are 2 calls of this kernel in the last day, but none to lab/b: choose another model.",
        ),
        (
            {"model": "lab/a", "status": "error", "since": "hour"},
            (
                "There are 2 calls to lab/a of this kernel in the last hour, but none with the status “error”: choose "
                "another."
            ),
        ),
        (
            {"tag": "arm=<b>", "status": "error"},
            (
                "There is no call of this kernel in the last day with the tag arm=&lt;b&gt;. "
                "Choose a longer time, all kernels or no tag, or ask a model."
            ),
        ),
        (
            {"tag": "a=b", "scope": "all", "since": "all"},
            "There is no call of all kernels with the tag a=b. Choose no tag, or ask a model.",
        ),
    ],
)
def test_a_list_without_calls_names_the_filter_that_is_the_cause(dashboard, filters, says):
    put(n=2)
    assert f'<p class="nothing">{says}</p>' == dashboard(**filters).models


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"status": "error", "prompt": "Hi", "attempts": 0}, "none"),
        ({"status": "error", "prompt": "Hi", "attempts": 1, "ttft_s": 0.5}, "none"),
        ({"status": "error", "attempts": 1}, "none"),
        ({"status": "ok", "ttft_s": 0.5}, "not stored"),
        ({"status": "ok", "cache_hit": True}, "not stored"),
        ({"status": "running", "prompt": "Hi"}, "no text so far"),
    ],
)
def test_no_answer_is_not_called_one_that_was_not_stored(row, says):
    html = call_html({"call_id": "1", "model": "lab/a", "response": None} | row)
    assert f"<h3>Answer</h3><p><i>{says}</i></p>" in html


@pytest.mark.parametrize(("cause", "failure"), [(None, ""), ("interrupt", "interrupt")])
def test_a_cancelled_call_says_so_once(cause, failure):
    put(n=1, status="cancelled", error_category="cancelled", cause=cause)
    rows = usage(None)
    (call,) = figures_of(rows, rows).calls
    assert (call.status, call.failure) == ("cancelled", failure)


def test_a_failed_call_says_what_the_last_of_its_attempts_got():
    message = 'Gave up after 3 attempts: lab/a failed (HTTP 500, "boom (HTTP 404)"); try again.'
    put(
        n=1, status="error", error_category="max_retries_exceeded", cause="api_error", attempts=3, error_message=message
    )
    put(n=1, first=1, status="ok", attempts=2)
    rows = usage(None)
    assert [call.failure for call in figures_of(rows, rows).calls] == ["HTTP 500, 3 attempts", ""]
