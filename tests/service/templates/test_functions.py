"""Functions that the user registered: the only ones that a template may call."""

from __future__ import annotations

import functools
import time

import pandas as pd
import pytest

import ipyllm
from ipyllm import LLMError
from ipyllm.experiment.prompt_template import RowTemplate
from ipyllm.templates import functions, limits
from ipyllm.templates.sandbox import SandboxedTemplate
from tests.service.templates.variables import Hostile, Order, effects


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(functions, "_registered", {})


def render(text, **values):
    return SandboxedTemplate(text).render(values)


def refused(text, **values):
    with pytest.raises(LLMError) as caught:
        render(text, **values)
    return str(caught.value)


def double(value):
    return 2 * value


def test_a_registered_function_is_called_by_its_name_and_by_that_of_a_variable():
    assert "double, a function" in refused("{{ double(2) }}", double=double)
    assert ipyllm.template_function(double) is double
    assert render("{{ double(2) }} {{ twice('a') }}", twice=double) == "4 aa"
    assert render("{{ double(value=n) }}", n=1.5) == "3.0"


def test_a_variable_of_that_name_comes_first():
    ipyllm.template_function(double)
    assert render("{{ double }}", double="mine") == "mine"


def test_a_function_that_replaces_another_is_called():
    ipyllm.template_function(double)

    @ipyllm.template_function
    def double_again(value):
        return value

    double_again.__name__ = "double"
    ipyllm.template_function(double_again)
    assert render("{{ double(2) }}") == "2"


def test_the_template_of_an_experiment_can_call_it():
    ipyllm.template_function(double)
    assert RowTemplate("{{ double(text) }}", ["text"]).fill_in({"text": "so"}) == "soso"


def test_it_gets_plain_values_and_what_it_returns_is_one():
    given = []

    @ipyllm.template_function
    def look(value):
        given.append(value)
        return {"order": value, "hostile": Hostile(), "text": "x"}

    effects.clear()
    assert render("{{ look(order).order.city }} {{ look([1]).text }}", order=Order("Bern", 1)) == "Bern x"
    assert not hasattr(given[0], "total")
    assert "a Hostile in the result of look()" in refused("{{ look(1).hostile }}")
    assert effects == []


def test_neither_functions_nor_what_is_denied_is_an_argument():
    ipyllm.template_function(double)
    assert "may not use a function, as a value" in refused("{{ double(double) }}")
    assert "time, a module" in refused("{{ double(time) }}", time=time)
    assert "may not use '__globals__'" in refused("{{ double.__globals__ }}")
    assert "may not use 'call' of a function" in refused("{{ double.call }}")
    assert "as a value" in refused("{{ double }}")
    assert "as a value" in refused("{{ [double] | join }}")


def test_it_gets_a_table_itself_and_parameters_of_any_name():
    given = []

    @ipyllm.template_function
    def look(**named):
        given.append(named)

    table = pd.DataFrame({"a": [1]})
    assert render("{{ look(self=df, name=df.a, function=1) }}", df=table) == "None"
    assert type(given[0]["self"]) is pd.DataFrame
    assert type(given[0]["name"]) is pd.Series
    assert given[0]["function"] == 1


def test_what_it_raises_is_told_in_one_sentence():
    @ipyllm.template_function
    def fail():
        raise ValueError("no\nvalue.")

    @ipyllm.template_function
    def fail_ours():
        raise LLMError("Too large.", category="context_length")

    assert refused("{{ fail() }}") == "The template failed: ValueError: no value."
    assert refused("{{ fail_ours() }}") == "Too large."


def test_its_time_does_not_count(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.3)

    @ipyllm.template_function
    def slow():
        until = time.thread_time() + 0.4
        while time.thread_time() < until:
            pass
        return 1

    assert render("{{ slow() }}{% for i in range(100) %}{% endfor %}") == "1"


def test_it_may_fill_in_a_template_of_its_own():
    @ipyllm.template_function
    def inner():
        return render("{{ n }}", n=2)

    outer = SandboxedTemplate("{{ inner() }}{{ n }}", to_text=lambda value: f"<{value}>")
    assert outer.render({"n": 1}) == "<2><1>"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Order, "template_function takes a function, not a type"),
        (functools.partial(double, 1), "template_function takes a function, not a partial"),
        (lambda: 1, "A template cannot call a function named '<lambda>'"),
    ],
    ids=["a class", "a partial", "a lambda"],
)
def test_what_has_no_name_to_call_it_by_is_not_registered(value, said):
    with pytest.raises(LLMError, match=said):
        ipyllm.template_function(value)
