"""The Python side of the chat widget: a real widget and service, and a recording page."""

from __future__ import annotations

import html
import json
import re
import threading

import nbformat
import pytest

from ipyllm import LLMError, usage
from ipyllm.conversations.history import ConversationHistory, conversation
from ipyllm.rendering import escape_markdown
from ipyllm.services.openai import OpenAIService
from tests import fakes
from tests.fakes import answer, status
from tests.widgets.page import PNG, begin_answer, texts


def test_an_answer_streams_in_numbered_deltas_and_ends_with_its_footer(chat, models):
    models.default = answer("# Title\n\nOne **two**.\n\n- three", reasoning="Let me think.", gap=100)
    widget = chat()
    call = widget.send("Hello")
    widget.comm.wait_for(lambda shown: shown.turns and "Let" in shown.html(part="reasoning"))
    models.skip_pauses()
    call.wait()
    shown = widget.comm.wait_until_idle()
    deltas = [message for message in widget.comm.custom if message["kind"] == "delta"]
    assert len(deltas) > 1
    assert ">Title</h1>" in shown.html()
    assert "<strong>two</strong>" in shown.html()
    assert shown.html().count("three") == 1
    assert "Let me think." in shown.html(part="reasoning")
    assert "first token" in shown.turns[0]["footer"]
    assert shown.totals.startswith("1 answer · 10 → ")
    assert texts(widget.messages) == ["Hello", "# Title\n\nOne **two**.\n\n- three"]


def test_a_burst_of_4000_deltas_arrives_whole_and_in_order_in_few_messages(chat, models):
    words = " ".join(f"w{n}" for n in range(4000))
    models.default = answer(words, chunks=4000)
    widget = chat()
    assert widget.send("Go").wait().content == words
    shown = widget.comm.wait_until_idle()
    assert f">{words}</p>" in shown.html()
    assert len(widget.comm.custom) < 400


def test_stop_before_the_first_token_closes_the_connection_and_can_be_tried_again(chat, models):
    models.default = fakes.stall("never", after=0)
    widget = chat()
    call = widget.send("Hello")
    models.wait_for(lambda: models.requests)
    asked = widget.comm.view_state().turns[0]
    assert (asked["status"], asked["footer"]) == ("running", "openai/fake-model")
    widget.comm.click("stop")
    models.wait_for(lambda: models.requests[0].closed_by_client)
    with pytest.raises(LLMError):
        call.wait()
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["status"] == "cancelled"
    assert shown.turns[0]["error"] is None
    assert widget.messages == [], "a question without an answer is no part of the conversation"
    models.default = answer("Now.")
    assert widget.comm.click("regenerate", turn=shown.turns[0]["id"])["error"] is None
    shown = widget.comm.wait_until_idle()
    assert [turn["text"] for turn in shown.turns] == ["Hello"]
    assert shown.turns[0]["branch"] == [1, 1]
    assert texts(widget.messages) == ["Hello", "Now."]


def test_stop_in_the_middle_keeps_what_came(chat, models):
    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    widget.send("Hello")
    widget.comm.wait_for(lambda shown: shown.turns and "word word" in shown.html())
    widget.stop()
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["status"] == "cancelled"
    assert "word word" in widget.messages[1]["content"]


def test_an_error_is_shown_with_its_sentence_and_trying_again_replaces_it(chat, models):
    models.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    widget = chat()
    with pytest.raises(LLMError):
        widget.send("Hello").wait()
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["status"] == "error"
    assert "key" in shown.turns[0]["error"]
    models.default = answer("Hi.")
    widget.comm.click("regenerate", turn=shown.order[0])
    shown = widget.comm.wait_until_idle()
    assert [(turn["status"], turn["error"]) for turn in shown.turns] == [("ok", None)]


def test_a_wrong_model_is_said_in_the_widget_and_the_question_is_not_lost(chat, models):
    widget = chat()
    said = widget.comm.click("set", model="opnai/fake-model")
    assert "did you mean 'openai/fake-model'" in said["error"]
    said = widget.comm.click("send", text="Hello")
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["error"] == said["error"]
    widget.comm.click("set", model="openai/fake-model")
    widget.comm.click("regenerate", turn=shown.order[0])
    assert widget.comm.wait_until_idle().turns[0]["status"] == "ok"
    with pytest.raises(LLMError, match="did you mean"):
        chat("other", model="opnai/fake-model")


def test_parameters_and_system_prompt_reach_the_server_and_wrong_ones_are_refused(chat, models):
    widget = chat(system="Be brief.", temperature=0)
    assert widget.comm.click("set", params={"temperature": 1, "max_tokens": 5})["error"] is None
    assert "temperature must be" in widget.comm.click("set", params={"temperature": 9})["error"]
    assert "did you mean 'temperature'" in widget.comm.click("set", params={"temprature": 1})["error"]
    widget.send("Hello").wait()
    sent = models.requests[-1].json
    assert (sent["temperature"], sent["max_tokens"]) == (1, 5)
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert widget.comm.view_state().settings["system"] == "Be brief."
    widget.system = ""
    assert widget.system is None


