"""Prompts as templates: summaries of values, and the names that a template can use besides the variables."""

from __future__ import annotations

import collections
import dataclasses
import os
import signal

import numpy as np
import pandas as pd
import pytest

from ipyllm import template_function
from ipyllm.conversations.tokens import estimate
from ipyllm_magics.errors import Interrupted
from ipyllm_magics.prompt.summarize_value import BUDGET_TOKENS, summarize_value
from ipyllm_magics.prompt.template import fill_in


@dataclasses.dataclass
class Order:
    city: str
    cups: list[int]


class Plain:
    def __init__(self):
        self.city, self._hidden = "Oslo", 1


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is meant

# ---- summarize_value forms -----------------------------------------------------------------------------------


WIDE = {
    "many columns": pd.DataFrame(np.zeros((5, 5_000))),
    "long texts": pd.DataFrame({f"text {i}": ["x" * 50_000] * 9 for i in range(30)}),
    "long names": pd.DataFrame({"n" * 9_000 + str(i): [1] for i in range(9)}),
    "a long series": pd.Series(["word " * 9_000] * 90, name="s" * 9_000),
    "a large array": np.random.default_rng(0).random((900, 900)),
    "many dimensions": np.zeros((3,) * 9),
    "a list": list(range(300_000)),
    "a list of long texts": ["y" * 90_000] * 90,
    "a nested dict": {i: {"k": [i] * 900} for i in range(900)},
    "a set": set(range(90_000)),
    "a dataclass": Order("O" * 90_000, list(range(90_000))),
    "a long repr": collections.deque(range(90_000)),
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("budget", [60, BUDGET_TOKENS])
def test_whatever_it_is_a_value_stays_within_its_budget(name, budget):
    described = summarize_value(WIDE[name], budget)
    assert estimate(described) <= budget + 30, described  # and a note that it was cut
    assert len(described) > budget / 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Order("Oslo", [1, 2]), "Order:\n- city: Oslo\n- cups: [1, 2]"),
        (Plain(), "Plain:\n- city: Oslo"),
        (Point(1, 2), "Point(x=1, y=2)"),
        ({"a": [1]}, "{'a': [1]}"),
        (np.array([1, 2]), "array of 2, int64, from 1 to 2, mean 1.5:\n[1, 2]"),
        (np.array([1.0, np.nan]), "array of 2, float64, 1 missing (nan), from 1 to 1, mean 1:\n[ 1., nan]"),
        (np.array([]), "array of 0, float64:\n[]"),
        (np.array(["a"]), "array of 1, <U1:\n['a']"),
        (pd.Series([], dtype=float), "Series of 0 values, float64"),
        (pd.DataFrame({"a": []}, dtype=float), "DataFrame of 0 rows and 1 column:\n- a: float64"),
        (pd.Series([1, 3], name="n"), "Series 'n' of 2 values, int64, from 1 to 3, mean 2; values: 1, 3"),
        (pd.DataFrame(), "DataFrame of 0 rows and 0 columns:"),
    ],
)
def test_what_stands_in_the_prompt(value, text):
    assert summarize_value(value) == text


def test_strings_are_inserted_whole_and_numbers_as_they_are():
    text = "word " * 100_000
    assert fill_in("{{ text }}{{ n }}", {"text": text, "n": np.float64(1.5)}) == f"{text}1.5"


def test_a_figure_is_described_in_words():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2, 3], [10, 20, 15], label="cups")
    axes.set(title="Coffee", xlabel="day", xlim=(1, 3), ylim=(10, 20))
    assert summarize_value(figure) == (
        "matplotlib figure with 1 plot:\n1. title 'Coffee'; x day from 1 to 3; y from 10 to 20; 1 line; lines 'cups'"
    )


# ---- what the notebook has just done -----------------------------------------------------------------


def sent(fake):
    return fake.requests[-1].json["messages"][-1]["content"]


def test_the_last_cells_come_with_their_outputs_when_written(kernel, kernel_fake):
    kernel.run("total = 6 * 7")
    kernel.run("print('printed')\ntotal")
    kernel.run("1 / 0")
    ran = kernel.run("%%llm --no-history\n{{ cells[-3:] }}")
    assert ran.status == "ok", ran.traceback
    shown = sent(kernel_fake)
    assert "total = 6 * 7" in shown
    assert "printed" in shown
    assert "]:\n42" in shown or "\n42" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "{{ cells" not in shown, "the cell that asks is not among them"
    kernel.run("%%llm --no-history\n{{ cells[-2].source }}")
    assert sent(kernel_fake) == "1 / 0"


def test_executed_cells_are_looped_over_and_counted(kernel, kernel_fake):
    kernel.run("first_of_two = 1")
    kernel.run("second_of_two = 2")
    ran = kernel.run(
        "%%llm --no-history\n{% for cell in cells[-2:] %}<{{ cell.source }}>{% endfor %} {{ cells | length > 1 }}"
        "{% for cell in cells if cell.source == 'first_of_two = 1' %} {{ cell.number > 0 }}{% endfor %}"
    )
    assert ran.status == "ok", ran.traceback
    assert sent(kernel_fake) == "<first_of_two = 1><second_of_two = 2> True True"


@pytest.mark.parametrize(
    "text", ["{{ cells._shell }}", "{{ cells._cell(1) }}", "{{ error.value }}", "{{ error.value.args }}"]
)
def test_nothing_but_the_texts_of_cells_and_error_is_read(text, kernel, kernel_fake):
    kernel.run("1 / 0")
    ran = kernel.run(f"%%llm --no-history\n{text}")
    assert ran.status == "error"
    assert "underscore" in ran.error or "which has no such attribute" in ran.error
    assert not kernel_fake.requests


def test_cells_that_are_not_there_are_one_sentence(kernel, kernel_fake):
    ran = kernel.run("%%llm\n{{ cells[-99999] }}")
    assert "The prompt uses {{ cells[-99999] }}, but" in ran.traceback[0]


def test_the_last_error_comes_with_its_code_and_mistakes_of_our_own_do_not_count(kernel, kernel_fake):
    kernel.run("def share(total, people):\n    each = total / people\n    return each\nshare(3, 0)")
    kernel.run("%%llm --temprature 1\nHi")
    ran = kernel.run("%%llm --no-history\nWhy? {{ error }}")
    assert ran.status == "ok", ran.traceback
    shown = sent(kernel_fake)
    assert "ZeroDivisionError: division by zero" in shown
    assert "-->    2     each = total / people" in shown
    assert "in a cell, share():" in shown
    assert "site-packages" not in shown


def test_ones_own_variables_come_before_the_notebooks_names(kernel, kernel_fake):
    kernel.run("cells, error = 'mine', 'too'")
    try:
        kernel.run("%%llm --no-history\n{{ cells }} {{ error }}")
        assert sent(kernel_fake) == "mine too"
    finally:
        kernel.run("del cells, error")


def test_values_keep_to_the_budget_that_is_configured(kernel, kernel_fake):
    kernel.run("%config LLMMagics.value_tokens = 30\nlong = list(range(9999))")
    try:
        kernel.run("%%llm --no-history\n{{ long }}")
        assert estimate(sent(kernel_fake)) <= 60
    finally:
        kernel.run("%config LLMMagics.value_tokens = 1000")


def test_an_interrupt_of_a_template_is_one_sentence():
    @template_function
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

    with pytest.raises(Interrupted) as caught:
        fill_in("{{ interrupt() }}", {})
    assert "nothing was sent" in str(caught.value)
    assert len(caught.value._render_traceback_()) == 1
