"""Pieces of a text: whatever is packed when, the text is the same, and kept once."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from ipyllm.text.pieces import TextPieces
from ipyllm.text.surrogates import replace_surrogates


@pytest.mark.parametrize("read_every", [1, 3, 1000])
@pytest.mark.parametrize("pack_every", [1, 2, 7, 1000])
def test_the_text_is_whole_however_often_it_is_packed_and_read(pack_every, read_every):
    pieces, sent = TextPieces(), ["a", "", "é", "漢字", "😀", "\ud83d", "\ude00", "\0", "\r\n"] * 5
    assert not pieces
    assert pieces.text() == ""
    for number, piece in enumerate(sent, 1):
        pieces.append(piece)
        if number % pack_every == 0:
            pieces.pack()
        assert pieces
        if number % read_every == 0:
            assert pieces.text() == "".join(sent[:number])
    assert pieces.text() == "".join(sent)


def test_the_text_is_the_same_object_until_something_is_appended():
    pieces = TextPieces()
    pieces.append("so ")
    pieces.append("far")
    text = pieces.text()
    pieces.pack()
    assert pieces.text() is text
    pieces.append("!")
    assert pieces.text() == "so far!"


def test_packed_pieces_take_the_size_of_their_text():
    pieces = TextPieces()
    for number in range(1000):
        pieces.append(f"{number:04}")
    pieces.pack()
    assert sum(map(sys.getsizeof, [*pieces, pieces._packed, pieces._read or ""])) < 2 * 4000


@pytest.mark.parametrize("packed", [True, False])
def test_a_look_at_a_growing_text_leaves_no_copy_behind(packed):
    pieces = TextPieces()
    for number in range(1000):
        pieces.append(f"{number:04}")
        if packed and number == 500:
            pieces.pack()
    assert pieces.peek() == pieces.peek() == "".join(f"{number:04}" for number in range(1000))
    assert sum(map(sys.getsizeof, [*pieces, pieces._packed, pieces._read or ""])) < 1.5 * 4000
    assert pieces.text() == pieces.peek()
    pieces.append("!")
    assert pieces.peek().endswith("0999!")
    assert pieces.text() == pieces.peek()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="measures CPython's strings")
def test_a_long_text_with_an_emoji_is_not_copied_whenever_it_is_read():
    pieces = TextPieces()
    pieces.append("😀")
    tracemalloc.start()
    for _ in range(10):
        for _ in range(100):
            pieces.append("word " * 200)
        pieces.pack()
        text = pieces.text()
        del text
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pieces.text()) == 1_000_001
    assert peak < 6.5e6  # one byte for each character, and four once more; joined with what was read before: 8.2


def test_text_without_surrogates_is_not_copied():
    text = "é漢😀" * 10
    assert replace_surrogates(text) is text
