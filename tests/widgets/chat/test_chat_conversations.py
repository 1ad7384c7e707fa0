"""Conversations of a chat: listed, searched, begun, renamed, shown again, deleted and brought back."""

from __future__ import annotations

import pytest

from ipyllm.conversations import saved
from ipyllm.conversations.history import ConversationHistory, conversation
from ipyllm_widgets import ChatWidget
from tests import fakes
from tests.fakes import answer, unauthorized
from tests.widgets.page import texts


@pytest.fixture
def widget(models, restart):
    models.default = answer("Hello there.")
    made = ChatWidget()
    yield made
    models.skip_pauses()
    made.comm.wait_until_idle()
    made.close()


def ask(widget, text):
    assert widget.comm.click("send", text=text)["error"] is None
    return widget.comm.wait_until_idle()


def fail(widget, models, text):
    models.reply(unauthorized())
    widget.comm.click("send", text=text)
    widget.comm.wait_until_idle()
    widget._controller.render()  # which saves


def listed(widget, query=""):
    assert widget.comm.click("conversations", query=query)["error"] is None
    return next(message["items"] for message in reversed(widget.comm.custom) if message["kind"] == "conversations")


def names(widget, query=""):
    return [item["name"] for item in listed(widget, query)]


def test_it_begins_with_the_last_of_this_notebook(widget, restart):
    assert widget.conversation is conversation("default")
    ask(widget, "One")
    widget.switch("plans")
    ask(widget, "Two")
    restart()
    again = ChatWidget()
    assert again.conversation is conversation("plans")
    assert texts(again.messages) == ["Two", "Hello there."]
    again.close()


@pytest.mark.parametrize("what", ["rename", "forget"])
def test_it_begins_with_the_one_that_changed_last_although_another_was_renamed_or_deleted_since(widget, restart, what):
    ask(widget, "One")
    widget.switch("plans")
    ask(widget, "Two")
    widget.comm.click(what, conversation="default", **({"to": "trip"} if what == "rename" else {}))
    restart()
    again = ChatWidget()
    assert texts(again.messages) == ["Two", "Hello there."]
    again.close()


def test_a_new_one_is_empty_and_the_earlier_one_comes_back_with_all_its_branches(widget, models):
    ask(widget, "First")
    first = widget.comm.view_state().order[0]
    models.reply(fakes.status(401, {"error": {"message": "bad key"}}))
    widget.comm.click("send", text="Failed")
    widget.comm.wait_until_idle()
    assert widget.comm.click("switch")["error"] is None
    shown = widget.comm.view_state()
    assert (shown.order, shown.settings["conversation"]) == ([], "chat 2")
    assert shown.totals == "", "of what was asked there"
    new = ask(widget, "In the new one").order[0]
    assert new != first, "the page must not take it for the turn of the other"
    assert texts(models.requests[-1].json["messages"]) == ["In the new one"]
    widget.comm.click("switch", conversation="default")
    shown = widget.comm.view_state()
    assert shown.totals.startswith("2 answers"), shown.totals
    assert [turn["text"] for turn in shown.turns] == ["First", "Failed"]
    assert shown.turns[1]["error"]
    assert shown.html(0).count("Hello there.") == 1


def test_the_list_has_the_newest_first_with_its_first_question_and_search_looks_into_all(widget):
    ask(widget, "What is a *monad*?")
    widget.switch("plans")
    ask(widget, "Where is the Straße to Köln?")
    ask(widget, "And back?")
    items = listed(widget)
    assert [(item["name"], item["turns"], item["excerpt"]) for item in items] == [
        ("plans", 2, "Where is the Straße to Köln?"),
        ("default", 1, "What is a *monad*?"),
    ]
    assert [item["title"] for item in items] == ["plans", "What is a *monad*?"], "a name that nobody chose says little"
    assert items[0]["changed"] > items[1]["changed"]
    assert names(widget, "  köln ") == ["plans"]
    assert names(widget, "hello THERE") == ["plans", "default"], "answers, too"
    assert listed(widget, "monad")[0]["excerpt"] == "What is a *monad*?"
    assert names(widget, "PLAN") == ["plans"], "names, too"
    assert names(widget, "nowhere") == []


def test_a_turn_counts_in_the_list_while_its_answer_streams(widget, models):
    ask(widget, "One")
    models.reply(answer("Slow answer.", gap=60))
    widget.comm.click("send", text="Two")
    assert [item["turns"] for item in listed(widget)] == [2]
    models.skip_pauses()
    widget.comm.wait_until_idle()
    assert [item["turns"] for item in listed(widget)] == [2]


def test_one_that_is_empty_is_listed_only_while_it_is_shown(widget):
    assert names(widget) == ["default"]
    widget.switch()
    assert names(widget) == ["chat 2"]


