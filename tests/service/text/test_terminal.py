"""No answer can send control sequences to the terminal, however its chunks are cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm.text.terminal import TerminalFilter, strip_control_sequences

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[31m",
        "\x1b[2J",
        "\x1b[?1049h",
        "\x1b[38;2;1;2;3m",
        "\x9b2J",
        "\x1b]0;title\x07",
        "\x1b]52;c;cm0gLXJmIH4=\x07",
        "\x1b]8;;http://evil.example\x1b\\",
        "\x9d0;title\x9c",
        "\x1bP+q544e\x1b\\",
        "\x1b_payload\x1b\\",
        "\x1b^message\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1bc",
        "\x1b(B",
        "\x1b#8",
        "\x1b7",
        "\x1b[200~",
        "\r",
        "\x08",
        "\x07",
        "\x00",
        "\x7f",
        "\x85",
        "\x0b",
        "\x1b",
        "\x1b\x1b\x1b[2J",
    ],
)
def test_a_sequence_leaves_nothing_behind(sequence):
    assert strip_control_sequences(f"a{sequence}\nb") == "a\nb"
    terminal = TerminalFilter()
    assert "".join(map(terminal.feed, f"a{sequence}\nb")) == "a\nb"


def test_text_new_lines_and_tabs_stay():
    text = "Grüße, 世界 🖼\n\tindented [1] (2) ]0;x\u2028"
    assert strip_control_sequences(text) == text


def test_a_string_without_end_does_not_swallow_the_answer():
    assert strip_control_sequences("\x1b]0;title\nThe answer is 42.") == "\nThe answer is 42."
    terminal = TerminalFilter()
    shown = "".join(terminal.feed(piece) for piece in ["\x1b]", "x" * 5000, " The answer"])
    assert shown.endswith("The answer")


def test_an_unfinished_sequence_at_the_end_is_not_printed():
    assert TerminalFilter().feed("text\x1b[3") == "text"


@given(st.lists(st.text(alphabet="\x1b[]P\\\x07\x9b\x9c\x9d0;m?(ab \n\r\t\x00é"), max_size=20))
def test_no_control_character_passes_in_any_cut(pieces):
    terminal = TerminalFilter()
    shown = "".join(map(terminal.feed, pieces))
    assert not CONTROL.search(shown)
    assert not CONTROL.search(strip_control_sequences("".join(pieces)))
    assert strip_control_sequences("".join(pieces)).startswith(shown)
