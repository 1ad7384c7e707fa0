"""Small modules of ``rendering``."""

from __future__ import annotations

import pytest

from ipyllm.rendering import Column, columns_html, columns_text, reasoning_html, to_html
from ipyllm.rendering.draw_budget import DrawBudget
from ipyllm.rendering.highlight import highlight
from ipyllm.rendering.link_hosts import web_host
from ipyllm.rendering.links import _without_punctuation
from ipyllm.rendering.sanitize_answer import is_raster_image, sanitize
from ipyllm.rendering.sanitize_page import sanitize_page
from ipyllm.rendering.tex import to_mathml


def test_columns_show_label_and_answer_and_only_the_label_is_escaped():
    html = columns_html([Column("A", "<model>", "<p>Hi</p>", "Hi", "1.2 s")])
    assert "&lt;model&gt;" in html
    assert "<p>Hi</p>" in html


def test_columns_as_text_stand_below_each_other():
    good, bad = Column("A", "x/y", "", "Hi", "1.2 s"), Column("B", "", "", "", "", error="Gone.")
    assert columns_text([good, bad], "Vote.") == "── A · x/y ──\nHi\n1.2 s\n\n── B ──\nGone.\n\nVote."


def test_reasoning_is_escaped_and_none_is_nothing():
    assert "Hm, &lt;b&gt;</p>" in reasoning_html("Hm, <b>")
    assert reasoning_html(" ") == ""


def test_an_answer_is_one_element_without_raw_html():
    expected = '<div class="ipyllm-answer mathjax_ignore tex2jax_ignore">'
    assert to_html("**Hi** <b>") == f'{expected}<p dir="auto"><strong>Hi</strong> &lt;b&gt;</p>\n</div>'


def test_a_long_draw_is_paid_for_by_a_pause():
    budget = DrawBudget(now=0.0)
    budget.spend(21_000, now=0.0)
    assert budget.wait_s(now=0.0) == pytest.approx(1.0)


def test_code_is_coloured_where_its_language_is_known():
    coloured = '<span class="k">return</span> a <span class="o">&lt;</span> <span class="m">1</span>'
    assert highlight("return a < 1", "python") == coloured
    assert highlight("return a < 1", "") == "return a &lt; 1"


def test_the_sanitisers_leave_nothing_that_runs_or_fetches():
    link = '<a href="javascript:alert(1)" onclick="alert(1)" id="x">go</a><iframe></iframe>'
    assert sanitize(link) == '<a rel="noopener noreferrer nofollow">go</a>'
    page = '<p style="color:red" onclick="x()">Hi<script>x()</script><img src="https://example.com/i.png">'
    assert sanitize_page(page) == '<p style="color:red">Hi<img></p>'
    assert is_raster_image("data:image/png;base64,iVBORw0KGgo=")
    assert not is_raster_image("data:image/svg+xml;base64,iVBORw0KGgo=")


def test_math_is_converted_or_refused():
    assert to_mathml("x^2", display=False) == (
        '<math display="inline"><mrow><msup><mi>x</mi><mrow><semantics><mrow /><annotation>^</annotation></semantics>'
        "<mn>2</mn></mrow></msup></mrow></math>"
    )
    assert to_mathml(r"\href{javascript:alert(1)}{x}", display=False) == (
        '<math display="inline"><mrow><mrow><mrow><mi>x</mi></mrow></mrow></mrow></math>'
    )
    assert to_mathml(r"\begin{matrix}", display=False) is None


def test_an_address_ends_before_the_sentence_does_and_names_its_real_host():
    address = "https://en.wikipedia.org/wiki/Lisp_(language)"
    assert _without_punctuation(f"{address}).") == address
    assert web_host("https://bank.example@evil.example/login") == "evil.example"
    assert (web_host("/relative"), web_host("https://[")) == ("", "")
