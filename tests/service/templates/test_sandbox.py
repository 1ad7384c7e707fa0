"""What a template may use, and the one sentence that says why it may not; by itself, without a cell."""

from __future__ import annotations

import os

import pytest

from ipyllm.errors import LLMError
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError


def render(text, values=(), **options):
    return SandboxedTemplate(text, **options).render(dict(values))


def refused(text, values=(), **options):
    with pytest.raises(LLMError) as caught:
        render(text, values, **options)
    assert caught.value.category == "bad_request"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def undefined(text, values=()):
    with pytest.raises(UndefinedNameError) as caught:
        render(text, values)
    return caught.value.sentence("The prompt", "assign it first.")


@pytest.fixture
def lab_key(monkeypatch):
    monkeypatch.setenv("LAB_API_KEY", "as-long-as-a-key")
    return "as-long-as-a-key"


def test_only_expressions_and_statements_are_special():
    text = '{"a": {b}} {# note #} ${d} $$x_{1}$$\n'
    assert render(text) == text
    assert render("{{ n + 1 }}{% if n %}!{% endif %}", {"n": 1}) == "2!"


def test_a_value_is_inserted_as_it_is_and_never_expanded_again():
    assert render("{{ page }}", {"page": "<b>&amp;</b> {{ n }}", "n": 1}) == "<b>&amp;</b> {{ n }}"


def test_the_caller_says_how_a_value_becomes_text():
    assert render("{{ n }} {{ m }}", {"n": 1, "m": None}, to_text=lambda value: f"<{value}>") == "<1> <None>"


def test_an_error_of_the_caller_s_own_is_passed_on_as_it_is():
    def too_large(_value):
        raise LLMError("The table is too large.", category="context_length")

    with pytest.raises(LLMError, match=r"^The table is too large\.$") as caught:
        render("{{ n }}", {"n": 1}, to_text=too_large)
    assert caught.value.category == "context_length"


# ---- mistakes ----------------------------------------------------------------------------------------------


def test_a_template_that_does_not_parse_says_where_and_what_else_to_do():
    said = "The prompt does not parse, line 2: Encountered unknown tag 'fi'"
    assert refused("one\n{% fi %}", subject="The prompt").startswith(said)
    advised = refused("{{ x", subject="The prompt", advice="or pass template=False")
    assert advised.endswith("; or pass template=False.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ ordres }}", "The prompt uses {{ ordres }}, which is not defined; did you mean 'orders'?"),
        ("{{ zzz }}", "The prompt uses {{ zzz }}, which is not defined; assign it first."),
        ("{{ zzz.a }}", "The prompt uses {{ zzz }}, which is not defined; assign it first."),
        ("{{ _order }}", "The prompt uses {{ _order }}, which is not defined; did you mean 'orders'?"),
        (
            "{{ orders.ciyt }}",
            "The prompt uses 'ciyt' of a dict, which has no such attribute or item; did you mean 'city'?",
        ),
        (
            "{{ name.uper() }}",
            "The prompt uses 'uper' of a str, which has no such attribute or item; did you mean 'upper'?",
        ),
        ("{{ [1, ordres] }}", "The prompt uses {{ ordres }}, which is not defined; did you mean 'orders'?"),
        ("{{ {'a': (ordres,)} }}", "The prompt uses {{ ordres }}, which is not defined; did you mean 'orders'?"),
        ("{{ sizes[9] }}", "The prompt uses '9' of a list, which has no such attribute or item."),
    ],
)
def test_an_unknown_name_is_told_with_what_was_probably_meant(text, said):
    values = {"orders": {"city": "Bern", "_hidden": 1}, "name": "Ada", "sizes": [1], "_ordersx": 0}
    assert undefined(text, values) == said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ range(1000000) | list }}", "OverflowError: Range too big"),
        ("{% if true %}{{ 1 | nofilter }}{% endif %}", "No filter named 'nofilter'"),
        ("{% macro m(x) %}{{ x }}{% endmacro %}{{ m() }}", "parameter 'x' was not provided."),
    ],
)
def test_a_template_that_fails_is_one_sentence_with_the_reason(text, why):
    assert refused(text).startswith(f"The template failed: {why}")


# ---- keys and the environment ------------------------------------------------------------------------------


def test_a_value_that_holds_a_key_is_refused_by_the_name_of_its_variable(lab_key):
    said = refused("{{ page }}", {"page": f"…{lab_key}…"})
    assert said == "The template may not insert a value that holds the value of LAB_API_KEY: leave it out."
    assert "holds a key: leave it out." in refused("{{ page }}", {"page": "sk-abcdefghijklmnop"})


def test_a_key_that_its_author_wrote_into_the_template_is_theirs_to_send(lab_key):
    assert render(f"{lab_key} {{{{ n }}}}", {"n": 1}) == f"{lab_key} 1"


def test_a_variable_too_short_or_not_named_like_a_key_is_no_secret(monkeypatch):
    monkeypatch.setenv("LAB_KEY", "7 chars")
    monkeypatch.setenv("LAB_NAME", "a long name of a lab")
    assert render("{{ a }} of {{ b }}", {"a": "7 chars", "b": "a long name of a lab"}) == (
        "7 chars of a long name of a lab"
    )
    monkeypatch.setenv("LAB_KEY", "8 chars!")
    assert "the value of LAB_KEY" in refused("{{ a }}", {"a": "8 chars!"})


def test_the_environment_is_read_once_for_a_batch_and_again_for_the_next(monkeypatch, lab_key):
    class Counting(dict):
        n_reads = 0

        def items(self):
            self.n_reads += 1
            return super().items()

    environ = Counting(os.environ)
    monkeypatch.setattr(os, "environ", environ)
    template = SandboxedTemplate("{{ page }}")
    assert [template.render({"page": page}) for page in ("one", "two")] == ["one", "two"]
    with pytest.raises(LLMError, match="the value of LAB_API_KEY"):
        template.render({"page": lab_key})
    assert environ.n_reads == 1
    environ["NEXT_TOKEN"] = "of the next one"
    assert "the value of NEXT_TOKEN" in refused("{{ page }}", {"page": "of the next one"})


def test_a_key_in_a_value_that_is_only_looked_at_is_not_sent(lab_key):
    assert render("{{ 'yes' if page else 'no' }}", {"page": lab_key}) == "yes"
