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
from ipyllm.templates.refusal import RefusedError
from ipyllm.templates.rendering import Rendering
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
    assert "may not use 'tolist' of more than 1,000,000 cells" in refused("{{ table.a.tolist() }}", table=table)
    assert "may not use 'tolist' of more than" in refused(
        "{{ array.tolist() }}", array=np.broadcast_to(1, (99_999, 99_999))
    )
    rows = pl.DataFrame({"a": np.arange(1_100_000)})
    for method in ("rows", "to_dicts", "write_csv"):
        assert "of more than 1,000,000 cells" in refused("{{ rows." + method + "() }}", rows=rows)


def test_groups_of_categories_are_those_that_occur():
    table = pd.DataFrame(
        {name: pd.Categorical(["x"], categories=[str(i) for i in range(3_000)] + ["x"]) for name in "abc"}
    )
    assert render("{{ table.groupby(['a', 'b', 'c']).size() | length }}", table=table) == "1"


def test_texts_of_a_column_are_not_added_up_one_after_the_other():
    table = pd.DataFrame({"text": pd.Series(["x" * 1_000] * 20_000, dtype=object), "n": 1})
    assert render("{{ table.sum().to_dict() }} {{ table.groupby('n').sum().columns.tolist() }}", table=table) == (
        "{'n': 20000} []"
    )
    for dtype in (object, "string", "category"):
        texts = table.text.astype(dtype)
        for method in ("sum", "mean", "median", "std", "var"):
            assert f"may not compute the {method} of texts" in refused("{{ t." + method + "() }}", t=texts)
    assert "may not compute the sum of texts" in refused("{{ t.sum() }}", t=table.text.to_numpy())


def test_a_template_ends_after_its_time(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    said = refused("{% for i in range(99999) %}{{ -1 in many }}{% endfor %}", many=list(range(100_000)))
    assert said == "The template takes longer than 0.2 s: compute it in a cell and assign the result to a name."


def test_the_time_of_a_variable_counts_too(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", -1.0)
    with pytest.raises(RefusedError, match="takes longer than"):
        Rendering({}).admit([{"a": [1]}], "rows")


@pytest.mark.parametrize(
    "template", ["{{ t.to_string() }}", "{{ t.to_markdown() }}", "{{ t.set_index('s').to_string() }}"]
)
def test_a_text_whose_rows_are_padded_to_one_long_cell_is_refused(template):
    table = pd.DataFrame({"s": ["a" * 100_000] + ["b"] * 1_000})
    assert "makes something of more than" in refused(template, t=table)
    assert "b" in render(template, t=table.tail(5))


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_a_long_text_that_many_rows_share_is_counted_for_each(dtype):
    shared = pd.DataFrame({"doc": pd.Series(["d" * 10_000] * 3_000, dtype=dtype), "n": 1, "none": None})
    for template in ("{{ t.to_csv() }}", "{{ t.doc.to_csv() }}", "{{ t.set_index(['doc', 'n']).to_csv() }}"):
        assert "makes something of more than" in refused(template, t=shared)
    assert "makes something of more than" in refused("{{ t.set_index(['doc', 'n']).reset_index() }}", t=shared)
    assert len(render("{{ t.head(5).to_csv(index=false) }}", t=shared)) == len("doc,n,none\n") + 5 * 10_004
    assert render("{{ t.head(0).to_csv(index=false) }}{{ t.n.head(1).to_string() }}", t=shared) == "doc,n,none\n0    1"


def test_a_list_picks_each_column_once_and_no_rows():
    days = pd.DataFrame({"a": [1], float("nan"): [2]}, index=pd.to_datetime(["2024-01-01"]))
    assert render("{{ days[['a']].shape }} {{ days.loc['2024-01-01', ['a']].shape }}", days=days) == "(1, 1) (1,)"
    for template in (
        "{{ days.loc[['2024-01-01', '20240101']] }}",
        "{{ days[['nan' | float, 'nan' | float]] }}",
        "{{ days[['a', 'a']] }}",
        "{{ array[[0, -1]] }}",
        "{{ array[[[0, 0]]] }}",
        "{{ array[(0, [0])] }}",
        "{{ texts.iloc[[0, 0]] }}",
    ):
        assert "may not use a list with a table" in refused(template, days=days, array=np.ones((1, 2)), texts=days.a)
    wide = pd.DataFrame(np.zeros((2, 101)))
    assert "may not use a list with a table" in refused("{{ wide[range(101)] }}", wide=wide)
    assert render("{{ wide[range(100)].shape }}", wide=wide) == "(2, 100)"


def test_what_pandas_says_of_a_large_value_is_cut():
    assert len(refused("{{ t.quantile(0.5) }}", t=pd.Series(["x" * 100_000] * 2, dtype=object))) < 1_000


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
    "cutting": "{{ ('ab ' * 3000000) | indent(2) | wordcount }}",
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
