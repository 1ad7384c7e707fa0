"""A conversation is left while its answer runs: it goes on there, is marked in the list, and stands there on return."""

from __future__ import annotations

import threading

import pytest

from ipyllm import usage
from ipyllm.conversations.history import conversation
from ipyllm.runtime import process_exit
from ipyllm.runtime.service_thread import stop_service_thread
from ipyllm_widgets import ChatWidget
from ipyllm_widgets.chat.saved_branches import look_up_branches
from tests.fakes import answer, slow_headers, unauthorized
from tests.widgets.page import begin_answer, show, texts


@pytest.fixture
def widget(models, restart):
    made = ChatWidget()
    yield made
    made.close()
    models.skip_pauses()


def marks(shown):
    return shown.settings["elsewhere"]


def wait_for_marks(widget, **expected):
    return widget.comm.wait_for(lambda shown: marks(shown) == expected)


def listed(widget):
    widget.comm.click("conversations", query="")
    items = next(sent["items"] for sent in reversed(widget.comm.custom) if sent["kind"] == "conversations")
    return [item["name"] for item in items]


def test_it_goes_on_there_and_is_marked_until_one_is_back(widget, models):
    begin_answer(widget, models)
    shown = show(widget)
    assert (shown.turns, shown.running, widget.running) == ([], None, False)
    assert marks(shown) == {"default": "running"}
    assert listed(widget) == ["chat 2", "default"]
    sent = len(widget.comm.custom)
    models.skip_pauses()
    wait_for_marks(widget, default="new")
    assert all(message["kind"] != "delta" for message in widget.comm.custom[sent:])
    shown = show(widget, "default")
    assert marks(shown) == {}
    assert (shown.turns[0]["status"], shown.html().count("Slow answer.")) == ("ok", 1)
    assert shown.totals.startswith("1 answer"), shown.totals
    assert texts(conversation("default").to_messages()) == ["one", "Slow answer."]
    assert not conversation("chat 2")
    assert marks(show(widget, "chat 2")) == {}, "it was seen"


def test_on_return_the_text_so_far_stands_there_and_streams_on(widget, models):
    begin_answer(widget, models)
    show(widget)
    shown = show(widget, "default")
    assert "Slow" in shown.html()
    assert shown.running == shown.order[0]
    assert shown.turns[0]["status"] == "running"
    snapshot = widget.get_state("snapshot")["snapshot"]
    assert snapshot["turns"] == shown.turns
    models.skip_pauses()
    shown = widget.comm.wait_until_idle()
    assert shown.html().count("Slow answer.") == 1
    assert marks(shown) == {}, "it was seen"


def test_one_that_is_left_before_the_first_word_is_there_again_and_waits_on(widget, models):
    models.reply(answer("Late.", ttft=60))
    widget.comm.click("send", text="one")
    show(widget, "plans")
    assert listed(widget) == ["plans", "default"]
    shown = show(widget, "default")
    assert [(turn["text"], turn["status"]) for turn in shown.turns] == [("one", "running")]
    assert shown.turns[0]["waiting"] is not None
    show(widget, "plans")
    widget.comm.wait_for(lambda _shown: models.requests)
    models.skip_pauses()
    wait_for_marks(widget, default="new")
    assert "Late." in show(widget, "default").html()


def test_two_run_at_once_and_stop_acts_on_the_one_that_is_shown(widget, models):
    begin_answer(widget, models)
    show(widget, "plans")
    begin_answer(widget, models)
    assert marks(show(widget)) == {"default": "running", "plans": "running"}
    show(widget, "plans")
    widget.comm.click("stop")
    shown = widget.comm.wait_until_idle()
    assert (shown.turns[0]["status"], marks(shown)) == ("cancelled", {"default": "running"})
    models.skip_pauses()
    wait_for_marks(widget, default="new")
    rows = usage()[["conversation", "status"]].sort_values("conversation").to_numpy().tolist()
    assert rows == [["default", "ok"], ["plans", "cancelled"]]
    assert texts(conversation("default").to_messages()) == ["one", "Slow answer."]
    assert texts(conversation("plans").to_messages())[0] == "one"


