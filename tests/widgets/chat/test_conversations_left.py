"""Conversations that a chat has left: the latest stay in memory, the others are read again, and nothing is lost."""

from __future__ import annotations

import gc

import pytest

from ipyllm.conversations.history import forget_conversation
from ipyllm_widgets import ChatWidget
from ipyllm_widgets.chat.open_conversation import OpenConversation
from tests.fakes import answer, unauthorized
from tests.widgets.page import PNG, begin_answer, show

MOST = 6  # the shown one, and five that were left


@pytest.fixture
def widget(models, restart):
    made = ChatWidget()
    yield made
    made.close()
    models.skip_pauses()


def ask(widget, models, text, reply):
    models.reply(reply)
    widget.comm.click("send", text=text)
    return widget.comm.wait_until_idle()


def in_memory(widget):
    gc.collect()
    of_widget = [found for found in gc.get_objects() if isinstance(found, OpenConversation)]
    return sum(any(found is opened for opened in widget._controller._open.values()) for found in of_widget)


def visit(widget, n):
    for number in range(n):
        show(widget, f"visited {number}")


def test_those_visited_long_ago_are_forgotten_and_read_again(widget, models):
    ask(widget, models, "Answered", answer("Yes."))
    ask(widget, models, "Failed", unauthorized())
    widget.comm.click("draft", text="Half a quest")
    before = widget.comm.view_state()
    visit(widget, 20)
    assert (in_memory(widget), len(widget._controller._open)) == (MOST, MOST)
    shown = show(widget, "default")
    assert [(turn["text"], turn["error"]) for turn in shown.turns] == [
        (turn["text"], turn["error"]) for turn in before.turns
    ]
    assert widget.get_state("snapshot")["snapshot"]["draft"] == "Half a quest"
    assert widget.comm.wait_for(lambda page: page.totals == before.totals)


def test_what_runs_or_has_news_stays(widget, models):
    begin_answer(widget, models)
    visit(widget, 20)
    assert len(widget._controller._open) == MOST + 1
    models.skip_pauses()
    widget.comm.wait_for(lambda shown: shown.settings["elsewhere"] == {"default": "new"})
    visit(widget, 20)
    assert widget.comm.view_state().settings["elsewhere"] == {"default": "new"}
    assert show(widget, "default").html().count("Slow answer.") == 1
    visit(widget, 20)
    assert len(widget._controller._open) == MOST


def test_questions_that_wait_are_read_again_with_their_images(widget, models):
    begin_answer(widget, models)
    widget.comm.click("send", text="And this?", files=[""], buffers=[memoryview(PNG)])
    widget.comm.click("stop")
    widget.comm.wait_until_idle()
    visit(widget, 20)
    assert len(widget._controller._open) == MOST
    queue = show(widget, "default").settings["queue"]
    assert [(queued["text"], queued["images"], queued["held"]) for queued in queue] == [("And this?", 1, True)]


def test_without_a_notebook_what_the_ledger_has_not_stays(chat, models):
    widget = chat("first")
    try:
        ask(widget, models, "Failed", unauthorized())
        visit(widget, 20)
        assert len(widget._controller._open) == MOST + 1
        assert [turn["text"] for turn in show(widget, "first").turns] == ["Failed"]
        show(widget, "typed")
        widget.comm.click("draft", text="Half")
        visit(widget, 20)
        show(widget, "typed")
        assert widget.get_state("snapshot")["snapshot"]["draft"] == "Half"
    finally:
        show(widget, "first")
        for name in ("typed", *(f"visited {number}" for number in range(20))):
            forget_conversation(name)


def test_of_those_deleted_the_latest_can_be_brought_back(widget, models):
    for number in range(10):
        show(widget, f"deleted {number}")
        ask(widget, models, "Failed", unauthorized())
    for number in range(10):
        widget.comm.click("forget", conversation=f"deleted {number}")
    assert len(widget._controller._put_away) == len(widget._conversations._removed) == 5
    assert "can no longer be brought back" in widget.comm.click("undo_forget", conversation="deleted 4")["error"]
    for number in range(5, 10):
        assert widget.comm.click("undo_forget", conversation=f"deleted {number}")["error"] is None
        assert [turn["text"] for turn in widget.comm.view_state().turns] == ["Failed"]
