"""How an answer reads: direction, lists, notes and tags; what is left of it where styles and MathML are removed."""

from __future__ import annotations

import re
from html import unescape

import nh3
import pytest

from ipyllm.rendering import Column, columns_html, columns_markdown, copy_script, styled, styles_for, to_html
from ipyllm.rendering.folding import FOLDED_AFTER, folded_html
from ipyllm.response import ChatResponse


def left_over(html):
    """Return the text of HTML without its tags, as a sanitiser leaves it that knows none of them."""
    return unescape(re.sub(r"<[^>]*>", "", html)).strip()


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        ("x^2", "x^2"),
        (r"\sqrt{\pi}", "√π"),
        (r"x_{i+1}^{2n} y", "x_(i+1)^(2n) y"),
        (r"\frac{a+b}{2}", "(a+b)/2"),
        (r"\frac12 x", "1/2 x"),
        (r"\sqrt[3]{x+1}", "(x+1)^(1/3)"),
        (r"\sum_{i=1}^n x_i", "∑_(i=1)^n x_i"),
        (r"\lim_{x \to 0} f(x)", "lim_(x→0) f(x)"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}^{-1}", "(a, b; c, d)^(−1)"),
        (r"\begin{cases} 1 & x>0 \\ 0 & x \le 0 \end{cases}", "{1 x>0; 0 x≤0"),
        (r"\binom{n}{k}", "(n choose k)"),
        ("f'(x)", "f′(x)"),
        (r"\sin x", "sin x"),
        ("(X)^{*}", "(X)^*"),
    ],
)
def test_a_formula_reads_in_one_line_where_its_tags_are_removed(tex, text):
    assert left_over(to_html(f"${tex}$")) == text


def test_what_is_only_for_removed_tags_is_never_drawn():
    """Of ``semantics`` browsers draw the first child."""
    html = to_html(r"$\frac{a+b}{\sqrt{x^2}}$")
    assert html.count("<annotation>") == html.count("<semantics><mrow></mrow><annotation>") > 4


def test_columns_stay_side_by_side_where_styles_are_removed():
    html = columns_html(
        [Column("A", "x/y", to_html("Hi"), "Hi", "1 s"), Column("B", "z", "", "", "2 s", error="Gone.")]
    )
    kept = nh3.clean(html, attributes={})
    assert re.findall(r"</?(?:table|tr|td)>", kept) == ["<table>", "<tr>", *["<td>", "</td>"] * 2, "</tr>", "</table>"]


def test_columns_as_markdown_stand_below_each_other():
    columns = [Column("A", "x/y", "", r"\(x^2\)", "1_2", preferred=True), Column("B", "", "", "", "", error="Gone.")]
    assert columns_markdown(columns, "Vote.") == (
        "**A · x/y** ✓ preferred\n\n$x^2$\n\n*1\\_2*\n\n**B**\n\nGone.\n\nVote."
    )


def test_each_paragraph_item_and_cell_has_its_own_direction_and_nothing_around_them():
    html = to_html("# a\n\nb\n\n- c\n\n  d\n\n  e\n\n> f\n\n| g |\n|---|\n| h |\n")
    assert re.findall(r"<(\w+) dir=\"auto\"", html) == ["h1", "p", "li", "p", "p", "p", "th", "td"]
    assert html.startswith('<div class="ipyllm-answer mathjax_ignore tex2jax_ignore">')
    assert not re.search(r"<(?:ul|blockquote|table)[^>]*dir", html)


def test_lists_quotes_and_tables_run_as_their_first_letter_does():
    html = to_html("- **שלום** b\n  - x\n\n> 1. م\n\n| a |\n|---|\n| ب |\n\nשלום\n")
    assert re.findall(r"<(ul|blockquote|ol|table) dir=\"(\w+)\"", html) == [
        ("ul", "rtl"), ("ul", "ltr"), ("blockquote", "rtl"), ("ol", "rtl"), ("table", "ltr"),
    ]  # fmt: skip
    assert '<p dir="auto" style="text-align:right">שלום</p>' in html


def test_a_long_list_is_in_parts_that_count_on():
    html = to_html("".join(f"{n}. x\n" for n in range(7, 507)))
    starts = re.findall(r'<ol(?: start="(\d+)")?(?: class="ipyllm-part")?(?: start="(\d+)")?>', html)
    assert [int(first or second) for first, second in starts] == [7, 207, 407]
    assert html.count("<li") == 500
    assert "ipyllm-part" not in to_html("- x\n" * 200)