def test_what_waits_there_is_asked_there(widget, models):
    begin_answer(widget, models)
    for text in ("two", "three"):
        widget.comm.click("send", text=text)
    shown = show(widget, "plans")
    assert shown.settings["queue"] == []
    models.default = answer("Next.")
    models.skip_pauses()
    wait_for_marks(widget, default="new")
    assert texts(conversation("default").to_messages()) == ["one", "Slow answer.", "two", "Next.", "three", "Next."]
    assert set(usage()["conversation"]) == {"default"}
    assert not conversation("plans")
    assert [turn["text"] for turn in show(widget, "default").turns] == ["one", "two", "three"]


def test_one_that_fails_there_says_so_and_holds_what_waits(widget, models, restart):
    models.reply(answer("Slow answer.", gap=60), unauthorized())
    widget.comm.click("send", text="one")
    widget.comm.wait_for(lambda shown: "Slow" in shown.html())
    for text in ("two", "three"):
        widget.comm.click("send", text=text)
    show(widget, "plans")
    models.skip_pauses()
    wait_for_marks(widget, default="failed")
    shown = show(widget, "default")
    assert shown.turns[1]["error"]
    assert [(question["text"], question["held"]) for question in shown.settings["queue"]] == [("three", True)]
    show(widget, "plans")
    widget.close()
    restart()
    again = ChatWidget(conversation="default")
    snapshot = again.get_state("snapshot")["snapshot"]
    assert [turn["text"] for turn in snapshot["turns"]] == ["one", "two"]
    assert [(question["text"], question["held"]) for question in snapshot["settings"]["queue"]] == [("three", True)]
    again.close()


@pytest.mark.parametrize("is_shown", [True, False])
def test_deleted_it_stops_and_undo_brings_the_text_so_far_back(widget, models, is_shown):
    begin_answer(widget, models)
    widget.comm.click("send", text="two")
    widget.comm.click("draft", text="or")
    if not is_shown:
        show(widget, "plans")
    assert widget.comm.click("forget", conversation="default")["error"] is None
    shown = widget.comm.view_state()
    assert (shown.turns, shown.running, marks(shown)) == ([], None, {})
    assert "failed" not in str([sent.get("settings") for sent in widget.comm.custom]), "nobody wanted the answer"
    assert "default" not in listed(widget)
    assert usage()["status"].tolist() == ["cancelled"]
    assert look_up_branches("default") is None
    assert widget.comm.click("undo_forget", conversation="default")["error"] is None
    shown = widget.comm.wait_for(lambda shown: "Slow" in shown.html())
    assert [turn["status"] for turn in shown.turns] == ["cancelled"]
    assert [(question["text"], question["held"]) for question in shown.settings["queue"]] == [("two", True)]
    assert widget.get_state("snapshot")["snapshot"]["draft"] == "or"
    assert len(models.requests) == 1


def test_deleted_before_the_first_word_the_question_comes_back(widget, models):
    models.reply(answer("Late.", ttft=60))
    widget.comm.click("send", text="one")
    show(widget)
    assert widget.comm.click("forget", conversation="default")["error"] is None
    assert listed(widget) == ["chat 2"]
    assert widget.comm.click("undo_forget", conversation="default")["error"] is None
    assert [(turn["text"], turn["status"]) for turn in widget.comm.view_state().turns] == [("one", "cancelled")]


def test_a_new_chat_has_nothing_of_one_that_was_deleted(widget, models):
    show(widget)
    models.reply(unauthorized())
    widget.comm.click("send", text="Failed")
    widget.comm.wait_until_idle()
    widget.comm.click("draft", text="or")
    widget.comm.click("forget", conversation="chat 2")
    assert widget._name == "chat 3", "“chat 2” can be brought back"
    shown = show(widget, "chat 2")
    assert shown.turns == []
    assert widget.get_state("snapshot")["snapshot"]["draft"] == ""


def test_another_widget_has_the_answer_too_and_a_new_name_does_not_part_them(widget, models):
    begin_answer(widget, models)
    other = ChatWidget(conversation="default")
    show(widget)
    assert widget.comm.click("rename", conversation="default", to="trip")["error"] is None
    wait_for_marks(widget, trip="running")
    models.skip_pauses()
    shown = other.comm.wait_for(lambda shown: "Slow answer." in shown.html() if shown.turns else False)
    assert shown.settings["conversation"] == "trip"
    wait_for_marks(widget, trip="new")
    assert texts(conversation("trip").to_messages()) == ["one", "Slow answer."]
    other.close()


