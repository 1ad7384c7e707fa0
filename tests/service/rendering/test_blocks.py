"""Splitting a stream into blocks keeps its text and its look."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipyllm.rendering import BlockStream, to_html

FENCE = "`" * 3
LINES = st.sampled_from(
    [
        *(
            "",
            "",
            "",
            " ",
            "\t",
            "text",
            "more text",
            "   indented",
            "    code",
            "\ttab",
            "# title",
            "## ",
            "#",
            "===",
            "---",
        ),
        *(
            "- item",
            "- ",
            "-",
            "* star",
            "+ plus",
            "  nested",
            "  - nested",
            "1. one",
            "2. two",
            "1) one",
            "   - deep",
        ),
        *(
            "> quote",
            ">",
            "> - a",
            "> $$",
            "> ```",
            FENCE,
            f"{FENCE}python",
            "~~~",
            f"{FENCE}`",
            f"  {FENCE}",
            f"- {FENCE}",
        ),
        *(
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
            "a | b",
            "-|-",
            "$$",
            "$$x$$",
            "$$ x",
            "y $$",
            r"\[",
            r"\]",
            r"\[ x",
            r"x \]",
        ),
        *(
            r"  \[",
            "- $$",
            "<div>",
            "</div>",
            "<!--",
            "-->",
            "***",
            "___",
            "a  ",
            "b\\",
            "`code",
            "**bold",
            "$x$",
            "\\",
        ),
        *(
            "[link](https://a.b)",
            "![i](https://a.b/c)",
            "[",
            "](",
            "\u2028",
            "\x0b",
            "\x0c",
            "\u00a0",
            "\x85x",
            "\x00",
        ),
    ]
)
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\r"])), max_size=30).map(
    lambda lines: "".join(line + end for line, end in lines)
)


def pieces_of(text, cuts):
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


def stream_of(text, cuts=()):
    """Feed text in pieces, drawing after each, and return the finished blocks."""
    stream, finished = BlockStream(), []
    fed = ""
    for piece in pieces_of(text, cuts):
        stream.feed(piece)
        fed += piece
        finished += stream.take_finished()
        assert "".join(finished) + stream.live == fed
    stream.finish()
    assert stream.live == ""
    return finished + stream.take_finished()


def body(html):
    return html.removeprefix(to_html("")[: -len("</div>")]).removesuffix("</div>")


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=60))
@settings(max_examples=300, deadline=None)
@example("\\[\n- a\n\\]\n", range(20))
@example("> a\n$$\nx\n# h\n$$\n", range(20))
@example("\\[\r\n# title\n\\]\n", range(20))
@example("para\n#\n", range(20))
@example("- a\n\n\n- b\n", range(20))
@example("| a |\n|---|\n| b |\n    code\n", range(40))
@example(f"{FENCE}\r\r{FENCE}\r\n\r\ntext\r\n\r\nx", range(40))
def test_blocks_put_together_are_the_text_and_render_like_it(text, cuts):
    blocks = stream_of(text, cuts)
    assert "".join(blocks) == text
    assert all(blocks)
    assert "".join(body(to_html(block)) for block in blocks) == body(to_html(text))


@given(st.text(), st.lists(st.integers(0, 1000), max_size=20))
@settings(deadline=None)
def test_any_text_at_all_comes_out_as_it_went_in(text, cuts):
    assert "".join(stream_of(text, cuts)) == text


def live_tail(text):
    stream = BlockStream()
    stream.feed(text)
    stream.take_finished()
    return stream.live


@pytest.mark.parametrize(
    "text",
    [
        f"{FENCE}python\na\n\nb\n\n\n",
        f"~~~\n{FENCE}\n\n",
        "- a\n\n- b\n\n  para\n\n",
        "- a\n\n      code\n\n",
        "1. a\n   ```\n   x\n\n   y\n",
        "| a |\n|---|\n| 1 |\n",
        "para\nstill para\n",
        "$$\nx\n",
        "\\[\nx\n",
        "> quote\n> more\n\n",
        "title\n",
    ],
)
def test_an_open_block_is_never_cut(text):
    assert live_tail(text) == text


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("# title\ntext\n", "text\n"),
        ("a\n\nb\n\nc", "b\n\nc"),
        (f"{FENCE}\na\n\n{FENCE}\ntext\n", "text\n"),
        ("- a\n\ntext\n", "text\n"),
        ("$$\nx\n$$\n\ntext\n", "text\n"),
        ("a\n\n- b\n# c\n", "# c\n"),
    ],
)
def test_a_closed_block_is_finished(text, tail):
    assert live_tail(text) == tail


def test_a_growing_line_decides_nothing():
    assert live_tail("para\n#") == "para\n#"
    assert live_tail("para\n# title") == "para\n# title"
    assert live_tail("para\n# title\n") == "# title\n"


def test_a_cut_after_the_end_of_a_fence_is_found_at_once():
    stream = BlockStream()
    stream.feed(f"{FENCE}python\n")
    for _ in range(100):
        stream.feed("x = 1\n\n")
        assert stream.take_finished() == []
    stream.feed(f"{FENCE}\n\nDone.\n")
    assert len(stream.take_finished()) == 1
    assert stream.live == "Done.\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{FENCE}python\n" + "x = function(1)\n\n" * 2500,
        "lorem ipsum dolor " * 2300,
        "lorem ipsum dolor sit amet\n" * 1500,
        "A paragraph of the usual length, more or less.\n\n" * 850,
        "- an item of a list that goes on and on\n" * 1000,
    ],
    ids=["one fence", "one line", "one paragraph", "many paragraphs", "one list"],
)
def test_forty_kilobytes_in_two_hundred_draws_stay_cheap(text):
    stream = BlockStream()
    started = time.thread_time()
    size = len(text) // 200
    for start in range(0, len(text), size):
        stream.feed(text[start : start + size])
        stream.take_finished()
        assert stream.live
    assert time.thread_time() - started < 2  # 0.02 s where nothing else runs


def test_feeding_costs_nothing_until_someone_draws():
    stream = BlockStream()
    started = time.thread_time()
    for _ in range(20_000):
        stream.feed("word\n\n")
    assert time.thread_time() - started < 0.5
    stream.finish()
    assert sum(map(len, stream.take_finished())) == 120_000


def test_the_rendered_blocks_of_a_real_answer_are_those_of_the_whole():
    answer = (
        "# Title\n\nIntro with $x$:\n\n1. one\n\n   ```python\n   a = 1\n\n   b = 2\n   ```\n\n2. two\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n$$\n\\frac{1}{2}\n$$\n\n> quote\n\nDone.\n"
    )
    for step in (1, 3, 7, 50):
        blocks = stream_of(answer, range(0, len(answer), step))
        assert len(blocks) > 5 or step == 50
        assert "".join(body(to_html(block)) for block in blocks) == body(to_html(answer))
        assert not re.search("\n\n[^ ]*$", blocks[0].rstrip("\n"))


def test_blocks_are_finished_one_by_one():
    stream = BlockStream()
    stream.feed("# Title\n\nA para")
    stream.feed("graph\n\n- a li")
    assert (stream.take_finished(), stream.live) == (["# Title\n\n"], "A paragraph\n\n- a li")
    stream.feed("st\n")
    assert (stream.take_finished(), stream.live) == (["A paragraph\n\n"], "- a list\n")
    stream.finish()
    assert (stream.take_finished(), stream.live) == (["- a list\n"], "")
