"""Markdown answers as HTML; no text takes long to render."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from ipyllm.rendering import CSS, to_html
from ipyllm.rendering.highlight import CLASSES, highlight

WRAPPER = '<div class="ipyllm-answer mathjax_ignore tex2jax_ignore">'


def inner(text, **options):
    html = to_html(text, **options)
    assert html.startswith(WRAPPER)
    return html.removeprefix(WRAPPER).removesuffix("</div>").strip().replace(' dir="auto"', "")


def printed_by(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_the_lines_of_a_verse_are_lines():
    assert to_html("The sea,\na vast realm").count("<br>") == 1
    assert "<br>" not in to_html("The sea,\n\na vast realm")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, ipyllm.rendering as r; r.__all__; dir(r);"
        "print([m for m in ('markdown_it', 'pygments', 'nh3', 'latex2mathml') if m in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_rendering_a_plain_paragraph_loads_neither_highlighter_nor_math():
    code = (
        "import sys; from ipyllm.rendering import to_html; to_html('Hello, *world*.');"
        "print([m for m in ('pygments', 'latex2mathml', 'IPython') if m in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_the_same_text_gives_the_same_html_in_every_process():
    code = "from ipyllm.rendering import to_html; print(to_html('[a](https://b.c) $x_1$ ![d](https://e.f/g)'))"
    runs = {printed_by(code) for _ in range(4)}
    assert len(runs) == 1


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "It costs $5.",
        "from $5-$10 to US$20",
        "$1,000, or 20$ less",
        "between $5 million and 10$",
        "echo $HOME/bin:$PATH",
        r"\$x\$",
        "a $ b $ c",
        "$",
        "$$",
        "`$x$`",
    ],
)
def test_money_and_variables_stay_text(text):
    assert "<math" not in to_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "$x$",
        r"\(x\)",
        "so $x$.",
        "($x$)",
        "**$x$**",
        r"item \(x\), and",
        "$5x$",
        "$0$",
        "$x$-axis",
        "| $x$ |\n|--|",
    ],
)
def test_inline_math_becomes_inline_mathml(text):
    assert '<math display="inline">' in to_html(text)
    assert "$" not in to_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "$$x$$",
        "$$\nx\n$$",
        "text\n$$\nx\n$$\ntext",
        "\\[\nx\n\\]",
        "so \\[ x \\] holds",
        "1. item\n   \\[\n   x\n   \\]\n2. item",
        "> $$\n> x\n> $$",
        "$$ x\n= y $$",
        "text\r\n\\[\r\nx\r\n\\]\r\n",
    ],
)
def test_display_math_becomes_display_mathml(text):
    assert '<math display="block">' in to_html(text)
    assert "$" not in to_html(text)
    assert "\\" not in to_html(text)


def test_emphasis_marks_within_math_are_math():
    assert "<em>" not in to_html("$a_1 * b_2 * c_3$ and $a*b*c$")


@pytest.mark.parametrize("tex", [r"\begin{matrix}", r"\unknowncommand{x}", r"\frac", "{", "x" * 1500, "^" * 500])
def test_what_cannot_be_converted_is_shown_as_its_source(tex):
    assert inner(rf"so \({tex}\).") == rf"<p>so <code>\({tex}\)</code>.</p>"


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"\begin{aligned} a &= b \\ &= c \end{aligned}", '<mtd columnalign="right"><mrow><mi>a</mi>'),
        (r"\begin{equation} a \end{equation}", "<mi>a</mi>"),
        (r"\begin{pmatrix} a \end{pmatrix}^{-1}", "</mtable><mo>)</mo></mrow>"),
        (r"\lim_{x \to 0} x", "<munder><mo>lim</mo>"),
        (r"a \pm b", "<mo>±</mo>"),
    ],
)
def test_what_models_write_and_the_library_misreads_is_put_right(tex, part):
    html = to_html(f"$$\n{tex}\n$$")
    assert part in html.replace("></mspace>", "/>")
    assert "&amp;" not in html


def test_less_than_in_math_is_escaped():
    assert "<mo>&lt;</mo>" in to_html("$a<b$")


def test_known_languages_are_coloured_and_unknown_ones_are_not_guessed():
    assert '<span class="k">def</span>' in to_html("```python\ndef f(): ...\n```")
    assert "<span" not in to_html("```\ndef f(): ...\n```")
    assert "<span" not in to_html("```nolanguage\ndef f(): ...\n```")


@pytest.mark.parametrize("info", ["python", "Python", "py", "{python}", "{.python}", 'python title="a.py"', "python3"])
def test_info_strings_as_models_write_them_are_understood(info):
    assert '<span class="k">' in highlight("return 1", info)


def test_a_block_of_code_names_a_known_language_only():
    assert '<code class="language-c++">' in to_html("```C++ title=a\nint a;\n```")
    for info in ("", "klingon", 'x" onclick="x', "ipyllm-copy"):
        assert '<pre dir="ltr"><code>a\n' in to_html(f"```{info}\na\n```")


@pytest.mark.parametrize("code", ["\n\n  a = 1\n\n", "a\r\nb", "\ta", "x = '", '"""', "é = '🖼'", "", "  "])
def test_highlighting_never_changes_the_code(code):
    from html import unescape

    assert unescape(re.sub(r"<[^>]*>", "", highlight(code, "python"))) == code