def ask_and_open_again(widget, models, reply):
    """Ask, and open a second chat of the conversation once the question is kept; return it and its page."""
    models.reply(reply)
    widget.comm.click("send", text="one")
    widget._controller.render()  # which keeps the question
    widget.comm.wait_for(lambda _shown: models.requests)
    other = ChatWidget(conversation="default")
    shown = other.comm.view_state()
    (turn,) = shown.turns
    assert (turn["text"], turn["status"], turn["error"], shown.running) == ("one", "running", None, None)
    assert turn["footer"] == "openai/fake-model · asked in another chat"
    return other


@pytest.mark.parametrize("reply", [answer("Late.", ttft=60), slow_headers(unauthorized(), 60)])
def test_a_second_chat_shows_how_a_question_ends_that_the_first_has_asked(widget, models, reply):
    other = ask_and_open_again(widget, models, reply)
    models.skip_pauses()
    shown = other.comm.wait_until_idle()
    assert shown.turns[0]["status"] == widget.comm.wait_until_idle().turns[0]["status"]
    assert ("Late." in str(shown.turns[0]["parts"])) != ("key" in str(shown.turns[0]["error"]))
    assert conversation("default").running_turns() == {}
    other.close()


def test_a_second_chat_shows_that_the_first_stopped_its_question(widget, models):
    other = ask_and_open_again(widget, models, answer("Late.", ttft=60))
    widget.comm.click("stop")
    shown = other.comm.wait_until_idle()
    assert (shown.turns[0]["status"], shown.turns[0]["error"]) == ("cancelled", None)
    other.close()


def test_a_question_that_cannot_be_asked_runs_nowhere(widget):
    widget._controller.settings.model = "nowhere/m"
    assert widget.comm.click("send", text="one")["error"]
    assert conversation("default").running_turns() == {}


def test_a_restart_keeps_the_text_so_far_as_interrupted(widget, models, restart, monkeypatch):
    exiting = threading.Event()
    monkeypatch.setattr(process_exit, "_exiting", exiting)
    begin_answer(widget, models)
    show(widget, "plans")
    exiting.set()
    stop_service_thread()
    wait_for_marks(widget, default="failed")
    exiting.clear()
    restart()
    again = ChatWidget(conversation="default")
    (turn,) = again.get_state("snapshot")["snapshot"]["turns"]
    assert (turn["status"], turn["resumable"]) == ("interrupted", True)
    assert "Slow" in str(turn["parts"])
    again.close()


def test_without_a_notebook_one_that_waits_is_listed_and_its_name_is_taken(chat, models):
    widget = chat("chat 2")
    models.reply(answer("Late.", ttft=60))
    widget.comm.click("send", text="one")
    show(widget)
    assert widget._name != "chat 2"
    assert "chat 2" in listed(widget)
    assert [turn["text"] for turn in show(widget, "chat 2").turns] == ["one"]
    widget.comm.click("stop")


def test_the_end_of_the_widget_stops_all(widget, models):
    begin_answer(widget, models)
    left = widget._controller._shown
    show(widget, "plans")
    widget.close()
    assert left.idle.wait(60)
    assert usage()["status"].tolist() == ["cancelled"]
    assert texts(conversation("default").to_messages())[0] == "one"


def test_a_continued_answer_before_a_failed_question_is_left_renamed_and_whole(widget, models, restart):
    models.reply(answer("One, two, th", finish_reason="length"), unauthorized())
    for text in ("Count", "Failed"):
        widget.comm.click("send", text=text)
        shown = widget.comm.wait_until_idle()
    models.reply(answer(chunks=["ree, ", "four."], gap=60))
    assert widget.comm.click("resume", turn=shown.order[0])["error"] is None
    widget.comm.wait_for(lambda shown: "three," in shown.html(0))
    show(widget, "plans")
    assert widget.comm.click("rename", conversation="default", to="trip")["error"] is None
    shown = show(widget, "trip")
    assert "One, two, three," in shown.html(0)
    assert [turn["status"] for turn in shown.turns] == ["running", "error"]
    show(widget, "plans")
    models.skip_pauses()
    wait_for_marks(widget, trip="new")
    shown = show(widget, "trip")
    assert shown.html(0).count("One, two, three, four.") == 1
    assert [turn["status"] for turn in shown.turns] == ["ok", "error"]
    widget.close()
    restart()
    again = ChatWidget(conversation="trip")
    turns = again.get_state("snapshot")["snapshot"]["turns"]
    assert [(turn["text"], bool(turn["error"])) for turn in turns] == [("Count", False), ("Failed", True)]
    assert "three, four." in str(turns[0]["parts"])
    again.close()
