"""What the chat does for who composes a question: files, an estimate, prompts of one's own, services."""

from __future__ import annotations

import json

import pytest

from ipyllm import LLMError, OpenAIService
from ipyllm.services.openai_compatible import OpenAICompatibleProvider
from ipyllm_widgets import live_widget
from ipyllm_widgets.attachments import files as files_module
from tests.widgets.page import PNG, begin_answer

KEY = "sk-given-0123456789abcdefghij"


def message_of(widget, kind):
    """The newest message of a kind, once there is one."""
    widget.comm.wait_for(lambda shown: any(sent["kind"] == kind for sent in widget.comm.custom))
    return next(sent for sent in reversed(widget.comm.custom) if sent["kind"] == kind)


# ---- files ---------------------------------------------------------------------------------------


def test_files_are_sent_as_text_and_shown_as_names(chat, models):
    widget = chat()
    files = {"buffers": [b"a,b\n1,2\n", PNG], "files": ["numbers.csv", ""]}
    assert widget.comm.click("send", text="Sum?", **files)["error"] is None
    (turn,) = widget.comm.wait_until_idle().turns
    assert (turn["text"], turn["files"], len(turn["images"])) == ("Sum?", [{"name": "numbers.csv", "chars": 7}], 1)
    sent = models.requests[-1].json["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "text"]
    widget.comm.click("text", turn=turn["id"], part="question")
    assert message_of(widget, "text")["text"] == "Sum?"


def test_an_edited_question_keeps_its_files_and_a_server_gets_one_text(chat, models):
    widget = chat()
    widget.send("Sum?", files=[("numbers.csv", b"1,2")]).wait()
    (turn,) = widget.comm.wait_until_idle().order
    widget.comm.click("edit", turn=turn, text="Product?")
    (turn,) = widget.comm.wait_until_idle().turns
    assert turn["files"] == [{"name": "numbers.csv", "chars": 3}]
    assert models.requests[-1].json["messages"][0]["content"] == 'Product?\n\n<file name="numbers.csv">\n1,2\n</file>'


def test_files_that_do_not_fit_the_model_are_refused_before_anything_is_asked(chat, models, monkeypatch):
    monkeypatch.setattr(OpenAICompatibleProvider, "context_window", lambda self: 1_000)
    widget = chat()
    error = widget.comm.click("send", text="Sum?", buffers=[b"word " * 2_000], files=["long.txt"])["error"]
    assert "“long.txt” has 10,000 characters" in error
    assert "more than the 1,000 that openai/fake-model can read" in error
    assert widget.comm.view_state().turns == []
    assert models.requests == []


def test_files_of_questions_that_wait_are_counted(chat, models):
    widget = chat()
    begin_answer(widget, models)
    widget.comm.click("send", text="two", buffers=[b"x"], files=["x.txt"])
    (waiting,) = widget.comm.view_state().settings["queue"]
    assert (waiting["text"], waiting["files"]) == ("two", 1)
    models.skip_pauses()
    widget.comm.wait_for(lambda shown: len(shown.turns) == 2 and shown.running is None)


def test_the_text_of_a_file_can_be_read_again(chat, models):
    widget = chat()
    widget.send("Sum?", files=[("numbers.csv", b"1,2\n"), ("fit.py", b"print(1)")]).wait()
    (turn,) = widget.comm.wait_until_idle().order
    assert widget.comm.click("text", turn=turn, part="file", file=1)["error"] is None
    assert message_of(widget, "text")["text"] == "print(1)"
    assert "not part of the question" in widget.comm.click("text", turn=turn, part="file", file=2)["error"]
    assert "not part of the question" in widget.comm.click("text", turn=turn, part="file", file=-1)["error"]


def test_a_question_that_is_taken_back_keeps_its_files(chat, models):
    widget = chat()
    begin_answer(widget, models)
    sent = {"buffers": [b"1,2\n", PNG], "files": ["numbers.csv", ""]}
    widget.comm.click("send", text="two", **sent)
    (waiting,) = widget.comm.view_state().settings["queue"]
    widget.comm.click("unqueue", question=waiting["id"])
    back = message_of(widget, "text")
    assert back["text"] == "two"
    assert back["files"] == [{"name": "image.png", "type": "image/png"}, {"name": "numbers.csv", "type": "text/plain"}]
    assert widget.comm.buffers[-1] == [PNG, b"1,2"]
    models.skip_pauses()
    widget.comm.wait_until_idle()


def test_a_pdf_file_that_is_taken_back_can_be_sent_again(chat, models, monkeypatch):
    monkeypatch.setattr(files_module, "pdf_text", lambda *_: "[page 1]\nfi\x02ne \ud835 fit\x00")
    widget = chat()
    begin_answer(widget, models)
    widget.comm.click("send", text="two", buffers=[b"%PDF-1.4"], files=["paper.pdf"])
    (waiting,) = widget.comm.view_state().settings["queue"]
    assert widget.comm.click("unqueue", question=waiting["id"])["error"] is None
    (given,) = widget.comm.buffers[-1]
    assert given.decode() == "[page 1]\nfine \ufffd fit"
    assert widget.comm.click("send", text="two", buffers=[given], files=["paper.pdf"])["error"] is None
    models.skip_pauses()
    widget.comm.wait_for(lambda shown: len(shown.turns) == 2 and shown.running is None)


def test_a_question_that_cannot_be_given_back_waits_on(chat, models, monkeypatch):
    widget = chat()
    begin_answer(widget, models)
    widget.comm.click("send", text="two")
    (waiting,) = widget.comm.view_state().settings["queue"]
    monkeypatch.setattr(live_widget, "files_to_page", lambda message: "\ud835".encode())
    assert "UnicodeEncodeError" in widget.comm.click("unqueue", question=waiting["id"])["error"]
    assert widget.comm.view_state().settings["queue"] == [waiting]
    models.skip_pauses()
    widget.comm.wait_for(lambda shown: len(shown.turns) == 2 and shown.running is None)


# ---- the estimate --------------------------------------------------------------------------------


def test_the_page_that_types_is_told_what_would_be_sent(chat, models, monkeypatch):
    monkeypatch.setenv("IPYLLM_PRICES", '{"openai/fake-model": {"input_usd_per_mtok": 10, "output_usd_per_mtok": 20}}')
    widget = chat()
    widget.comm.click("draft", text="Why is the sky blue?", file_bytes=400, images=1, uncounted=1, view="here")
    estimate = message_of(widget, "estimate")
    assert estimate["view"] == "here"
    assert estimate["text"] == "~1,110 tokens to send, without 1 PDF file · ~$0.011 and the answer"
    widget.comm.click("draft", text="", view="here")
    widget.comm.wait_for(lambda shown: message_of(widget, "estimate")["text"] == "")


def test_turns_before_count_as_far_as_they_fit(chat, models, monkeypatch):
    widget = chat()
    widget.conversation.add_message("user", "word " * 800)
    widget.conversation.add_message("assistant", "word " * 20)
    widget.comm.click("draft", text="And?", view="v")
    with_history = message_of(widget, "estimate")["text"]
    assert int(with_history.split()[0][1:].replace(",", "")) > 900
    monkeypatch.setattr(OpenAICompatibleProvider, "context_window", lambda self: 100)
    widget.comm.click("draft", text="And then?", view="v")
    widget.comm.wait_for(lambda shown: message_of(widget, "estimate")["text"].startswith("~6 tokens"))
    widget.comm.click("draft", text="word " * 200, view="v")
    widget.comm.wait_for(lambda shown: "more than the 100 that" in message_of(widget, "estimate")["text"])


def test_an_unknown_model_has_no_estimate(chat, models):
    widget = chat()
    widget.comm.click("set", model="opnai/x")
    widget.comm.click("draft", text="Hello", view="v")
    assert message_of(widget, "estimate")["text"] == ""


# ---- prompts of one's own ------------------------------------------------------------------------


def test_prompts_are_listed_by_their_beginnings_and_sent_whole(chat, models, tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    long = "Review this code. " * 50
    (tmp_path / "prompts" / "review.md").write_text(long)
    (tmp_path / "prompts" / "bad.md").write_bytes(b"\xff")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYLLM_CONFIG", str(tmp_path / "config.toml"))
    widget = chat()
    widget.comm.click("prompts")
    listed = message_of(widget, "prompts")
    assert [(item["name"], len(item["excerpt"]) <= 100) for item in listed["items"]] == [("review", True)]
    assert "bad.md cannot be a prompt" in listed["problems"][0]
    widget.comm.click("prompt", name="review")
    assert message_of(widget, "text")["text"] == long.strip()
    assert "no longer there" in widget.comm.click("prompt", name="gone")["error"]


# ---- services ------------------------------------------------------------------------------------


def test_a_chat_takes_services_and_no_key_leaves_the_kernel(chat, models):
    service = OpenAIService("mine", base_url=models.base_url, api_key=KEY, temperature=0)
    widget = chat(model=service, models=[service, "openai/fake-model"])
    assert (widget.model, widget.models) == ("openai/mine", ["openai/mine", "openai/fake-model"])
    widget.send("Hello").wait()
    widget.comm.wait_until_idle()
    request = models.requests[-1]
    assert (request.json["model"], request.json["temperature"]) == ("mine", 0)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    widget.comm.click("set", model="openai/fake-model")
    widget.send("Again").wait()
    assert models.requests[-1].json["model"] == "fake-model"
    widget.model = OpenAIService("other", base_url=models.base_url, api_key=KEY)
    assert widget.model == "openai/other"
    widget.send("Once more").wait()
    assert models.requests[-1].json["model"] == "other"
    widget.comm.wait_until_idle()
    for place in (
        json.dumps(widget.comm.sent, default=str),
        widget.export("json"),
        str(widget.get_state()),
        repr(widget),
    ):
        assert KEY not in place


def test_other_objects_are_refused(chat, models):
    for wrong in (7, object()):
        with pytest.raises(LLMError, match="names or services"):
            chat(models=[wrong])
