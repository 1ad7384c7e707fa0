"""After a restart of the kernel the questions of a chat that waited wait for the user, and what was typed is there."""

from __future__ import annotations

import pytest

from ipyllm.conversations import saved
from ipyllm_widgets import ChatWidget
from ipyllm_widgets.saved_queue import look_up_queue, save_queue
from tests import fakes
from tests.fakes import answer
from tests.widgets.page import PNG, begin_answer


@pytest.fixture
def begin(models, restart):
    """Make a chat of the notebook; made again, it is in a restarted kernel."""
    made = []

    def make(**options):
        if made:
            end(made[-1])
            restart()
        made.append(ChatWidget(**options))
        return made[-1]

    yield make
    end(made[-1])


def end(widget):
    if widget.comm is not None:
        widget.stop()
        widget.comm.wait_until_idle()
        widget.close()


def snapshot(widget):
    return widget.get_state("snapshot")["snapshot"]


def waiting(widget):
    return [(queued["text"], queued["images"], queued["held"]) for queued in snapshot(widget)["settings"]["queue"]]


def queue(widget, text, *images):
    widget.comm.click("send", text=text, files=[""] * len(images), buffers=[memoryview(image) for image in images])


def test_they_wait_with_their_images_and_what_is_typed_is_there_too(begin, models):
    widget = begin()
    begin_answer(widget, models)
    queue(widget, "And this?", PNG)
    queue(widget, "And last?")
    widget.comm.click("draft", text="Or")
    widget.comm.click("unqueue", question=snapshot(widget)["settings"]["queue"][1]["id"])
    again = begin()
    assert waiting(again) == [("And this?", 1, True)]
    assert snapshot(again)["draft"] == "Or"
    models.reply(answer("A picture."))
    assert again.comm.click("send_next")["error"] is None
    again.comm.wait_until_idle()
    sent = models.requests[-1].json["messages"][-1]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url"]
    assert waiting(begin()) == []


def test_one_that_was_asked_from_the_queue_waits_no_longer(begin, models):
    widget = begin()
    models.reply(fakes.drip("word ", every=0.02), answer("So."))
    widget.comm.click("send", text="Long")
    widget.comm.wait_for(lambda page: "word" in page.html())
    queue(widget, "And then?")
    widget.comm.click("stop")
    widget.comm.wait_until_idle()
    widget.comm.click("send_next")
    again = begin()
    assert (waiting(again), snapshot(again)["draft"]) == ([], "")


def test_they_follow_a_conversation_that_is_renamed_and_go_with_one_that_is_deleted(begin, models):
    widget = begin()
    begin_answer(widget, models)
    queue(widget, "And this?", PNG)
    assert widget.comm.click("rename", conversation="default", to="trip")["error"] is None
    again = begin(conversation="trip")
    assert waiting(again) == [("And this?", 1, True)]
    assert look_up_queue("default") == []
    again.comm.click("forget", conversation="trip")
    assert look_up_queue("trip") == []
    again.comm.click("undo_forget", conversation="trip")
    assert waiting(begin(conversation="trip")) == [("And this?", 1, True)]


@pytest.mark.parametrize("damaged", [{"format": "other"}, [], {"questions": [3]}, {"questions": 3}])
def test_a_damaged_queue_is_left_out(begin, damaged):
    begin()
    saved.save_document("queue", "default", damaged)
    assert waiting(begin()) == []
    save_queue("default", [{"role": "user", "content": "Whole?"}])
    assert waiting(begin()) == [("Whole?", 0, True)]


# ---- two chats of one conversation ----------------------------------------------------------------


def test_what_waits_in_one_chat_is_not_lost_by_what_the_other_does(begin, models, restart):
    first = begin()
    begin_answer(first, models)
    queue(first, "Waits in the first", PNG)
    other = ChatWidget()
    assert waiting(other) == [], "the first asks it"
    other.comm.click("draft", text="typed in the other")
    first.comm.click("draft", text="typed in the first")
    assert saved.look_up_draft("default") == "typed in the first\n\ntyped in the other"
    other.close()
    again = begin()
    assert waiting(again) == [("Waits in the first", 1, True)]
    assert snapshot(again)["draft"] == "typed in the first\n\ntyped in the other"


def test_a_chat_takes_over_what_is_typed_in_the_other_and_what_a_closed_one_left(begin, models):
    first = begin()
    begin_answer(first, models)
    queue(first, "Waits in the first")
    first.comm.click("draft", text="Half")
    other = ChatWidget()
    assert snapshot(other)["draft"] == "Half"
    other.comm.click("draft", text="Half of it")
    assert saved.look_up_draft("default") == "Half of it", "not twice"
    first.close()
    third = ChatWidget()
    assert waiting(third) == [("Waits in the first", 0, True)]
    assert waiting(other) == []
    third.close()
    other.close()