def test_a_view_that_has_seen_less_gets_a_snapshot_and_one_that_has_seen_all_does_not(chat, models):
    widget = chat()
    widget.send("Hello").wait()
    seq = widget.comm.wait_until_idle().seq
    widget.comm.click("hello", seq=seq)
    assert [message["kind"] for message in widget.comm.custom[-2:]].count("snapshot") == 0
    widget.comm.click("hello", seq=0)
    snapshot = widget.comm.custom[-2]
    assert snapshot["kind"] == "snapshot"
    assert snapshot["state"]["seq"] == seq
    assert snapshot["state"]["turns"][0]["text"] == "Hello"


def test_a_snapshot_in_the_middle_of_an_answer_and_the_deltas_after_it_fit_together(chat, models):
    models.default = answer(" ".join(f"w{n}" for n in range(60)), gap=0.02, tail=1000)
    widget = chat()
    call = widget.send("Hello")
    widget.comm.wait_for(lambda shown: shown.turns and "w5" in shown.html())
    widget.comm.click("hello", seq=-1)
    snapshot = next(message for message in widget.comm.custom if message["kind"] == "snapshot")
    assert snapshot["state"]["running"] == "t1"
    assert "w5" in snapshot["state"]["turns"][0]["parts"]["text"]["tail"]
    models.skip_pauses()
    call.wait()
    assert "w59" in widget.comm.wait_until_idle().html()


def test_a_view_that_opens_while_an_answer_runs_knows_how_long(chat, models):
    widget = chat()
    begin_answer(widget, models)
    widget._controller._shown._began -= 42
    assert 42 <= widget._controller.snapshot()["running_s"] < 100
    models.skip_pauses()
    widget.comm.wait_until_idle()
    assert widget._controller.snapshot()["running_s"] == 0


def test_images_go_to_the_model_and_are_shown_by_their_bytes_not_their_name(chat, models):
    widget = chat()
    assert widget.comm.click("send", text="What is this?", buffers=[memoryview(PNG)])["error"] is None
    shown = widget.comm.wait_until_idle()
    assert shown.turns[0]["images"][0].startswith("data:image/png;base64,")
    part = models.requests[-1].json["messages"][-1]["content"][1]
    assert part["image_url"]["url"] == shown.turns[0]["images"][0]
    said = widget.comm.click("send", text="And this?", buffers=[b"<svg onload=alert(1)>"])
    assert "PNG, JPEG, GIF or WebP" in said["error"]
    said = widget.comm.click("send", text="And this?", buffers=[PNG + bytes(50_000_000)])
    assert said["error"] == "The image has 50.0 MB, more than 5.0 MB: make it smaller first."
    said = widget.comm.click("send", text="", buffers=[PNG + bytes(4_500_000)] * 2)
    assert "9.0 MB in total" in said["error"]
    with pytest.raises(LLMError, match="cannot be read: No such file"):
        widget.send("Look", images=["no-such.png"])


def test_editing_a_question_keeps_its_images(chat, models):
    widget = chat()
    widget.send("What is this?", images=[PNG]).wait()
    shown = widget.comm.wait_until_idle()
    widget.comm.click("edit", turn=shown.order[0], text="Describe it.")
    shown = widget.comm.wait_until_idle()
    assert (shown.turns[0]["text"], len(shown.turns[0]["images"])) == ("Describe it.", 1)


def test_tools_run_and_are_shown_with_arguments_and_result(chat, models):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    models.reply(answer("", tool_calls=[("add", {"a": 2, "b": 40})]), answer("It is 42 <b>."))
    widget = chat(tools=[add])
    assert widget.send("2 + 40?").wait().content == "It is 42 <b>."
    shown = widget.comm.wait_until_idle()
    html = shown.html(part="tools")
    assert "<summary>Tool call: <b>add</b></summary>" in html
    assert '{"a":2,"b":40}' in html
    assert "<pre>42</pre>" in html
    assert "It is 42 &lt;b&gt;." in shown.html()
    assert shown.totals.startswith("1 answer · 20 → ")


def test_stopped_while_a_tool_runs_what_was_said_before_is_kept(chat, models):
    begun, may_end = threading.Event(), threading.Event()

    def look(place: str) -> str:
        """Look there."""
        begun.set()
        may_end.wait(60)
        return place

    widget = chat(tools=[look])
    models.reply(answer("Let me look.", tool_calls=[("look", {"place": "here"})]))
    call = widget.send("Where is it?")
    assert begun.wait(60)
    widget.stop()
    with pytest.raises(LLMError, match="cancelled"):
        call.wait()
    may_end.set()
    assert "Let me look." in widget.comm.wait_until_idle().html()
    assert texts(widget.messages) == ["Where is it?", "Let me look."]


def test_an_attempt_that_is_made_again_after_text_replaces_what_was_shown(chat, models):
    models.reply(fakes.reset("first attempt", after=1), answer("second"))
    widget = chat(retry_after_text=True)
    widget.send("Hello").wait()
    html = widget.comm.wait_until_idle().html()
    assert "second" in html
    assert "first" not in html


