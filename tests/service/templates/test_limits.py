"""The limits of templates: what is large is refused before it is made, and an interrupt ends a template."""

from __future__ import annotations

import contextlib
import gc
import signal
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

from ipyllm.errors import LLMError
from ipyllm.templates import limits
from ipyllm.templates.border import Border
from ipyllm.templates.refusal import RefusedError
from ipyllm.templates.sandbox import SandboxedTemplate


def render(template, **values):
    return SandboxedTemplate(template).render(values)


def refused(template, **values):
    with pytest.raises(LLMError) as caught:
        render(template, **values)
    return str(caught.value)


def test_a_text_of_the_user_is_inserted_however_large():
    text = "word " * 4_000_000
    assert render("{{ text }}", text=text) == text
    assert len(render("{{ text | upper }}{{ text }}", text=text)) == 2 * len(text)


def test_a_template_makes_some_copies_of_its_variables_but_not_many():
    text = "x" * 10_000_000
    assert len(render("{{ text ~ text ~ text }}", text=text)) == 30_000_000
    said = refused("{% for i in range(99) %}{{ text | upper }}{% endfor %}", text=text)
    assert said == (
        "The template makes something of more than 110,000,000 characters or items: shorten it in a cell first."
    )


def test_a_list_of_the_user_is_read_however_large():
    many = [f"document {i}" for i in range(500_000)]
    assert render("{{ many[:2] }} {{ many | length }}", many=many) == "['document 0', 'document 1'] 500000"


def test_a_deeply_nested_list_is_refused_before_python_ends():
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert "nests lists more than 50 deep" in refused("{{ nested }}", nested=nested)


def test_a_large_table_is_read_but_not_written_out():
    table = pd.DataFrame({"a": np.arange(1_100_000)})
    assert render("{{ table.a.sum() }} {{ table.head(1).to_csv() }}", table=table) == "604999450000 ,a\n0,0\n"
    assert "may not use 'to_csv' of more than 1,000,000 cells: use fewer rows, as in head(20)." in refused(
        "{{ table.to_csv() }}", table=table
    )
    assert "may not use 'T' of more than 1,000,000 cells" in refused("{{ table.T }}", table=table)
    wide = pd.DataFrame(np.zeros((2, 1_001)))
    assert "may not correlate more than 1,000 columns" in refused("{{ wide.corr() }}", wide=wide)


def test_groups_of_categories_are_those_that_occur():
    table = pd.DataFrame(
        {name: pd.Categorical(["x"], categories=[str(i) for i in range(3_000)] + ["x"]) for name in "abc"}
    )
    assert render("{{ table.groupby(['a', 'b', 'c']).size() | length }}", table=table) == "1"


def test_combinations_of_categories_that_do_not_occur_are_not_counted():
    table = pd.DataFrame({name: pd.Categorical(["x"], categories=["x", *map(str, range(1_999))]) for name in "ab"})
    for call in ("value_counts()", "value_counts(['a', 'b'])", "value_counts(subset=['a', 'b'])"):
        said = refused("{{ table." + call + " }}", table=table)
        assert "may not count more than 1,000,000 combinations of categories" in said
    assert render("{{ table.value_counts('a') | length }}", table=table) == "2000"
    assert render("{{ table.value_counts(['a']) | length }}", table=table) == "2000"


def test_rows_with_equal_labels_are_not_multiplied():
    table = pd.DataFrame({"a": np.arange(50_000)}, index=[0] * 50_000)
    assert "makes something of more than" in refused("{{ table.loc[[0] * 9000] }}", table=table)
    other = pd.Series(np.arange(50_001), index=[0] * 50_001)
    assert "may not combine tables with different rows" in refused("{{ table.a + other }}", table=table, other=other)


