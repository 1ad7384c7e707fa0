"""Two chats of one conversation: what only one of them shows is kept, whichever is saved last."""

from __future__ import annotations

import pytest

from ipyllm_widgets import ChatWidget
from ipyllm_widgets.chat.saved_branches import look_up_branches
from tests.fakes import answer, unauthorized
from tests.widgets.page import texts


@pytest.fixture
def open_chats(models, restart):
    """Open chats of the notebook's conversation; the next ones are in a restarted kernel."""
    opened = []

    def close():
        for widget in opened:
            if widget.comm is None:  # it is closed
                continue
            widget.comm.wait_until_idle()
            widget.close()
        opened.clear()

    def make(n):
        close()
        restart()
        opened.extend(ChatWidget() for _ in range(n))
        return opened[:]

    yield make
    close()


def ask(widget, models, text, reply):
    models.reply(reply)
    widget.comm.click("send", text=text)
    widget.comm.wait_until_idle()
    widget._controller.render()  # which saves
    return widget.comm.view_state().turns


def questions(open_chats):
    """Return all questions that a chat has after a restart, those of other branches too."""
    (widget,) = open_chats(1)
    return sorted(node.question["content"] for node in widget._controller._branches.tree)


def test_a_failed_question_of_each_is_kept_whoever_is_saved_last(open_chats, models):
    first, other = open_chats(2)
    ask(first, models, "Answered", answer("Yes."))
    ask(first, models, "Failed in the first", unauthorized())
    ask(other, models, "Failed in the other", unauthorized())
    assert questions(open_chats) == ["Answered", "Failed in the first", "Failed in the other"]


def test_a_failed_question_stays_when_the_other_chat_goes_on(open_chats, models):
    first, other = open_chats(2)
    ask(first, models, "Failed", unauthorized())
    ask(other, models, "Answered", answer("Yes."))
    first.close()  # so that the other is saved last
    ask(other, models, "And again", answer("Yes."))
    (again,) = open_chats(1)
    assert [turn["text"] for turn in again.comm.view_state().turns] == ["Answered", "And again", "Failed"]
    assert texts(again.messages) == ["Answered", "Yes.", "And again", "Yes."]


def test_branches_of_each_are_kept(open_chats, models):
    first, other = open_chats(2)
    turns = ask(first, models, "Which?", answer("One."))
    models.reply(answer("Two."))
    first.comm.click("regenerate", turn=turns[-1]["id"])
    first.comm.wait_until_idle()
    other.comm.wait_for(lambda page: page.turns and "Two." in page.html())
    ask(other, models, "Failed", unauthorized())
    assert questions(open_chats) == ["Failed", "Which?", "Which?"]


def test_what_one_deletes_stays_deleted_although_the_other_still_shows_it(open_chats, models):
    (first,) = open_chats(1)
    ask(first, models, "Failed", unauthorized())
    (first, other) = open_chats(2)
    (turn,) = other.comm.view_state().turns
    first.comm.click("delete", turn=first.comm.view_state().turns[0]["id"])
    first._controller.render()
    ask(other, models, "Another", unauthorized())
    assert [node["question"]["content"] for node in look_up_branches("default")["nodes"]] == ["Another"]
    first.comm.click("undo_delete", turn=turn["id"])
    first._controller.render()
    assert questions(open_chats) == ["Another", "Failed"]


def test_what_one_tries_again_is_not_there_twice(open_chats, models):
    (first,) = open_chats(1)
    ask(first, models, "Failed", unauthorized())
    (first, other) = open_chats(2)
    models.reply(answer("It works."))
    other.comm.click("regenerate", turn=other.comm.view_state().turns[0]["id"])
    other.comm.wait_until_idle()
    first._controller.refresh()
    first._controller.render()
    assert questions(open_chats) == ["Failed"]


def test_what_followed_a_deleted_turn_stays_where_it_was(open_chats, models):
    (first,) = open_chats(1)
    ask(first, models, "Answered", answer("Yes."))
    (first, other) = open_chats(2)
    ask(other, models, "Failed", unauthorized())
    first.comm.click("delete", turn=first.comm.view_state().turns[0]["id"])
    first._controller.render()
    (again,) = open_chats(1)
    assert [turn["text"] for turn in again.comm.view_state().turns] == ["Failed"]


def test_the_branches_of_a_deleted_conversation_come_back_only_with_it(open_chats, models):
    first, other = open_chats(2)
    ask(first, models, "Failed", unauthorized())
    ask(other, models, "Answered", answer("Yes."))
    first.comm.click("forget", conversation="default")
    assert look_up_branches("default") is None
    assert first.comm.click("undo_forget", conversation="default")["error"] is None
    assert questions(open_chats) == ["Answered", "Failed"]


def test_a_question_that_fails_while_the_other_chat_waits_is_the_last_again(open_chats, models):
    first, other = open_chats(2)
    ask(first, models, "Failed", unauthorized())
    models.reply(answer("Slow answer.", gap=60))
    other.comm.click("send", text="Answered")
    other.comm.wait_for(lambda shown: "Slow" in shown.html())
    first.close()
    other._controller.refresh()
    other._controller.render()  # which saves the question that waits
    models.skip_pauses()
    (again,) = open_chats(1)
    assert [turn["text"] for turn in again.comm.view_state().turns] == ["Answered", "Failed"]


def test_a_chat_that_is_closed_twice_overwrites_nothing(open_chats, models):
    first, other = open_chats(2)
    ask(first, models, "Failed", unauthorized())
    first.close()
    ask(other, models, "Failed too", unauthorized())
    before = look_up_branches("default")
    first.close()  # as Python does when it frees the widget
    assert look_up_branches("default") == before
