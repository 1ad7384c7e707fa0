"""Thumbs on answers: kept in the ledger, shown again after a restart."""

from __future__ import annotations

import pytest

from ipyllm import usage
from ipyllm.errors import LLMError
from tests.fakes import answer


def test_a_thumb_is_a_column_of_usage_until_it_is_withdrawn(chat, models):
    models.default = answer("Paris.")
    widget = chat()
    widget.send("Capital of France?").wait()
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["feedback"] == ""
    (turn,) = shown.order
    for given in ("good", "bad"):
        assert widget.comm.click("rate", turn=turn, feedback=given)["error"] is None
        assert widget.comm.view_state().turns[0]["feedback"] == given
        assert usage()["feedback"].iloc[-1] == given
    widget.comm.click("rate", turn=turn, feedback="")
    assert usage()["feedback"].isna().iloc[-1]
    assert usage()["status"].iloc[-1] == "ok", "nothing else of the row is changed"


def test_another_widget_shows_what_was_said(chat, models):
    models.default = answer("Paris.")
    widget = chat("capitals")
    widget.send("Capital of France?").wait()
    widget.rate("bad")
    again = chat("capitals")
    again.comm.wait_for(lambda shown: shown.turns and shown.turns[0]["feedback"] == "bad")


def test_what_is_refused(chat, models):
    widget = chat()
    with pytest.raises(LLMError, match="no answer yet"):
        widget.rate("good")
    widget.send("Hello").wait()
    with pytest.raises(LLMError, match="Did you mean 'good'"):
        widget.rate("goood")
    widget.conversation.add_message("user", "by hand")
    widget.conversation.add_message("assistant", "an answer without a call")
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 2)
    assert shown.turns[1]["feedback"] is None
    assert "no call in the ledger" in widget.comm.click("rate", turn=shown.order[1], feedback="good")["error"]
