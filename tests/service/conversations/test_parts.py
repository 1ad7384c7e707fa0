"""Small modules of ``conversations``."""

from __future__ import annotations

import pytest

from ipyllm import LLMError
from ipyllm.conversations.export import _quoted, export_conversation
from ipyllm.conversations.history import ConversationHistory, conversation
from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.conversations.transcript import json_copy
from ipyllm.conversations.trimming import TrimResult
from tests.service.conversations.samples import add_turns


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


def test_an_exported_notebook_asks_the_questions_again_and_shows_the_answers():
    import nbformat

    history = ConversationHistory()
    history.add_message("system", "Be brief,\nand kind.")
    add_turns(
        history, ("Who are you?", "A <b>model</b>\x1b[2J. {{ x }}"), ("My key is sk-abcdefghijklmnop.", "Thanks.")
    )
    notebook = nbformat.reads(export_conversation(history, "ipynb", title="my talk"), as_version=4)
    nbformat.validate(notebook)
    title, load, first, second = notebook.cells
    assert (title.source, load.source) == ("# my talk", "%load_ext ipyllm")
    assert first.source == '%%llm --raw -c "my talk" -s "Be brief, and kind."\nWho are you?'
    assert second.source == '%%llm --raw -c "my talk"\nMy key is [key hidden].'
    [shown] = first.outputs
    assert shown.data["text/plain"] == "A <b>model</b>. {{ x }}"
    assert "A &lt;b&gt;model&lt;/b&gt;" in shown.data["text/html"]


def test_an_unknown_form_of_export_says_which_was_meant():
    with pytest.raises(LLMError, match=r"cannot be exported as 'ipyn'\. Did you mean 'ipynb'\?"):
        export_conversation(ConversationHistory(), "ipyn")


def test_what_is_no_text_is_refused_as_a_system_prompt_and_as_a_name():
    history = ConversationHistory()
    with pytest.raises(LLMError, match="A system prompt must be text, not int"):
        history.set_system(5)
    for name in (None, " ", 5):
        with pytest.raises(LLMError, match="The name of a conversation must be text"):
            conversation(name)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2**64, {1: "one"}, {"b": b"bytes"}, {1, 2}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="must contain only JSON values, not this"):
        json_copy({"content": [value]})
    assert json_copy([0.5, 2**64 - 1, None, True]) == [0.5, 2**64 - 1, None, True]
