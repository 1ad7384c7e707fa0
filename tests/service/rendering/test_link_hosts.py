"""A link shows where it goes if its text names another host, or one that can be mistaken for another."""

from __future__ import annotations

import re

import pytest

from ipyllm.rendering import to_html

SHOWN = re.compile(r"\((\S+)\)</a>")


def shown(markdown):
    """Return the host that the only link shows beside its text."""
    html = to_html(markdown)
    assert html.count("<a ") == 1, html
    return SHOWN.findall(html)


@pytest.mark.parametrize(
    "markdown",
    [
        "[https://bank.example/login](https://evil.example)",
        "[bank.example](https://evil.example/bank.example)",
        "[**https://bank**.example](https://evil.example)",
        "[`bank.example`](https://evil.example)",
        "[www.bank.example is safe](https://evil.example)",
        "[Sign in at https://bank.example](https://evil.example)",
        "[https://bank.example@evil.example](https://evil.example)",
        "[bank.example:443/login?a=b](https://evil.example)",
        "[\u202ebank.example](https://evil.example)",
        "[bank\u200b.example](https://evil.example)",
        "https://bank.example@evil.example/login",
        "<https://bank.example@evil.example>",
    ],
)
def test_a_link_whose_text_names_another_host_shows_its_own(markdown):
    assert shown(markdown) == ["evil.example"]


@pytest.mark.parametrize("letter", "\u0430\u0435\u03bf")  # Cyrillic and Greek ones
@pytest.mark.parametrize(
    "form", ["https://b{}nk.example/a", "<https://b{}nk.example>", "[b{}nk.example](https://b{}nk.example)"]
)
def test_a_host_of_mixed_scripts_is_shown_in_punycode(letter, form):
    (host,) = shown(form.replace("{}", letter))
    assert host.startswith("xn--bnk-")
    assert host.endswith(".example")


@pytest.mark.parametrize(
    "markdown",
    [
        "[the docs](https://docs.example)",
        "[docs.example](https://docs.example/a)",
        "[docs.example](https://www.docs.example)",
        "[Docs.Example/a](https://docs.example:8000/b)",
        "[see https://docs.example, page 2](https://docs.example/2)",
        "https://docs.example/a?next=https://other.example",
        "<https://docs.example>",
        "https://m\u00fcnchen.example",
        "[\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444](https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444)",
        "[mail](mailto:ada@docs.example)",
        "[](https://docs.example)",
        "[v1.2.3](https://docs.example)",
    ],
)
def test_a_link_that_tells_the_truth_shows_nothing_more(markdown):
    assert shown(markdown) == []


def test_an_image_in_a_link_shows_both_hosts():
    html = to_html("[![https://bank.example](https://img.example/a.png)](https://evil.example)")
    assert "img.example" in html
    assert "evil.example" in html


def test_a_hundred_thousand_characters_of_dots_are_looked_at_quickly():
    html = to_html(f"[{'a.' * 50_000}](https://evil.example)")
    assert "evil.example" in html
