"""Figures say which calls of the list they leave out, and a row says its status once."""

from __future__ import annotations

import pytest

from ipyllm import usage
from ipyllm_widgets.dashboard.figures import figures_of
from tests.widgets.dashboard.test_dashboard_ledgers import put


def test_the_tiles_say_which_calls_of_the_list_they_leave_out():
    put(n=2)
    put(n=1, first=2, status="error", attempts=0, error_category="auth")
    rows = usage(None)
    figures = figures_of(rows, rows)
    assert (figures.tiles[0].value, figures.n) == ("2", 3)
    assert figures.tiles[0].note == "without 1 that failed before sending, in the list"
    assert figures_of(rows[:2], rows[:2]).tiles[0].note == ""


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
