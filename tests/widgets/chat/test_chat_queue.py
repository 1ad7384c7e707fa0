"""Questions that wait for the running answer, and answers that go on where they were cut off."""

from __future__ import annotations

import pytest

from tests import fakes
from tests.fakes import answer, unauthorized
from tests.widgets.page import PNG, begin_answer, texts


def queued(shown):
    return [question["text"] for question in shown.settings["queue"]]


def stream(widget, models, text="Long"):
    """Begin an answer that does not end by itself."""
    models.default = fakes.drip("word ", every=0.02)
    widget.comm.click("send", text=text)
    widget.comm.wait_for(lambda shown: "word" in shown.html())


def test_questions_wait_in_order_and_are_asked_one_after_the_other(chat, models):
    widget = chat()
    begin_answer(widget, models)
    models.default = answer("Next.")
    for text in ("two", "three"):
        assert widget.comm.click("send", text=text)["error"] is None
    assert queued(widget.comm.view_state()) == ["two", "three"]
    models.skip_pauses()
    widget.comm.wait_for(lambda shown: len(shown.turns) == 3 and shown.running is None)
    assert queued(widget.comm.view_state()) == []
    assert texts(widget.messages) == ["one", "Slow answer.", "two", "Next.", "three", "Next."]
    assert texts(models.requests[-1].json["messages"]) == texts(widget.messages)[:-1]


def test_after_a_stop_they_wait_for_the_user(chat, models):
    widget = chat()
    stream(widget, models)
    widget.comm.click("send", text="two", buffers=[PNG])
    widget.comm.click("send", text="three")
    asked = len(models.requests)
    widget.comm.click("stop")
    shown = widget.comm.wait_until_idle()
    assert [question["held"] for question in shown.settings["queue"]] == [True, True]
    assert len(models.requests) == asked
    models.default = answer("Next.")
    assert widget.comm.click("send_next")["error"] is None
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 3 and shown.running is None)
    assert [turn["text"] for turn in shown.turns] == ["Long", "two", "three"]
    assert len(shown.turns[1]["images"]) == 1


def test_one_that_fails_holds_the_others(chat, models):
    widget = chat()
    begin_answer(widget, models)
    models.reply(unauthorized())
    for text in ("two", "three"):
        widget.comm.click("send", text=text)
    models.skip_pauses()
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 2 and shown.running is None)
    assert shown.turns[1]["error"]
    assert widget.comm.wait_for(lambda shown: shown.settings["queue"][0]["held"])
    assert queued(widget.comm.view_state()) == ["three"]


def test_one_whose_model_is_gone_shows_so_and_holds_the_others(chat, models):
    widget = chat()
    stream(widget, models)
    for text in ("two", "three"):
        widget.comm.click("send", text=text)
    widget.comm.click("set", model="opnai/x")
    models.default = answer("Whole.")
    widget.comm.click("stop")
    widget.comm.wait_until_idle()
    assert "did you mean" in widget.comm.click("send_next")["error"]
    shown = widget.comm.view_state()
    assert "did you mean" in shown.turns[1]["error"]
    assert (queued(shown), shown.running) == (["three"], None)


def test_a_question_can_be_taken_back(chat, models):
    widget = chat()
    stream(widget, models)
    long = "a long question " * 100
    widget.comm.click("send", text=long)
    (waiting,) = widget.comm.view_state().settings["queue"]
    assert len(waiting["text"]) <= 300
    widget.comm.click("unqueue", question=waiting["id"])
    assert next(message["text"] for message in reversed(widget.comm.custom) if message["kind"] == "text") == long
    assert "no longer" in widget.comm.click("unqueue", question=waiting["id"])["error"]
    widget.comm.click("stop")
    assert len(widget.comm.wait_until_idle().turns) == 1


def test_from_python_a_question_is_refused_while_an_answer_streams(chat, models):
    widget = chat()
    stream(widget, models)
    with pytest.raises(Exception, match="still streaming"):
        widget.send("two")
    widget.stop()
    widget.comm.wait_until_idle()


# ---- answers that go on --------------------------------------------------------------------------


def cut_off(models, text="One, two, th", **options):
    models.reply(answer(text, finish_reason="length", **options))


def ask_for_one_cut_off(widget, models):
    """Ask a question whose answer is cut off; return what is shown then."""
    cut_off(models)
    widget.comm.click("send", text="Count")
    return widget.comm.wait_until_idle()


