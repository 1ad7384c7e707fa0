"""The static output of a chat, for readers of the notebook without a kernel."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ipyllm import LLMError
from tests import fakes
from tests.fakes import answer, status


def plain(published):
    return published[-1]["data"]["text/plain"]


def test_what_came_is_in_the_static_output_before_the_end(chat, models, published):
    widget = chat("static")
    widget._ipython_display_()
    models.default = answer("Before.")
    widget.send("First").wait()
    widget.comm.wait_until_idle()
    models.default = fakes.drip("word ", every=0.02)
    call = widget.send("Second")
    widget.comm.wait_for(lambda shown: shown.html().count("word") > 3)
    widget._controller.static_output._published_at -= 1000
    models.wait_for(lambda: "Model: word " in plain(published))
    footer = widget.comm.view_state().turns[0]["footer"]
    assert plain(published).startswith(f"You: First\n\nModel ({footer}): Before.\n\nYou: Second\n\nModel: word ")
    assert plain(published).endswith("\n\nNote: The answer was incomplete when the notebook was saved.")
    assert "<b>Note</b>" in published[-1]["data"]["text/html"]
    widget.stop()
    with suppress(LLMError):
        call.wait()
    widget.comm.wait_until_idle()
    assert widget._controller.messages_so_far() == widget.messages, "once it has ended, nothing of it is kept twice"
    models.wait_for(lambda: "Note" not in plain(published))


def test_a_question_is_in_the_static_output_before_the_first_word(chat, models, published):
    widget = chat("static")
    widget._ipython_display_()
    assert [output["update"] for output in published] == [False]
    models.default = fakes.stall("never", after=0)
    call = widget.send("Anybody?")
    models.wait_for(lambda: plain(published).startswith("You: Anybody?\n\nNote: "))
    assert published[-1]["update"]
    widget.stop()
    with suppress(LLMError):
        call.wait()


def test_a_question_without_an_answer_is_kept_beside_the_widget_with_the_reason(chat, models):
    widget = chat()
    models.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    with pytest.raises(LLMError) as raised:
        widget.send("Anybody?").wait()
    widget.comm.wait_until_idle()
    assert widget._controller.messages_so_far() == [
        {"role": "user", "content": "Anybody?"},
        {"role": "note", "content": str(raised.value)},
    ]
    assert widget.messages == []
