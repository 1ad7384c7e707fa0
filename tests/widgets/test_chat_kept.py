"""What is kept beside a chat, for whoever reads the notebook without its kernel."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ipyllm import LLMError
from ipyllm_widgets.chat.transcript import transcript
from tests import fakes
from tests.fakes import answer, status


def test_what_came_is_kept_beside_the_widget_before_the_end(chat, models, monkeypatch):
    widget, kept = chat(), []
    monkeypatch.setattr(widget._session, "_keep_beside", lambda _older_than_s: kept.append(widget._session.said()))
    models.default = answer("Before.")
    widget.send("First").wait()
    widget.comm.wait_until_rest()
    models.default = fakes.drip("word ", every=0.02)
    call = widget.send("Second")
    widget.comm.wait_for(lambda shown: shown.html().count("word") > 3)
    assert kept[-1][:2] == widget.messages
    question, partial, note = kept[-1][2:]
    assert question["content"] == "Second"
    assert partial["content"].startswith("word ")
    assert note == {"role": "note", "content": "The answer had not ended when this was kept."}
    assert "<b>Note</b>" in transcript(kept[-1], "Chat")[0]
    widget.stop()
    with suppress(LLMError):
        call.wait()
    widget.comm.wait_until_rest()
    assert widget._session.said() == widget.messages, "once it has ended, nothing of it is kept twice"


def test_a_question_is_kept_beside_the_widget_before_the_first_word(chat, models, monkeypatch):
    widget, kept = chat(), []
    monkeypatch.setattr(widget._session, "_keep_beside", lambda _older_than_s: kept.append(widget._session.said()))
    models.default = fakes.stall("never", after=0)
    call = widget.send("Anybody?")
    models.wait_for(lambda: kept)
    assert [message["role"] for message in kept[0]] == ["user", "note"]
    widget.stop()
    with suppress(LLMError):
        call.wait()


def test_a_question_without_an_answer_is_kept_beside_the_widget_with_the_reason(chat, models):
    widget = chat()
    models.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    with pytest.raises(LLMError) as raised:
        widget.send("Anybody?").wait()
    widget.comm.wait_until_rest()
    assert widget._session.said() == [
        {"role": "user", "content": "Anybody?"},
        {"role": "note", "content": str(raised.value)},
    ]
    assert widget.messages == []