def test_a_template_ends_after_its_time(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    said = refused("{% for i in range(99999) %}{{ -1 in many }}{% endfor %}", many=list(range(100_000)))
    assert said == "The template takes longer than 0.2 s: compute it in a cell and assign the result to a name."


def test_the_time_of_a_variable_counts_too(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", -1.0)
    with pytest.raises(RefusedError, match="takes longer than"):
        Border().admit([{"a": [1]}], "rows")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ('x' * 9999) | wordwrap(1, wrapstring='y' * 9999) | length }}",
        "{{ ('x' * 9999) | wordwrap(1, true, 'y' * 9999) | length }}",
        "{{ ('x\n' * 9999) | wordwrap(99, break_on_hyphens=false, wrapstring='y' * 9999) | length }}",
        "{{ ['x' * 9999] | map('wordwrap', 1, wrapstring='y' * 9999) | list | length }}",
    ],
)
def test_the_separator_of_wrapped_lines_is_counted_before_it_is_inserted(template, monkeypatch):
    monkeypatch.setattr("textwrap.wrap", None)  # Jinja's filter calls it: it is not reached
    assert "makes something of more than" in refused(template)


def test_text_is_wrapped():
    assert render("{{ 'ab cd ef' | wordwrap(3, wrapstring='|') }}") == "ab|cd|ef"
    assert render("{{ ('ab ' * 1000000) | wordwrap(3, break_long_words=false) | length }}") == "2999999"


@pytest.mark.parametrize(
    "call",
    [
        "rename(columns={'a': 'y' * 101})",
        "rename(index={0: 'y' * 101})",
        "reset_index(names='y' * 101)",
        "reset_index(names=['y' * 101])",
        "a.rename('y' * 101)",
        "a.to_frame('y' * 101)",
    ],
)
def test_a_long_label_that_rows_would_repeat_is_refused(call):
    table = pd.DataFrame({"a": [1, 2]})
    assert "may not give a table a label of more than 100 characters" in refused(
        "{{ table." + call + " }}", table=table
    )
    assert "y" * 100 in render("{{ table." + call.replace("101", "100") + ".to_csv() }}", table=table)


def test_a_long_name_of_a_column_may_be_shortened():
    table = pd.DataFrame({"y" * 101: [1]})
    assert render("{{ table.rename(columns={'y' * 101: 'b'}).to_csv(index=false) }}", table=table) == "b\n1\n"


def test_numbers_of_polars_have_at_most_a_hundred_places():
    table = pl.DataFrame({"a": [1.5]})
    assert "may not round to more than 100 places" in refused("{{ t.write_csv(float_precision=100000) }}", t=table)
    assert render("{{ t.write_csv(float_precision=2) }}", t=table) == "a\n1.50\n"


@pytest.mark.parametrize(
    "template",
    ["{{ many | indent }}", "{{ many | sum(start=many) }}", "{{ many + many }}", "{{ many * 2 }}", "{{ many | sort }}"],
)
def test_no_filter_or_operator_changes_a_list_in_place(template):
    many = [2, 1]
    with contextlib.suppress(LLMError):
        render(template, many=many)
    assert many == [2, 1]


LONG = {
    "a loop": "{% for i in range(99999) %}{{ -1 in many }}{% endfor %}",
    "a nested loop": "{% for i in range(999) %}{{ many | sort | length }}{% endfor %}",
    "a filter": "{{ many | map('string') | map('upper') | map('lower') | map('title') | list | length }}",
    "a sort": "{{ (many + many) | map('string') | list | sort | length }}",
    "texts": "{% for i in range(999) %}{% set a = ('ab ' * 3000000) | title | length %}{% endfor %}",
    "wrapping": "{{ ('ab ' * 3000000) | wordwrap(3) | length }}",
    "parsing": "{{ 1 + many[0] }}" * 2_000,
}


@pytest.mark.parametrize("name", LONG)
def test_an_interrupt_ends_a_template_within_half_a_second(name):
    delays = []

    def interrupt(_signal, _frame):
        delays.append(time.thread_time())
        raise KeyboardInterrupt

    many = list(range(300_000))
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # what is raised in callbacks of the collector is lost
    try:
        for after in (0.1, 0.4):
            asked = time.thread_time()
            signal.setitimer(signal.ITIMER_REAL, after)
            try:
                render(LONG[name], many=many)
            except (KeyboardInterrupt, LLMError):
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            # Processor time, because other tests run: the signal came at the latest `after` of it later.
            assert all(noted - asked < after + 0.5 for noted in delays)
            delays.clear()
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
