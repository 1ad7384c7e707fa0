"""Small modules of ``conversations``."""

from __future__ import annotations

from ipyllm.conversations.export import _quoted, export_conversation
from ipyllm.conversations.history import ConversationHistory
from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.conversations.transcript import json_copy
from ipyllm.conversations.trimming import TrimResult


def test_an_exported_conversation_is_markdown_or_messages():
    history = ConversationHistory.from_messages([{"role": "user", "content": "Hello"}])
    assert export_conversation(history, "md", title="demo") == "# demo\n\n## You\n\nHello\n"
    assert export_conversation(history, "json") == '[\n {\n  "role": "user",\n  "content": "Hello"\n }\n]\n'


def test_words_are_quoted_for_a_magic_where_necessary():
    assert _quoted("local/x") == "local/x"
    assert _quoted('say "yes"') == '"say \\"yes\\""'


def test_estimates_of_tokens_are_upper_ones():
    assert (estimate("How many tokens is this?"), estimate("12.75,830.11")) == (9, 12)
    assert estimate_messages([{"role": "user", "content": "Hello"}]) == 6
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}
    assert estimate_messages([{"role": "user", "content": [{"type": "text", "text": "Hello"}, picture]}]) == 4102


def test_a_copy_has_the_types_of_json():
    assert json_copy({"content": [{"type": "text"}], "ids": (1, 2)}) == {"content": [{"type": "text"}], "ids": [1, 2]}


def test_the_note_counts_what_was_left_out():
    note = "The oldest 3 turns (up to 1,200 tokens) were left out to fit the context window."
    assert TrimResult((), 0, dropped_turns=3, dropped_tokens=1200).note == note