def test_an_answer_that_was_cut_off_goes_on_as_one_answer(chat, models):
    widget = chat()
    models.default = answer("Before.")
    widget.send("Zero").wait()
    shown = ask_for_one_cut_off(widget, models)
    assert (shown.turns[-1]["status"], shown.turns[-1]["resumable"]) == ("ok", True)
    models.default = answer("ree, **four**.")
    assert widget.comm.click("resume", turn=shown.order[-1])["error"] is None
    shown = widget.comm.wait_until_idle()
    assert '<p dir="auto">One, two, three, <strong>four</strong>.</p>' in shown.html()
    assert shown.html().count("One, two") == 1
    assert (shown.turns[-1]["status"], shown.turns[-1]["resumable"]) == ("ok", False)
    assert texts(widget.messages) == ["Zero", "Before.", "Count", "One, two, three, **four**."]
    sent = models.requests[-1].json["messages"]
    assert texts(sent)[:-1] == ["Zero", "Before.", "Count", "One, two, th"]
    assert "Continue it exactly where it stopped" in sent[-1]["content"]
    assert [message["role"] for message in sent[-2:]] == ["assistant", "user"]


def test_a_stopped_one_goes_on_again_and_again(chat, models):
    widget = chat()
    stream(widget, models)
    for _ in range(2):
        widget.comm.click("stop")
        shown = widget.comm.wait_until_idle()
        before = widget.messages[-1]["content"]
        assert shown.turns[-1]["resumable"]
        assert widget.comm.click("resume", turn=shown.order[-1])["error"] is None
        widget.comm.wait_for(lambda shown, before=before: shown.html().count("word") > before.count("word"))
    widget.comm.click("stop")
    shown = widget.comm.wait_until_idle()
    assert widget.messages[-1]["content"].startswith(before)
    assert len(widget.messages) == 2


def test_a_continuation_that_fails_keeps_what_there_was(chat, models):
    widget = chat()
    shown = ask_for_one_cut_off(widget, models)
    models.reply(unauthorized())
    widget.comm.click("resume", turn=shown.order[-1])
    shown = widget.comm.wait_until_idle()
    assert "One, two, th" in shown.html()
    assert shown.turns[-1]["error"]
    assert shown.turns[-1]["resumable"]
    widget.comm.click("set", model="opnai/x")
    assert "did you mean" in widget.comm.click("resume", turn=shown.order[-1])["error"]
    shown = widget.comm.wait_until_idle()
    assert "One, two, th" in shown.html()
    assert texts(widget.messages) == ["Count", "One, two, th"]


def test_a_complete_an_empty_and_an_earlier_answer_do_not_go_on(chat, models):
    widget = chat()
    first = ask_for_one_cut_off(widget, models).order[0]
    models.default = answer("Done.")
    widget.comm.click("send", text="More")
    shown = widget.comm.wait_until_idle()
    assert [turn["resumable"] for turn in shown.turns] == [False, False]
    for turn in (first, shown.order[1]):
        assert "cut off" in widget.comm.click("resume", turn=turn)["error"]


def test_one_goes_on_although_questions_that_failed_follow_it(chat, models):
    widget = chat()
    models.default = answer("Before.")
    widget.send("Zero").wait()
    ask_for_one_cut_off(widget, models)
    models.reply(*[unauthorized()] * 2)
    for text in ("Failed", "Failed too"):
        widget.comm.click("send", text=text)
        shown = widget.comm.wait_until_idle()
    assert [turn["resumable"] for turn in shown.turns] == [False, True, False, False]
    models.reply(answer("ree, four.", gap=60))
    assert widget.comm.click("resume", turn=shown.order[1])["error"] is None
    widget.comm.wait_for(lambda shown: "three" in shown.html(1).replace("</p>", ""))
    models.skip_pauses()
    shown = widget.comm.wait_until_idle()
    assert "One, two, three, four." in shown.html(1)
    assert [turn["text"] for turn in shown.turns] == ["Zero", "Count", "Failed", "Failed too"]
    assert [bool(turn["error"]) for turn in shown.turns] == [False, False, True, True]
    assert not any(turn["resumable"] for turn in shown.turns)
    assert texts(widget.messages)[:4] == ["Zero", "Before.", "Count", "One, two, three, four."]
    assert texts(models.requests[-1].json["messages"])[:4] == ["Zero", "Before.", "Count", "One, two, th"]
