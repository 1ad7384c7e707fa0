"""Order, pages and search of the dashboard's calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ipyllm import LLMError
from ipyllm.ledger import current_ledger
from ipyllm.ledger.ids import kernel_id
from ipyllm_widgets.dashboard.call_list import CallList
from ipyllm_widgets.dashboard.charts import colour_of
from tests.fakes import answer


def put(n, **columns):
    """Put calls of this kernel into the ledger, the latest last."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    for at in range(n):
        row = {
            "call_id": f"{at:026d}",
            "kernel_id": kernel_id(),
            "started_at": start + timedelta(seconds=at),
            "model": f"lab/{'ab'[at % 2]}",
            "status": "ok",
            "total_s": float(at % 7),
            "cost_usd": None if at % 3 else at / 100,
            "prompt": f"Question {at}",
            "response": "Yes.",
        }
        current_ledger().put(row | {name: value(at) for name, value in columns.items()})
    current_ledger().flush(30)


def listed(shown):
    """The prompts of the listed calls, by their numbers."""
    return [int(row.prompt.split()[-1]) for row in shown._shown[0].calls]


def test_the_newest_come_first_in_pages_of_fifty(dashboard):
    put(120)
    shown = dashboard()
    assert listed(shown) == list(range(119, 69, -1))
    assert "Page 1 of 3" in shown.calls
    shown.list_calls(page=3)
    assert listed(shown) == list(range(19, -1, -1))
    shown.list_calls(page=9)
    assert "Page 3 of 3" in shown.calls, "a page that there is not is the last"


def test_calls_without_a_value_come_last_in_either_order(dashboard):
    put(9)
    shown = dashboard()
    for descending, first in ((True, [6, 3, 0]), (False, [0, 3, 6])):
        shown.list_calls(sort="cost", descending=descending)
        assert listed(shown)[:3] == first
        assert len(listed(shown)) == 9
    assert 'aria-sort="ascending"><button type="button" data-sort="cost"' in shown.calls
    shown.list_calls(sort="model", descending=False)
    assert listed(shown) == [8, 6, 4, 2, 0, 7, 5, 3, 1], "of equal ones the newest first"


def test_a_search_finds_prompts_and_answers_in_any_case(dashboard):
    put(60, response=lambda at: "Bake BREAD at 100%." if at % 20 == 5 else "No.")
    shown = dashboard()
    shown.list_calls(search="bread at 100%")
    assert listed(shown) == [45, 25, 5]
    assert "3 of 60" in shown.calls
    assert shown.search == "bread at 100%"
    shown.list_calls(search="question 7")
    assert listed(shown) == [7]
    shown.list_calls(search="_uestion")
    assert listed(shown) == [], "_ and % are no wildcards"
    assert "No prompt or answer of these calls contains “_uestion”" in shown.calls
    assert "<b>60</b><span>calls</span>" in shown.tiles, "sums are of all calls"


def test_a_search_sees_calls_that_come_later(dashboard):
    put(3)
    shown = dashboard()
    shown.list_calls(search="late")
    assert listed(shown) == []
    current_ledger().put(
        {"call_id": "9" * 26, "kernel_id": kernel_id(), "started_at": datetime.now(UTC), "model": "lab/a"}
        | {"status": "ok", "prompt": "A late question 99"}
    )
    shown.refresh()
    assert listed(shown) == [99]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sort": "costs"}, "Did you mean 'cost'"),
        ({"page": 0}, "from 1"),
        ({"page": True}, "from 1"),
        ({"descending": "yes"}, "True or False"),
        ({"search": "x" * 201}, "at most 200"),
        ({"pge": 2}, "Did you mean 'page'"),
    ],
)
def test_wrong_values_are_refused(changes, what):
    with pytest.raises(LLMError, match=what):
        CallList().replace(**changes)


def test_another_order_begins_with_the_first_page():
    assert CallList(page=4).replace(sort="cost") == CallList(sort="cost")
    assert CallList(sort="cost", search="a").replace(page=2).words == "with “a”, by cost, descending, page 2"


def test_a_model_keeps_its_mark_and_the_first_time_its_name_whatever_the_filters(dashboard):
    put(6, tags=lambda at: {"arm": "ab"[at % 2]}, ttfo_s=lambda at: 0.5, reasoning_tokens=lambda at: 1 - at % 2)
    shown = dashboard()
    figures = shown._shown[0]
    assert [(row.model, row.index) for row in figures.models] == [("lab/a", 0), ("lab/b", 1)]
    assert figures.call_heads[3] == "first text"
    shown.choose(tag="arm=b")
    figures = shown._shown[0]
    assert [(row.model, row.index) for row in figures.models] == [("lab/b", 1)]
    assert all(colour_of(1) in chart.svg and colour_of(0) not in chart.svg for chart in figures.charts if chart.svg)
    assert colour_of(1) in figures.charts[0].values or not figures.charts[0].svg
    assert figures.call_heads[3] == "first text", "no call that is left reasons"
    assert figures.charts[0].label == "Time to first visible text, median"


def test_a_model_that_comes_later_takes_no_other_mark(dashboard):
    put(2)
    shown = dashboard()
    put(3, call_id=lambda at: f"{at:026x}".replace("0", "a", 1), model=lambda at: "a/new")
    shown.refresh()
    assert {row.model: row.index for row in shown._shown[0].models} == {"lab/a": 0, "lab/b": 1, "a/new": 2}


def test_arms_of_one_model_are_told_apart_by_what_they_differ_in(dashboard, models):
    from ipyllm.comparison.comparison import Comparison

    models.default = answer("Bern.")
    Comparison("Which capital?", models=["openai/m"], params=[{"temperature": 0}, {"temperature": 1}]).start().wait()
    current_ledger().flush(30)
    shown = dashboard()
    assert sorted((row.model, row.arm) for row in shown._shown[0].calls) == [
        ("openai/m", "temperature=0"),
        ("openai/m", "temperature=1"),
    ]
    assert "<td>openai/m <small>temperature=0</small></td>" in shown.calls


@pytest.mark.parametrize(
    ("label", "shown_as"),
    [
        ("lab/a · temperature=0", "temperature=0"),
        ("a · terse", "terse"),
        ("a", ""),
        ("a #2", "#2"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_the_arm_of_an_experiment_is_named_without_its_model(dashboard, label, shown_as):
    put(1, arm=lambda _: label)
    small = f" <small>{shown_as}</small>" if shown_as else ""
    assert f"<td>lab/a{small}</td>" in dashboard().calls