def test_the_ledger_says_that_the_widget_asked_and_for_which_conversation(chat, models):
    widget = chat("in-ledger")
    widget.send("Hello").wait()
    row = usage().iloc[-1]
    assert (row["origin"], row["conversation"]) == ("widget", "in-ledger")


def test_without_models_the_picker_offers_what_is_configured(chat, models):
    offered = chat().comm.view_state().settings["models"]
    assert offered[0] == "openai/fake-model"
    assert "openai/gpt-6-luna" in offered
    assert not any(name.startswith("deepseek/") for name in offered), "there is no key for it"


def test_closing_the_widget_stops_its_answer_and_leaves_the_conversation_alone(models, monkeypatch):
    from ipyllm import ChatWidget

    models.default = fakes.drip("word ", every=0.01)
    widget = ChatWidget(conversation="closing")
    widget.send("Hello")
    models.wait_for(lambda: models.requests)
    widget.close()
    models.wait_for(lambda: models.requests[0].closed_by_client)
    conversation("closing").add_message("user", "nobody listens")


def test_exports_hold_the_conversation_and_no_script_or_key(chat, models, tmp_path, monkeypatch):
    models.default = answer("Use **bold**.\n\n<script>alert(1)</script>\n\n`sk-test-0123456789abcdef`")
    widget = chat(system="Be brief.")
    widget.send("How?  {{ braces }}").wait()
    footer = widget.comm.wait_until_idle().turns[0]["footer"]
    about = re.search(
        r"## You\n\nHow\?  {{ braces }}\n\n## Model\n\n\*(.+)\*\n\nUse \*\*bold\*\*", widget.export("md")
    )[1]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d · " + re.escape(escape_markdown(footer)), about)
    page = widget.export("html", tmp_path / "chat.html")
    assert (tmp_path / "chat.html").read_text() == page
    assert "<strong>bold</strong>" in page
    assert f" · {html.escape(footer, quote=False)}</div>" in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    notebook = nbformat.reads(widget.export("ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert (
        notebook.cells[2].source
        == f'%%llm --raw -c {widget._name} -m openai/fake-model -s "Be brief."\nHow?  {{{{ braces }}}}'
    )
    assert "<strong>bold</strong>" in notebook.cells[2].outputs[0].data["text/html"]
    (tmp_path / "chat.json").write_text(widget.export("json"))
    assert ConversationHistory.load(tmp_path / "chat.json").system == "Be brief."
    for form in ("md", "html", "ipynb", "json"):
        assert "sk-test-0123456789abcdef" not in widget.export(form)
    with pytest.raises(LLMError, match="There is no format 'pdf'"):
        widget.export("pdf")
    with pytest.raises(LLMError, match="cannot be written"):
        widget.export("md", tmp_path / "no" / "such")


def test_what_a_widget_sends_first_is_small(chat):
    widget = chat()
    opened = next(message for message in widget.comm.sent if message["type"] == "comm_open")
    sent = len((opened["state"]["_esm"] + opened["state"]["_css"]).encode())
    assert sent <= 96_000
    assert "eval(" not in opened["state"]["_esm"]
    assert "http" not in opened["state"]["_css"]
    assert json.dumps(opened["state"]).count("http://www.w3.org/2000/svg") == 1, "the one address is a name space"


def test_what_did_not_fit_the_window_is_said_at_the_turn_and_only_there(chat, models, monkeypatch):
    # The tables know the windows of the makers' own addresses only; this stands for one of those.
    monkeypatch.setattr(OpenAIService, "context_window", lambda _: 60)
    widget = chat()
    models.default = answer("word " * 12)
    widget.send("first").wait()
    assert widget.comm.wait_until_idle().turns[-1]["note"] == ""
    for question in ("second", "third"):
        widget.send(question).wait()
    assert "first" not in texts(models.requests[-1].json["messages"])
    turns = widget.comm.wait_until_idle().turns
    assert turns[-1]["note"].startswith("The oldest ")
    assert turns[0]["note"] == ""
    assert widget.messages[0]["content"] == "first", "nothing of it is lost"
    monkeypatch.setattr(OpenAIService, "context_window", lambda _: None)
    widget.comm.click("regenerate", turn=turns[-1]["id"])
    assert widget.comm.wait_until_idle().turns[-1]["note"] == ""


def test_a_stopped_answer_says_about_what_it_cost_and_no_total_has_that(chat, models, own_settings):
    (own_settings / "config.toml").write_text(
        '[prices."openai/fake-model"]\ninput_usd_per_mtok = 100\noutput_usd_per_mtok = 1000\n'
    )
    models.default = fakes.drip("word ", every=0.02)
    widget = chat()
    widget.send("Long")
    widget.comm.wait_for(lambda shown: shown.html().count("word") > 3)
    widget.stop()
    shown = widget.comm.wait_until_idle()
    sent, received, cost = re.search(r"~(\d+) → ~(\d+) tokens .*· ~\$([\d.]+)", shown.turns[0]["footer"]).groups()
    assert float(cost) == pytest.approx((int(sent) * 100 + int(received) * 1000) / 1e6, rel=0.06)
    assert "$" not in shown.totals, "an estimate is no part of a sum"
    assert f"~${cost}</div>" in widget.export("html")
