"""The Python side of the chat widget with bad input: clicks, odd messages, removed models, wrong arguments."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import suppress

import comm
import pytest

from ipyllm import LLMError, usage
from ipyllm.conversations.history import Turn
from tests import fakes
from tests.fakes import answer
from tests.widgets.page import PNG, texts


@pytest.mark.thorough
def test_a_hundred_quick_clicks_on_send_stop_and_again_leave_a_whole_chat_and_a_row_for_each_request(chat, models):
    models.default = answer("one two three", ttft=1000)  # none of those that wait may begin
    widget = chat("clicks")
    said = [widget.comm.click("send", text=f"q{n}") for n in range(100)]
    assert [ack["error"] for ack in said] == [None] * 100
    waiting = widget.comm.view_state().settings["queue"]
    assert [question["text"] for question in waiting] == [f"q{n}" for n in range(1, 100)]
    for question in waiting:
        widget.comm.click("unqueue", question=question["id"])
    models.default = answer("one two three", ttft=0.01)
    begun = dict.fromkeys(("send", "stop", "regenerate"), 0)
    for n in range(150):
        command = ("stop", "regenerate", "send")[n % 3]
        shown = widget.comm.view_state()
        error = widget.comm.click(command, turn=shown.order[-1], text=f"more {n}")["error"]
        assert error is None or "stop it first" in error
        begun[command] += error is None
        if n % 4 == 0:
            widget.comm.wait_until_idle()
    shown = widget.comm.wait_until_idle()
    while shown.settings["queue"]:  # held, because an answer was stopped
        widget.comm.click("send_next")
        shown = widget.comm.wait_until_idle()
    assert min(begun.values()) > 5, "all three were done, many times"
    rows = usage().query("conversation == 'clicks'")
    assert len(rows) == 1 + begun["send"] + begun["regenerate"]
    assert set(rows["status"]) == {"ok", "cancelled"}
    assert len(models.requests) <= len(rows), "who is stopped at once may never be sent"
    assert texts(widget.messages)[::2] == [turn["text"] for turn in shown.turns if turn["parts"].get("text")]
    widget.send("After all that").wait()
    assert widget.comm.wait_until_idle().turns[-1]["status"] == "ok"


def test_an_interrupt_in_the_middle_of_a_click_is_answered_and_leaves_a_chat_that_works(
    chat, models, interrupt_next_call
):
    """Python raises it in the main thread wherever that stands: here in a command, which no cell would show."""
    widget = chat()
    widget.send("Hello").wait()
    shown = widget.comm.wait_until_idle()
    stop = widget.conversation.observe(lambda: signal.raise_signal(signal.SIGINT))
    assert widget.comm.click("delete", turn=shown.order[0])["error"] == "The command was interrupted: try again."
    stop()
    models.default = answer("Late.", ttft=0.2)
    interrupt_next_call()
    assert widget.comm.click("send", text="Again")["error"] == "The command was interrupted: try again."
    assert not widget.running
    shown = widget.comm.wait_for(lambda shown: "Late." in shown.html())
    assert shown.turns[-1]["status"] == "ok", "what was sent already is not lost"
    widget.send("Once more").wait()
    assert texts(models.requests[-1].json["messages"])[-3:] == ["Again", "Late.", "Once more"]


def test_an_answer_that_cannot_be_rendered_is_said_and_ends_and_the_next_is_shown(chat, models, hook_rendering):
    def fail(text):
        if "deep" in text:
            raise RecursionError("too deep")

    hook_rendering(fail)
    models.default = answer("Very deep.")
    widget = chat()
    widget.send("Hello").wait()
    widget.comm.wait_until_idle()
    notice = {"kind": "notice", "text": "ipyllm failed: RecursionError: too deep"}
    widget.comm.wait_for(lambda _: notice in widget.comm.custom)  # it follows the update that ends the answer
    models.default = answer("Drawn.")
    widget.send("And now?").wait()
    assert "Drawn." in widget.comm.wait_until_idle().html()
    assert len(widget.messages) == 4, "what came is in the conversation"


def test_threads_that_ask_at_once_start_one_answer(chat, models):
    models.default = answer("one two three", ttft=1000)
    widget = chat()
    begun = []

    def ask(n):
        with suppress(LLMError):
            begun.append(widget.send(f"q{n}"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    widget.stop()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "send",
        [],
        {},
        {"command": None},
        {"command": "close"},
        {"command": "__init__"},
        {"command": "send"},
        {"command": "send", "text": 7},
        {"command": "send", "text": "   "},
        {"command": "select", "turn": "t1", "branch": "x"},
        {"command": "select", "turn": "nope", "branch": 1},
        {"command": "regenerate"},
        {"command": "delete", "turn": "t99"},
        {"command": "set", "params": []},
        {"command": "export", "format": "exe"},
        {"command": "text", "turn": "t1", "nonce": {"a": 1}},
    ],
)
def test_a_malformed_message_is_answered_with_a_sentence_and_harms_nothing(chat, models, content):
    widget = chat()
    said = widget.comm.push(content)
    assert said["kind"] == "ack"
    assert said["error"].endswith(".")
    assert "Traceback" not in said["error"]
    assert widget.send("Hello").wait().status == "ok"


JUNK = [None, True, -1, 0, 10**40, 1e308, float("nan"), float("-inf"), "", "x" * 100_000, "\x00", "\ud800", "\udc80",
        [], [[1]], {}, {"a": {"b": []}}, {"temperature": float("nan")}, {"seed": 10**40}, {"max_tokens": -1},
        {"stop": "\ud800"}, {"\ud800": 1}]  # fmt: skip


FIELDS = {
    "hello": ["seq"], "send": ["text", "files"], "stop": ["x"], "regenerate": ["turn"], "edit": ["turn", "text"],
    "select": ["turn", "branch"], "delete": ["turn"], "undo_delete": ["turn"], "clear": ["x"],
    "undo_clear": ["x"],
    "set": ["model", "system", "params"], "text": ["turn", "part"], "export": ["format"], "rate": ["turn", "feedback"],
    "draft": ["text", "file_bytes", "images", "uncounted", "view"], "prompts": ["x"], "prompt": ["name"],
    "resume": ["turn"], "unqueue": ["question"], "send_next": ["x"],
    "conversations": ["query"], "switch": ["conversation"], "rename": ["conversation", "to"],
    "forget": ["conversation"], "undo_forget": ["conversation"],
}  # fmt: skip


@pytest.mark.parametrize("command", FIELDS)
def test_junk_in_any_field_of_any_command_is_answered_and_leaves_a_chat_that_works(chat, models, command):
    widget = chat()
    widget.send("Hello").wait()
    shown = widget.comm.wait_until_idle()
    assert set(FIELDS) == set(widget._commands)
    right = {"turn": shown.order[0], "branch": 1, "text": "Hi", "seq": 0, "format": "md"}
    for field in FIELDS[command]:
        for junk in JUNK:
            given = {name: right.get(name) for name in FIELDS[command] if name in right} | {field: junk}
            said = widget.comm.click(command, **given)
            assert said["error"] is None or said["error"][-1] in ".?…", said
            assert "ipyllm failed" not in str(said["error"]), said
            shown = widget.comm.wait_until_idle()
            right["turn"] = shown.order[-1] if shown.order else "none"
    widget.comm.click("set", model="openai/fake-model", system="", params={})
    models.default = answer("Whole.")
    assert widget.comm.click("send", text="Still there?")["error"] is None
    assert "Whole." in widget.comm.wait_until_idle().html()


def test_buffers_that_are_no_images_are_refused_in_a_sentence(chat, models):
    widget = chat()
    for junk in (b"", b"junk", PNG[:4], b"<svg onload=alert(1)>", b"\x00" * 1000):
        assert "PNG, JPEG, GIF or WebP" in widget.comm.click("send", text="Look", buffers=[junk])["error"]
    assert models.requests == []


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice, about what a loopback write may take
def test_two_megabytes_of_text_are_asked_whole_and_shown_in_part(chat, models):
    text = "wörd " * 400_000
    widget = chat()
    widget.comm.click("send", text=text)
    shown = widget.comm.wait_until_idle()
    assert models.requests[-1].json["messages"][-1]["content"] == text
    assert (len(shown.turns[0]["text"]), shown.turns[0]["chars"]) == (20_000, len(text))
    widget.comm.click("text", turn=shown.order[0])
    assert widget.comm.custom[-2]["text"] == text


def test_a_model_removed_while_selected_stays_what_is_asked(chat, models):
    widget = chat(models=["openai/fake-model", "openai/other"], model="openai/other")
    widget.models = ["openai/fake-model"]
    shown = widget.comm.view_state()
    assert (shown.settings["model"], shown.settings["models"]) == ("openai/other", ["openai/fake-model"])
    widget.send("Hello").wait()
    assert models.requests[-1].json["model"] == "other"


def test_a_model_that_the_server_has_no_more_is_said_and_another_can_be_asked_the_same(chat, models):
    widget = chat(model="openai/going")
    widget.send("first").wait()
    widget.comm.wait_until_idle()
    models.on(lambda request: fakes.model_not_found("going") if request.json["model"] == "going" else None)
    widget.comm.click("send", text="second")
    shown = widget.comm.wait_until_idle()
    assert shown.turns[-1]["status"] == "error"
    assert "going" in shown.turns[-1]["error"]
    widget.comm.click("set", model="openai/other")
    widget.comm.click("regenerate", turn=shown.order[-1])
    widget.comm.wait_until_idle()
    assert texts(widget.messages)[::2] == ["first", "second"]
    assert models.requests[-1].json["model"] == "other"


def test_a_service_taken_out_of_the_settings_is_said_the_question_stays_and_the_picker_offers_it_no_more(
    chat, models, monkeypatch, tmp_path
):
    config = tmp_path / "with-lab.toml"
    config.write_text(f'[endpoints.lab]\nbase_url = "{models.base_url}"\nmodel = "llama"\n')
    monkeypatch.setenv("IPYLLM_CONFIG", str(config))
    widget = chat(model="lab/llama")
    assert "lab/llama" in widget.comm.view_state().settings["models"]
    models.default = answer("one two three", ttft=0.2, gap=0.1)
    call = widget.send("first")
    config.write_text("")
    assert call.wait().status == "ok", "what was asked goes on"
    widget.comm.wait_until_idle()
    said = widget.comm.click("send", text="second")
    assert said["error"].startswith("There is no service 'lab'")
    shown = widget.comm.wait_until_idle()
    assert shown.turns[-1]["text"] == "second"
    assert shown.turns[-1]["error"] == said["error"]
    assert "lab/llama" not in shown.settings["models"]
    assert shown.settings["model"] == "lab/llama", "it shows what is chosen, wrong as it is"
    widget.comm.click("set", model="openai/fake-model")
    widget.comm.click("regenerate", turn=shown.order[-1])
    widget.comm.wait_until_idle()
    assert texts(widget.messages)[::2] == ["first", "second"]


def test_lone_surrogates_in_a_question_from_python_and_in_an_answer_reach_the_page_as_replacement_characters(
    chat, models
):

    def escaped(events):
        return [e._replace(payload=f"data: {json.dumps(e.payload)}\n") if e.kind == "token" else e for e in events]

    models.default = answer("before \ud83d after").edited(escaped)
    widget = chat(system="Be \ud800 brief.")
    widget.send("What is \ud800?").wait()
    shown = widget.comm.wait_until_idle()
    assert "before" in shown.html()
    assert "after" in shown.html()
    assert shown.turns[0]["text"] == "What is \ufffd?"
    widget.conversation.put_turn(
        Turn([{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "\ud800"}])
    )
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 2)
    assert (shown.turns[1]["text"], "\ufffd" in shown.html()) == ("\ufffd", True)
    for form in ("md", "html", "ipynb", "json"):
        assert widget.comm.click("export", format=form)["error"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"models": "openai/a"}, "models must be a list of names or services, such as \\['openai/a', …\\]"),
        ({"models": [5]}, "models must be a list of names"),
        ({"model": 5}, "A model's name is a string like 'openai/gpt-6-sol', not int"),
        ({"model": "opnai/x"}, "There is no service 'opnai'"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"conversaton": "x"}, "A chat has no option 'conversaton'; did you mean 'conversation'"),
        ({"modle": "openai/x"}, "A chat has no option 'modle'; did you mean 'model'"),
        ({"system": 5}, "A system prompt must be text, not int"),
        ({"tools": abs}, "tools must be a list of functions"),
        ({"tools": 5}, "tools must be a list of functions"),
        ({"name": ""}, "The name of a conversation must be text, such as 'default', not ''"),
        ({"name": 5}, "The name of a conversation must be text, such as 'default', not 5"),
        ({"provenance": "me"}, "'provenance' is set by the widget"),
        ({"extra_headers": {"x-a": "1"}}, "a service takes default_headers"),
    ],
)
def test_what_cannot_be_right_is_one_sentence_and_no_page_is_told_of_a_widget(chat, monkeypatch, options, says):
    comms = []
    monkeypatch.setattr(comm, "create_comm", lambda **given: comms.append(given))
    with pytest.raises(LLMError, match=says):
        chat(**options)
    assert comms == []


@pytest.mark.parametrize("name", ["tools", "conversation_history", "provenance", "system"])
def test_a_parameter_named_like_what_the_widget_hands_over_is_refused_from_the_page_and_changes_nothing(
    chat, models, name
):
    widget = chat(temperature=0.5)
    assert name in widget.comm.click("set", params={name: []})["error"]
    assert widget.params == {"temperature": 0.5}
    assert widget.send("Hello").wait().status == "ok"


@pytest.mark.parametrize(
    ("text", "images", "says"),
    [
        (5, (), "A question must be a string, not int"),
        (b"x", (), "A question must be a string, not bytes"),
        ("x", "picture.png", "images must be a list of paths or bytes"),
        ("x", b"\x89PNG", "images must be a list of paths or bytes"),
        ("x", None, "images must be a list of paths or bytes"),
    ],
)
def test_a_question_of_another_kind_is_refused_in_one_sentence(chat, models, text, images, says):
    widget = chat()
    with pytest.raises(LLMError, match=says):
        widget.send(text, images)
    assert widget.messages == []
    assert not widget.running


def test_a_key_among_the_parameters_is_refused_because_the_page_and_the_notebook_would_show_it(chat, models):
    key = "sk-test-0123456789abcdef"
    with pytest.raises(LLMError, match="A widget takes no API key"):
        chat(api_key=key)
    widget = chat()
    answered = widget.comm.click("set", params={"api_key": key})
    assert "takes no API key" in answered["error"]
    assert key not in str(widget.comm.sent)