def test_tasks_notes_and_tags_of_html():
    html = to_html(
        "- [ ] one\n- [x] two\n- [y] three\n\nH<sub>2</sub>O, x<sup>*n*</sup>, <kbd>Ctrl</kbd>, a<br>b[^1] [^name] "
        "[^a-z] <sub>open <b>\n\n[^1]: First.\n[^name]: Second\nline.\n"
    ).replace(' dir="auto"', "")
    assert '<li class="ipyllm-task">☐ one</li>\n<li class="ipyllm-task">☑ two</li>\n<li>[y] three</li>' in html
    assert "H<sub>2</sub>O, x<sup><em>n</em></sup>, <kbd>Ctrl</kbd>, a<br>\nb<sup>[1]</sup> <sup>[name]</sup>" in html
    assert "[^a-z] &lt;sub&gt;open &lt;b&gt;" in html
    assert '<p class="ipyllm-footnote"><sup>[1]</sup> First.</p>\n<p class="ipyllm-footnote"><sup>[name]</sup>' in html


def test_html_has_no_blank_line_which_would_end_it_in_markdown():
    html = to_html("a\n\n```\nb\n\n\n \nc\n```\n\n$$x$$")
    assert not re.search(r"\n[ \t]*\n", html)
    assert unescape(re.search(r"<code>(.*?)</code>", html, re.DOTALL)[1]) == "b\n\n\n \nc\n"


def test_a_cell_has_the_rules_for_what_is_in_its_outputs():
    plain, table = to_html("Hi"), to_html("| a |\n|---|\n| b |")
    assert len(styles_for(plain)) < 500
    assert ":is(th,td){" in styles_for(plain, table)
    assert ":is(th,td){" not in styles_for(plain)
    assert "@keyframes ipyllm-more" in styles_for(table)
    assert "@keyframes" not in styles_for(plain)
    for css in (styles_for(plain), styles_for(table), styles_for(plain, table)):
        assert css.count("{") == css.count("}")
    assert styles_for("<b>none of ours</b>") == ""


def test_code_is_followed_by_a_script_for_its_button():
    html = to_html("```\nx\n```")
    assert styled(html) == styles_for(html) + html + copy_script(html)
    assert copy_script("<p>", html).count("<script>") == 1
    assert copy_script(to_html("x")) == ""


def test_the_end_of_a_long_answer_is_folded_and_all_there():
    paragraphs = [f"Paragraph {n} {'word ' * 100}" for n in range(60)]
    html = folded_html("\n\n".join(paragraphs))
    first, rest = html.split('<details class="ipyllm-rest"><summary>')
    assert FOLDED_AFTER <= len(left_over(first)) < FOLDED_AFTER + 1000
    assert re.match(r"[\d,]+ more words</summary>", rest)
    assert all(f"Paragraph {n} " in html for n in range(60))
    assert "<details" not in folded_html("\n\n".join(paragraphs[:25]))
    assert "<details" not in folded_html("word " * 5_000), "nothing splits a paragraph"
    assert "<details" in folded_html("Here is the list:\n\n" + "- item\n" * 3_000)


def test_a_response_shows_its_answer_and_its_line():
    import ipyllm.pipeline.state  # noqa: F401 - which makes responses

    response = ChatResponse(content=r"So **\(x^2\)**." + " more" * 50, reasoning="Hm.", model="a/b_c")
    assert repr(response).startswith("ChatResponse('So **")
    assert "\n" not in repr(ChatResponse(content="a\nb " * 100))
    assert len(repr(response)) < 140
    html, markdown = response._repr_html_(), response._repr_markdown_()
    for part in ("<strong><math", "<summary>Reasoning</summary>", "a/b_c</div>", "<style>"):
        assert part in html
    assert markdown.startswith("So **$x^2$**.")
    assert markdown.endswith("\n\n*a/b\\_c*")
    failed = ChatResponse(status="error", error_message="<b>Gone</b>", error_category="connection")
    assert "&lt;b&gt;Gone" in failed._repr_html_()
    assert "<b>" not in failed._repr_markdown_()