def test_every_class_of_the_highlighter_has_a_colour():
    assert {name for name in CLASSES if f".{name}{{" not in CSS} == set()


def test_the_style_sheet_fetches_nothing():
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert CSS.count("{") == CSS.count("}")
    assert "prefers-reduced-motion" in CSS


def test_only_a_dot_beside_a_waiting_line_pulses_so_that_its_words_keep_their_contrast():
    moving = re.findall(r"([^{}]*)\{[^{}]*animation:ipyllm-pulse", CSS)
    assert [selector.strip() for selector in moving] == [".ipyllm-waiting::before"]
    (rule,) = re.findall(r"\.ipyllm-waiting\{([^}]*)\}", CSS)
    assert "opacity" not in rule


def test_bare_addresses_become_links_without_the_punctuation_around_them():
    html = inner("See (https://a.example/b_c_d?x=1&y=2), https://a.example/Lisp_(x). **https://b.example**")
    assert re.findall('href="([^"]*)"', html) == [
        "https://a.example/b_c_d?x=1&amp;y=2",
        "https://a.example/Lisp_(x)",
        "https://b.example",
    ]


def test_addresses_in_code_and_in_links_are_left_alone():
    assert inner("`https://a.example`") == "<p><code>https://a.example</code></p>"
    assert inner("[https://a.example](https://b.example)").count("<a ") == 1


def test_tables_keep_their_alignment():
    assert '<td style="text-align:right" dir="auto">1</td>' in to_html("| a |\n|--:|\n| 1 |")


def test_a_long_fence_is_coloured_only_when_it_no_longer_grows():
    code = "```python\n" + "return 1\n" * 1000
    assert "<span" not in to_html(code, live=True)
    assert "<span" in to_html(code + "```\n\nThat was it.", live=True)
    assert "<span" in to_html(code)
    assert "<span" in to_html("```python\nreturn 1\n", live=True)
    assert "<span" not in to_html("- item\n\n  ```python\n" + "  return 1\n" * 1000, live=True)


def test_a_huge_text_is_shown_as_it_is():
    assert inner("*<a>*\n" * 100_000).startswith('<pre class="ipyllm-text">*&lt;a&gt;*\n*')


FENCE = "`" * 3
PATHOLOGICAL = {
    "quotes": ">" * 10_000,
    "quotes with spaces": "> " * 10_000 + "a",
    "open brackets": "[" * 10_000,
    "open brackets, longer": "[" * 55_000,
    "open images": "![" * 5_000,
    "nested brackets": "[" * 5_000 + "a" + "]" * 5_000,
    "nested images": "![" * 500 + "a" + "](b)" * 500,
    "links without end": "[a](" * 10_000,
    "titles without end": '[a](b "' * 8_000,
    "emphasis": "*a **b" * 5_000,
    "mixed emphasis": "*_~~" * 10_000,
    "dollars": "$" * 10_000,
    "formulas without end": "$a " * 15_000,
    "brackets of math": r"\(" * 20_000,
    "blocks of math": "\\[\n" * 30_000,
    "blocks of dollars": "$$a\n" * 30_000,
    "backticks": "".join("`" * n + " " for n in range(300)),
    "one line": "a" * 1_000_000,
    "one address": "http://a.b/" + ")" * 50_000,
    "entities": "&" * 50_000,
    "angles": "<" * 50_000,
    "deep list": "".join("  " * n + "- a\n" for n in range(400)),
    "wide table": "|a" * 5_000 + "\n" + "|-" * 5_000 + "\n",
    "definitions": "[a]: b\n" * 20_000,
    "many formulas": "".join(f"$x^{{{n}}}$ " for n in range(5_000)),
    "deep formula": "$" + "{" * 400 + "}" * 400 + "$",
    "exploding formula": "$"
    + "".join(rf"\newcommand{{\a{chr(98 + n)}}}{{\a{chr(99 + n)}\a{chr(99 + n)}}}" for n in range(20))
    + "$",
    "blank lines of C": f"{FENCE}c\n" + "\n" * 30_000 + f"{FENCE}\n",
    "lines of C#": f"{FENCE}csharp\n" + "a\n" * 15_000 + f"{FENCE}\n",
    "a line of make": f"{FENCE}make\n" + "a" * 30_000 + f"\n{FENCE}\n",
    "fences of C#": (f"{FENCE}csharp\n" + "a\n" * 2_000 + f"{FENCE}\n\n") * 20,
    "all controls": "".join(map(chr, range(32))) * 1_000,
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_no_text_takes_long(name):
    started = time.thread_time()  # of this thread: other tests run beside
    to_html(PATHOLOGICAL[name])
    assert time.thread_time() - started < 3