def test_renamed_it_is_one_conversation_for_all_that_hold_it(widget, restart):
    ask(widget, "One")
    second = ChatWidget(conversation="default")
    assert widget.comm.click("rename", conversation="default", to="plans")["error"] is None
    assert widget.comm.wait_for(lambda shown: shown.settings["conversation"] == "plans")
    ask(second, "Two")
    assert texts(conversation("plans").to_messages())[::2] == ["One", "Two"]
    second.close()
    widget.comm.click("draft", text="typed")
    widget.comm.click("rename", conversation="plans", to="more plans")
    widget.comm.click("rename", conversation="more plans", to="plans")
    restart()
    assert len(conversation("plans")) == 4
    assert len(conversation("default")) == 0
    again = ChatWidget(conversation="plans")
    assert again.get_state("snapshot")["snapshot"]["draft"] == "typed"
    again.close()


def test_a_chat_that_shows_an_empty_one_whose_name_another_gets_goes_on_under_the_other_name(widget, restart):
    ask(widget, "One")
    other = ChatWidget(conversation="plans")
    other.comm.click("draft", text="typed in the empty one")
    assert widget.comm.click("rename", conversation="default", to="plans")["error"] is None
    assert other.comm.wait_for(lambda shown: shown.settings["conversation"] == "default")
    assert (saved.look_up_draft("plans"), saved.look_up_draft("default")) == ("", "typed in the empty one")
    ask(other, "Two")
    other.close()
    restart()
    assert texts(conversation("plans").to_messages()) == ["One", "Hello there."]
    assert texts(conversation("default").to_messages()) == ["Two", "Hello there."]


def test_what_is_saved_while_a_conversation_is_renamed_is_kept(widget, models, restart):
    fail(widget, models, "Failed before")
    models.reply(answer("Slow answer.", gap=60))
    for text in ("One", "Waits", "Taken back"):
        widget.comm.click("send", text=text)
    widget.stop()
    shown = widget.comm.wait_until_idle()
    controller, names_seen = widget._controller, []

    def save_meanwhile():  # as a page and the render thread do, which learn the new name now
        if widget.conversation.name == "plans" and not names_seen:
            names_seen.append("plans")
            controller.unqueue(shown.settings["queue"][1]["id"], lambda message: None)
            controller.draft("typed meanwhile")
            controller.render()

    stop_observing = widget.conversation.observe(save_meanwhile)
    assert widget.comm.click("rename", conversation="default", to="plans")["error"] is None
    stop_observing()
    assert names_seen
    restart()
    again = ChatWidget(conversation="plans")
    shown = again.comm.view_state()
    assert [turn["text"] for turn in shown.turns] == ["Failed before", "One"]
    assert [question["text"] for question in shown.settings["queue"]] == ["Waits"]
    assert again.get_state("snapshot")["snapshot"]["draft"] == "typed meanwhile"
    again.close()


@pytest.mark.parametrize("name", ["taken", " "])
def test_a_name_that_is_taken_or_empty_is_refused(widget, name):
    conversation("taken").add_message("user", "Mine")
    ask(widget, "One")
    assert widget.comm.click("rename", conversation="default", to=name)["error"]
    assert widget.conversation is conversation("default")
    assert len(conversation("taken")) == 1


def test_a_name_whose_questions_have_no_answer_yet_is_refused_and_one_of_its_own_changes_nothing(
    widget, models, restart
):
    ask(widget, "One")
    fail(widget, models, "Failed beside it")
    widget.comm.click("switch", conversation="unanswered")
    fail(widget, models, "Failed")
    assert "already exists" in widget.comm.click("rename", conversation="default", to="unanswered")["error"]
    assert widget.comm.click("rename", conversation="default", to="default")["error"] is None
    restart()
    for name, expected in (("default", ["One", "Failed beside it"]), ("unanswered", ["Failed"])):
        again = ChatWidget(conversation=name)
        assert [turn["text"] for turn in again.comm.view_state().turns] == expected
        again.close()


def test_deleted_it_is_gone_from_list_and_ledger_and_undo_brings_it_back(widget, restart):
    ask(widget, "One")
    widget.comm.click("switch", conversation="plans")
    ask(widget, "Two")
    assert widget.comm.click("forget", conversation="plans")["error"] is None
    assert widget.comm.view_state().settings["conversation"] == "chat 2", "a new one is shown"
    assert names(widget) == ["chat 2", "default"]
    assert widget.comm.click("undo_forget", conversation="plans")["error"] is None
    assert [turn["text"] for turn in widget.comm.view_state().turns] == ["Two"]
    assert "no longer" in widget.comm.click("undo_forget", conversation="plans")["error"]
    widget.comm.click("forget", conversation="default")
    assert names(widget) == ["plans"]
    restart()
    assert len(conversation("default")) == 0
    assert len(conversation("plans")) == 2


def test_a_history_without_a_name_has_none():
    assert ConversationHistory().name is None
    assert conversation("named").name == "named"
    assert conversation("named").fork().name is None
