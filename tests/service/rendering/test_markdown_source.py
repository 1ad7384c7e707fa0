"""Markdown beside the HTML: it reads like the answer, and nothing that shows or converts it runs or fetches a thing."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from ipyllm.rendering import to_markdown
from ipyllm.rendering.markdown_source import escape_markdown, fenced
from tests.service.rendering.payloads import PAYLOADS

HARMLESS = re.compile(r"</?(?:sub|sup|kbd)>|<br ?/?>")


def credulous(text):
    """Return all tokens of a parser that accepts HTML, every address and every image."""
    md = MarkdownIt("commonmark", {"html": True}).enable("table")
    md.validateLink = lambda _: True
    tokens = md.parse(text)
    return [*tokens, *(child for token in tokens for child in token.children or ())]


def faults(markdown):
    found = []
    for token in credulous(markdown):
        if token.type in {"html_block", "html_inline"} and not HARMLESS.fullmatch(token.content.strip()):
            found.append(token.content)
        if token.type == "image" and not token.attrs["src"].startswith("data:image/png;base64,"):
            found.append(token.attrs["src"])
        if token.type == "link_open" and not re.match("(?i)https?://|mailto:", token.attrs["href"]):
            found.append(token.attrs["href"])
        if token.type == "fence" and not re.fullmatch(r"[\w+#-]*", token.info):
            found.append(token.info)
    return found


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_disarmed_wherever_it_stands(name):
    payload = PAYLOADS[name]
    quoted = "\n".join(f"> {line}" for line in payload.split("\n"))
    listed = "\n".join(f"   {line}" for line in payload.split("\n"))
    for text in (
        payload,
        f"**before** {payload} *after*",
        f"text\n{payload}\ntext",
        quoted,
        f"1. item\n\n{listed}\n",
        f"| a |\n|---|\n| {payload} |",
        f"[{payload}](https://example.com)",
        f"`code` {payload} `code`",
    ):
        assert faults(to_markdown(text)) == []


def test_the_check_itself_finds_what_it_should():
    for bad in ("<b>", "![a](https://b.c)", "[a](javascript:b)", "```{=latex}\na\n```", "a <img src=x> b"):
        assert faults(bad), bad


@pytest.mark.parametrize(
    "text",
    [
        r"\input{/etc/passwd}",
        r"$\input{/etc/passwd}$",
        r"$\text{\input{/etc/passwd}}$",
        r"$$\csname input\endcsname{x}$$",
        "$x^^5cinput{/etc/passwd}$",
        r"\[\href{javascript:alert(1)}{x}\]",
        r"$\def\x{y}\x$",
        "```{=latex}\n\\input{x}\n```",
        r"`\input{x}`{=latex}",
        r"\begin{verbatim} \input{x}",
        "> $$\n> \\openin5=x\n> $$",
        r"$a \) \input{x} \( b$",
        "$a % $\n\\input{x} b$",
    ],
)
def test_no_command_of_latex_but_those_of_mathematics_gets_through(text):
    markdown = to_markdown(text)
    assert "{=" not in re.sub(r"\\\{", "", markdown)
    for token in credulous(markdown):
        if token.type not in {"text", "math_inline"} or not token.content:
            continue
        between = re.findall(r"(?<!\\)\$+([^$]*)\$+", token.content)
        assert not re.search(r"\\(?:input|csname|href|def|openin|begin)|\^\^", " ".join(between))
    outside = re.sub(r"(`+)(?!`).*?\1|```.*?```", "", markdown, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)\\(?:input|csname|href|def|openin|begin)", outside), markdown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        (r"so \(x^2\) and $\sqrt{\pi}$.", r"so $x^2$ and $\sqrt{\pi}$."),
        ("\\[\nx\n= y\n\\]", "$$x = y$$"),
        ("> $$\n> x\n> $$", "> $$x$$"),
        (r"\[\begin{align} a &= b \end{align}\]", r"$$\begin{aligned} a &= b \end{aligned}$$"),
        ("$a<b$", "$a< b$"),
        ("$5 and $10", r"\$5 and \$10"),
        (r"\(\unknown{x}\)", r"`\(\unknown{x}\)`"),
        ("- [ ] one\n- [x] two[^1]\n\n[^1]: note", "- [ ] one\n- [x] two[^1]\n\n[^1]: note"),
        ("H<sub>2</sub>O<br>x", "H<sub>2</sub>O<br>x"),
        ("a < b <- c", "a < b <- c"),
        ("List<int> x", "List&lt;int> x"),
        ("`<b>` and ``a`b``", "`<b>` and ``a`b``"),
        ("```html\n<b>$x$ \\input\n```\nend", "```html\n<b>$x$ \\input\n```\nend"),
        ("| a | b |\n|--|--:|\n| `x` | $y$ |", "| a | b |\n|--|--:|\n| `x` | $y$ |"),
        ("- item\n\n      code <b>\n", "- item\n\n  ```\n  code <b>\n  ```\n"),
        ("![plot](https://a.b/c.png)", "[🖼 plot](https://a.b/c.png)"),
        ("[a]: https://b.c\n\n[a]", "[a]: https://b.c\n\n[a]"),
        ("[a]: ../x\n\n[a]", "\n\n[a]"),
        ("[x](javascript:y)", "[x&#93;(javascript:y)"),
        ("\x1b[31mred\x1b[0m\r\nnext", "red\nnext"),
    ],
)
def test_it_reads_like_the_answer(text, markdown):
    assert to_markdown(text) == markdown


def test_code_that_never_ended_is_ended_so_that_what_follows_is_no_code():
    assert to_markdown("- a\n\n  ~~~py\n  x").endswith("  ~~~py\n  x\n  ~~~")
    assert [token.type for token in credulous(to_markdown("```\nx") + "\n\n*end*")][:2] == ["fence", "paragraph_open"]


def test_plain_text_is_shown_as_it_is():
    line = r"a_b *c* <d> $e$ #f | `g` [h](i) \j &amp; ^k"
    (inline,) = (token for token in credulous(escape_markdown(line)) if token.type == "inline")
    assert "".join(child.content for child in inline.children) == line


def test_a_fence_is_longer_than_those_within():
    assert fenced("```\na\n```") == "````\n```\na\n```\n````\n"
