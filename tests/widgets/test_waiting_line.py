"""What a widget says while an answer has not begun: a message for each change, and nothing in the saved notebook."""

from __future__ import annotations

import comm
import pytest

from ipyllm import CompareWidget
from tests import fakes
from tests.fakes import answer
from tests.widgets.page import PageComm


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    monkeypatch.setattr("ipyllm_widgets.controller._WAITING_INTERVAL_S", 0.1)


def lines(page):
    """Return what was said, in order: text before the clock, its direction, text after it."""
    said = [turn["waiting"] for message in page.custom for turn in message.get("turns", ()) if turn.get("waiting")]
    return [(each["before"], each["step"], each["after"]) for each in said]


def test_a_chat_says_what_is_known(chat, models):
    models.reply(fakes.rate_limited(2), answer("Paris.", ttft=1000))
    widget = chat()
    call = widget.send("Capital of France?")
    shown = widget.comm.wait_for(lambda view: view.turns[-1]["waiting"])
    assert shown.turns[-1]["waiting"]["seconds"] >= 0
    widget.comm.wait_for(lambda view: lines(widget.comm)[-1][0].startswith("waiting for the first token, attempt 2"))
    models.skip_pauses()
    call.wait()
    turn = widget.comm.wait_until_idle().turns[-1]
    assert (turn["status"], turn["waiting"]) == ("ok", None)
    said = lines(widget.comm)
    assert ("rate limited, next try in ", -1, " s, attempt 2 of 3") in said
    assert said[-1] == ("waiting for the first token, attempt 2 of 3 · ", 1, " s")
    assert len(said) <= 6, "a message for each change; the clock is the page's"


def test_once_an_answer_begins_nothing_is_said(chat, models):
    models.default = answer("one two three", reasoning="hm", ttft=1000, gap=1000)
    widget = chat()
    call = widget.send("Hello")
    widget.comm.wait_for(lambda view: view.turns[-1]["waiting"])
    models.wait_for(lambda: models.in_flight == 1)
    models.send_next()
    widget.comm.wait_for(lambda view: [*view.turns[-1]["parts"]] == ["reasoning"] and not view.turns[-1]["waiting"])
    models.skip_pauses()
    call.wait()


def test_the_saved_notebook_has_nothing_of_it(chat, models):
    models.default = fakes.never_answers()
    widget = chat()
    widget.send("Hello")
    widget.comm.wait_for(lambda view: view.turns[-1]["waiting"])
    html, text, _ = widget._controller.static_content()
    assert "waiting" not in html.split("</style>")[-1] + text
    widget.stop()


def test_a_page_that_loads_later_gets_the_clock_as_it_is_then(chat, models):
    models.default = fakes.never_answers()
    widget = chat()
    widget.send("Hello")
    first = widget.comm.wait_for(lambda view: view.turns[-1]["waiting"]).turns[-1]["waiting"]["seconds"]
    models.wait_for(lambda: widget._controller.snapshot()["turns"][-1]["waiting"]["seconds"] >= first + 0.5)
    widget.stop()


def answers(view):
    return [turn for turn in view.turns if "mark" in turn]


def test_arms_of_a_comparison_say_it_each_unless_their_names_are_hidden(models, monkeypatch):
    monkeypatch.setattr(comm, "create_comm", PageComm)
    models.default = fakes.never_answers()
    for blind in (False, True):
        models.requests.clear()
        widget = CompareWidget(models=["openai/a", "openai/b"], blind=blind)
        comparison = widget.ask("Hello")
        if blind:
            models.wait_for(lambda: len(models.requests) == 2)
            widget._controller.render()
            assert not lines(widget.comm)
        else:
            shown = widget.comm.wait_for(lambda view: all(turn["waiting"] for turn in answers(view)))
            assert [turn["waiting"]["after"] for turn in answers(shown)] == [" s", " s"]
        widget.close()
        assert comparison.done.wait(60)
