"""Trimming: as many turns as fit the context window are sent, and a note says what was left out."""

from __future__ import annotations

import pytest

from ipyllm.conversations.history import ConversationHistory, Turn
from ipyllm.conversations.tokens import estimate_messages
from tests.service.conversations.samples import add_turns

LONG = {"role": "user", "content": "word " * 4_000}
NEW = {"role": "system", "content": "Be kind."}


@pytest.fixture
def talked():
    history = ConversationHistory()
    history.add_message("system", "Be brief. " * 20)
    add_turns(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
    return history


def contents(messages):
    return [message["content"] for message in messages]


def test_a_question_that_fills_the_window_follows_the_system_message_alone_and_it_is_said(talked):
    messages, note = talked.preceding([LONG], 2_000, model="local/small")
    assert contents(messages) == ["Be brief. " * 20]
    tokens = sum(estimate_messages([message]) for message in talked.get_messages()[1:])
    assert note == f"The oldest 3 turns (up to {tokens:,} tokens) were left out to fit the context window."
    assert len(talked.get_messages()) == 7, "the conversation itself keeps them"


def test_a_question_that_fills_the_window_with_a_new_system_message_follows_nothing(talked):
    messages, note = talked.preceding([NEW, LONG], 2_000, model="local/small")
    assert messages == [], "the new system message takes the place of the old one"
    assert note is not None
    assert note.startswith("The oldest 3 turns")


def test_a_question_that_fills_the_window_of_an_empty_conversation_leaves_nothing_out():
    assert ConversationHistory().preceding([NEW, LONG], 2_000) == ([], None)


def test_a_system_message_that_is_replaced_takes_no_room(talked):
    question = {"role": "user", "content": "four"}
    room = estimate_messages([NEW, *talked.get_messages()[1:], question])
    messages, note = talked.preceding([NEW, question], room, max_tokens=0)
    assert contents(messages) == ["one", "ONE", "two", "TWO", "three", "THREE"]
    assert note is None
    messages, note = talked.preceding([NEW, question], room - 1, max_tokens=0)
    assert contents(messages) == ["two", "TWO", "three", "THREE"]
    assert note is not None


def test_without_a_known_window_everything_is_sent_behind_the_new_system_message(talked):
    messages, note = talked.preceding([NEW, LONG], None)
    assert contents(messages) == ["one", "ONE", "two", "TWO", "three", "THREE"]
    assert note is None


def test_the_window_is_looked_up_only_if_something_may_have_to_be_left_out(talked):
    looked = []

    def window():
        looked.append(True)
        return 2_000

    assert ConversationHistory().preceding([LONG], window) == ([], None)
    assert looked == []
    _, note = talked.preceding([LONG], window)
    assert note is not None
    assert looked == [True]


def test_only_what_stands_before_a_turn_is_left_out_for_a_long_question_in_its_place(talked):
    talked.put_turn(Turn(({"role": "user", "content": "four"}, {"role": "assistant", "content": "FOUR"}), "cell"))
    _, note = talked.preceding([NEW, LONG], 2_000, before="cell")
    assert note is not None
    assert "oldest 3 turns" in note
