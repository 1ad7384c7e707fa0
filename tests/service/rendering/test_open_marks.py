"""Bold text and code that a growing answer has only begun."""

from __future__ import annotations

import re

import pytest

from ipyllm.rendering import to_html
from ipyllm.rendering.markdown import parser

ANSWER = """The **slope** of *this* line, `np.linalg.lstsq`, is **not `None`**, says ***everybody***.

* **First**: a bullet with `a * b` and 2 * 3 * 4
* second: $x_1 * y_2$ and \\(a ** b\\), costs $5
    1. nested **item
       over two lines**

| name | value |
| --- | --- |
| **a** | `b` |

> **Quoted** ``x`y`` text

```python
power = x**2
```
"""


def html(source, *, live=False):
    return to_html(f"{source}\n", live=live)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("It is **very imp", "It is **very imp**"),
        ("It is **very ", "It is **very**"),
        ("**bold*", "**bold**"),
        ("***both", "***both***"),
        ("***both**", "***both***"),
        ("**bold *and", "**bold *and***"),
        ("one **b** and **c", "one **b** and **c**"),
        ("call `dict.get", "call `dict.get`"),
        ("call ``a`b", "call ``a`b``"),
        ("call ``a`", "call ``a``"),
        ("`**kwargs", "`**kwargs`"),
        ("**use `a", "**use `a`**"),
        ("**use `a` now", "**use `a` now**"),
        ("**now it costs $5", "**now it costs $5**"),
        ("it begins **", "it begins&#32;"),
        ("it begins `", "it begins"),
        (r"a \` and `code", r"a \` and `code`"),
        ("**the \\", "**the \\\\**"),
        ("**as $x *y", "**as $x \\*y**"),
        ("**a (*(b", "**a (*(b***"),
        ("*may **be", r"\*may **be**"),
    ],
)
def test_what_has_begun_is_ended(source, expected):
    assert html(source, live=True) == html(expected)


@pytest.mark.parametrize(
    "source",
    ["**bold**", "***both***", "`**kw`", "`a` and ``b`c``", "5 * 3", "5 *", "2**10 is 1024", "a ** b", "like *.py",
     "*it", "snake_case and __init", "$x **b", r"\(x **b", r"\[x **b", r"\**b", r"\`b", "word**",
     "*all **of it***", "*a* b*", ""],
)  # fmt: skip
def test_what_has_ended_or_is_none_stays(source):
    assert html(source, live=True) == html(source)


def test_at_no_moment_of_an_answer_marks_stand_in_its_text():
    for size in range(1, len(ANSWER)):
        text = re.sub(r"<code.*?</code>|<math.*?</math>", "", to_html(ANSWER[:size], live=True), flags=re.DOTALL)
        begins_formula = re.search(r"\\\([^)]*$", ANSWER[:size])
        assert "**" not in text or begins_formula, ANSWER[:size]
        assert "`" not in text, ANSWER[:size]


def test_only_the_end_is_touched_and_the_whole_is_as_ever():
    for source in (ANSWER, "An **open one.\n\nThen `more.\n\nEnd", "A **bold\n\n---", "* **b\n\n```\na**b\n"):
        assert to_html(source, live=True) == to_html(source)
    assert "<li" in to_html("* ", live=True)
    assert "<strong>b</strong>" in to_html("* **b", live=True)
    assert "**b" in to_html("* **b", live=False)


def test_a_paragraph_is_parsed_once_more_only_for_code(monkeypatch):
    inline, parsed = parser().inline, []
    tokenize = inline.tokenize
    monkeypatch.setattr(inline, "tokenize", lambda state: (parsed.append(state.src), tokenize(state))[1])
    for source, times in (("word " * 1000, 1), ("And `a` **here", 1), ("And `here", 2), ("And `**here` `", 3)):
        parsed.clear()
        html("An **open one.\n\n" * 50 + source, live=True)
        assert len(parsed) == 50 + times, source
