"""The chat widget's Python side: real widget, real service, a page that remembers what it was sent."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import suppress

import comm
import nbformat
import pytest

from ipyllm import LLMError, usage
from ipyllm.history import ConversationHistory, Turn, conversation
from ipyllm.services.openai import OpenAIService
from ipyllm_widgets.transcript import transcript
from tests import fakes
from tests.fakes import answer, status

PNG = bytes.fromhex("89504e470d0a1a0a") + b"pixels"


def texts(messages):
    return [message["content"] for message in messages]


def test_an_answer_streams_in_numbered_deltas_and_ends_with_its_footer(chat, models):
    models.default = answer("# Title\n\nOne **two**.\n\n- three", reasoning="Let me think.", ttft=0.05, gap=0.02)
    widget = chat()
    widget.send("Hello").wait()
    shown = widget.comm.wait_until_rest()
    deltas = [message for message in widget.comm.custom if message["kind"] == "delta"]
    assert len(deltas) > 1
    assert "<h1>Title</h1>" in shown.html()
    assert "<strong>two</strong>" in shown.html()
    assert shown.html().count("three") == 1
    assert "Let me think." in shown.html(part="reasoning")
    assert "tokens/s" in shown.turns[0]["footer"]
    assert shown.totals.startswith("1 answer · 10 → ")
    assert texts(widget.messages) == ["Hello", "# Title\n\nOne **two**.\n\n- three"]


def test_a_burst_of_4000_deltas_arrives_whole_and_in_order_in_few_messages(chat, models):
    words = " ".join(f"w{n}" for n in range(4000))
    models.default = answer(words, chunks=4000)
    widget = chat()
    assert widget.send("Go").wait().content == words
    shown = widget.comm.wait_until_rest()
    assert f"<p>{words}</p>" in shown.html()
    assert len(widget.comm.custom) < 400


def test_stop_before_the_first_token_closes_the_connection_and_can_be_tried_again(chat, models):
    models.default = fakes.stall("never", after=0)
    widget = chat()
    call = widget.send("Hello")
    models.wait_for(lambda: models.requests)
    widget.comm.click("stop")
    models.wait_for(lambda: models.requests[0].closed_by_client)
    with pytest.raises(LLMError):
        call.wait()
    shown = widget.comm.wait_until_rest()
    assert shown.turns[0]["status"] == "cancelled"
    assert shown.turns[0]["error"] is None
    assert widget.messages == [], "a question without an answer is no part of the conversation"
    models.default = answer("Now.")
    assert widget.comm.click("again", id=shown.turns[0]["id"])["error"] is None
    shown = widget.comm.wait_until_rest()
    assert [turn["text"] for turn in shown.turns] == ["Hello"]
    assert shown.turns[0]["branch"] == [1, 1]
    assert texts(widget.messages) == ["Hello", "Now."]


def test_stop_in_the_middle_keeps_what_came(chat, models):
    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    widget.send("Hello")
    widget.comm.wait_for(lambda shown: shown.turns and "word word" in shown.html())
    widget.stop()
    shown = widget.comm.wait_until_rest()
    assert shown.turns[0]["status"] == "cancelled"
    assert "word word" in widget.messages[1]["content"]


def test_regenerating_branches_and_the_shown_branch_is_the_conversation(chat, models):
    widget = chat()
    for text in ("one", "two"):
        models.default = answer(text.upper())
        widget.send(text).wait()
        shown = widget.comm.wait_until_rest()
    first, second = shown.order
    models.default = answer("DUE")
    widget.comm.click("again", id=second)
    shown = widget.comm.wait_until_rest()
    assert texts(widget.messages) == ["one", "ONE", "two", "DUE"]
    assert shown.turns[1]["branch"] == [2, 2]
    asked = models.requests[-1].json["messages"]
    assert texts(asked) == ["one", "ONE", "two"], "the answer that is replaced is not part of the question"
    widget.comm.click("select", id=shown.order[1], to=1)
    shown = widget.comm.shown()
    assert shown.order == [first, second]
    assert "TWO" in shown.html()
    assert texts(widget.messages) == ["one", "ONE", "two", "TWO"]


def test_editing_a_past_question_branches_and_leads_back_to_what_followed(chat, models):
    models.default = answer("A")
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_rest()
    models.default = answer("B")
    widget.comm.click("edit", id=shown.order[0], text="uno")
    shown = widget.comm.wait_until_rest()
    assert texts(widget.messages) == ["uno", "B"]
    assert shown.turns[0]["branch"] == [2, 2]
    widget.comm.click("select", id=shown.order[0], to=1)
    assert [turn["text"] for turn in widget.comm.shown().turns] == ["one", "two", "three"]


def test_deleting_a_turn_leaves_what_follows(chat, models):
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_rest()
    widget.comm.click("delete", id=shown.order[1])
    assert [turn["text"] for turn in widget.comm.shown().turns] == ["one", "three"]
    assert texts(widget.messages)[::2] == ["one", "three"]


def test_deleting_the_running_answer_stops_it_and_keeps_nothing(chat, models):
    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    widget.send("Hello")
    shown = widget.comm.wait_for(lambda shown: shown.turns and "word" in shown.html())
    widget.comm.click("delete", id=shown.order[0])
    models.wait_for(lambda: models.requests[0].closed_by_client)
    assert widget.comm.wait_until_rest().turns == []
    assert widget.messages == []


def test_an_answer_deleted_while_it_is_drawn_is_not_sent(chat, models, monkeypatch):
    """The drawing thread has rendered without the lock; what it rendered has lost its turn when it comes to send."""
    from ipyllm_widgets.live import LiveAnswer

    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    draw, deleted = LiveAnswer.draw, threading.Event()

    def deleted_meanwhile(live):
        drawn = draw(live)
        if drawn and not deleted.is_set():
            widget.comm.click("delete", id=widget.comm.shown().order[0])
            sent.extend(widget.comm.custom)
            deleted.set()
        return drawn

    sent = []
    monkeypatch.setattr(LiveAnswer, "draw", deleted_meanwhile)
    widget.send("Hello")
    assert deleted.wait(30)
    assert widget.comm.wait_until_rest().turns == []
    assert [message for message in widget.comm.custom[len(sent) :] if message["kind"] == "delta"] == []


def test_an_error_is_shown_with_its_sentence_and_trying_again_replaces_it(chat, models):
    models.default = status(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
    widget = chat()
    with pytest.raises(LLMError):
        widget.send("Hello").wait()
    shown = widget.comm.wait_until_rest()
    assert shown.turns[0]["status"] == "error"
    assert "key" in shown.turns[0]["error"]
    models.default = answer("Hi.")
    widget.comm.click("again", id=shown.order[0])
    shown = widget.comm.wait_until_rest()
    assert [(turn["status"], turn["error"]) for turn in shown.turns] == [("ok", None)]


def test_a_wrong_model_is_said_in_the_widget_and_the_question_is_not_lost(chat, models):
    widget = chat()
    said = widget.comm.click("set", model="opnai/fake-model")
    assert "did you mean 'openai/fake-model'" in said["error"]
    said = widget.comm.click("send", text="Hello")
    shown = widget.comm.wait_until_rest()
    assert shown.turns[0]["error"] == said["error"]
    widget.comm.click("set", model="openai/fake-model")
    widget.comm.click("again", id=shown.order[0])
    assert widget.comm.wait_until_rest().turns[0]["status"] == "ok"
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
    assert widget.comm.shown().settings["system"] == "Be brief."
    widget.system = ""
    assert widget.system is None


def test_the_conversation_is_shared_with_whoever_has_its_name(chat, models):
    widget = chat("shared")
    shared = conversation("shared")
    shared.put_turn(
        Turn([{"role": "user", "content": "from a cell"}, {"role": "assistant", "content": "*yes*"}], "c#1")
    )
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 1)
    assert "<em>yes</em>" in shown.html()
    widget.send("from the chat").wait()
    assert texts(shared.get_messages())[:3] == ["from a cell", "*yes*", "from the chat"]
    shared.put_turn(Turn([{"role": "user", "content": "again"}, {"role": "assistant", "content": "never"}], "c#1"))
    shown = widget.comm.wait_for(lambda shown: "never" in shown.html(0))
    assert shown.turns[0]["text"] == "again"
    other = chat("shared")
    assert [turn["text"] for turn in other.comm.shown().turns] == ["again", "from the chat"]
    shared.clear()
    widget.comm.wait_for(lambda shown: not shown.turns)


def test_a_cell_that_changes_the_conversation_while_an_answer_streams_loses_neither(chat, models):
    models.default = answer("one two three four", ttft=0.2, gap=0.2)
    widget = chat("busy")
    call = widget.send("slow")
    widget.comm.wait_for(lambda shown: shown.turns and "one" in shown.html())
    turn = Turn([{"role": "user", "content": "quick"}, {"role": "assistant", "content": "done"}], "c#1")
    conversation("busy").put_turn(turn)
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 2)
    assert [turn["text"] for turn in shown.turns] == ["quick", "slow"]
    call.wait()
    shown = widget.comm.wait_until_rest()
    assert [turn["text"] for turn in shown.turns] == ["quick", "slow"]
    assert "one two three four" in shown.html()
    assert texts(widget.messages) == ["quick", "done", "slow", "one two three four"]


@pytest.mark.parametrize(
    ("change", "left", "kept"),
    [
        (lambda shared: shared.clear(), ["slow"], ["slow", "one two three four"]),
        (lambda shared: shared.undo(), ["first", "slow"], ["first", "A", "slow", "one two three four"]),
        (lambda shared: shared.undo(2), ["slow"], ["slow", "one two three four"]),
        (
            lambda shared: shared.restore(ConversationHistory.from_messages([{"role": "user", "content": "loaded"}])),
            ["loaded", "slow"],
            ["loaded", "slow", "one two three four"],
        ),
    ],
    ids=["clear", "undo", "undo 2", "load"],
)
def test_what_a_magic_takes_from_the_conversation_is_gone_and_the_answer_that_streams_is_not(
    chat, models, change, left, kept
):
    widget = chat()
    models.default = answer("A")
    for text in ("first", "second"):
        widget.send(text).wait()
    models.default = answer("one two three four", ttft=0.2, gap=0.2)
    call = widget.send("slow")
    widget.comm.wait_for(lambda shown: "one" in shown.html())
    change(widget.conversation)
    shown = widget.comm.wait_for(lambda shown: [turn["text"] for turn in shown.turns] == left)
    assert shown.running == shown.order[-1]
    call.wait()
    shown = widget.comm.wait_until_rest()
    assert [turn["text"] for turn in shown.turns] == left
    assert "one two three four" in shown.html()
    assert texts(widget.messages) == kept
    assert widget.comm.click("again", id=shown.order[-1])["error"] is None
    widget.comm.wait_until_rest()
    assert texts(models.requests[-1].json["messages"]) == kept[:-1]


def test_an_undo_after_the_end_takes_the_answer_away_and_a_widget_that_is_asked_again_goes_on(chat, models):
    widget = chat()
    widget.send("first").wait()
    shown = widget.comm.wait_until_rest()
    widget.conversation.undo()
    widget.comm.wait_for(lambda shown: not shown.turns)
    assert "not there any more" in widget.comm.click("again", id=shown.order[0])["error"]
    widget.send("second").wait()
    assert texts(models.requests[-1].json["messages"]) == ["second"]


def test_a_hundred_quick_clicks_on_send_stop_and_again_leave_a_whole_chat_and_a_row_for_each_request(chat, models):
    models.default = answer("one two three", ttft=0.3)
    widget = chat("clicks")
    said = [widget.comm.click("send", text=f"q{n}") for n in range(100)]
    assert [ack["error"] is None for ack in said].count(True) == 1
    assert "stop it first" in said[1]["error"]
    models.default = answer("one two three", ttft=0.01)
    begun = dict.fromkeys(("send", "stop", "again"), 0)
    for n in range(300):
        command = ("stop", "again", "send")[n % 3]
        shown = widget.comm.shown()
        error = widget.comm.click(command, id=shown.order[-1], text=f"more {n}")["error"]
        assert error is None or "stop it first" in error
        begun[command] += error is None
        if n % 4 == 0:
            widget.comm.wait_until_rest()
    shown = widget.comm.wait_until_rest()
    assert min(begun.values()) > 10, "all three were done, many times"
    rows = usage().query("conversation == 'clicks'")
    assert len(rows) == 1 + begun["send"] + begun["again"]
    assert set(rows["status"]) == {"ok", "cancelled"}
    assert len(models.requests) <= len(rows), "who is stopped at once may never be sent"
    assert texts(widget.messages)[::2] == [turn["text"] for turn in shown.turns if turn["parts"].get("text")]
    widget.send("After all that").wait()
    assert widget.comm.wait_until_rest().turns[-1]["status"] == "ok"


def test_an_interrupt_in_the_middle_of_a_click_is_answered_and_leaves_a_chat_that_works(chat, models, monkeypatch):
    """Python raises it in the main thread wherever that stands: here in a command, which no cell would show."""
    from ipyllm import OpenAIService

    widget = chat()
    widget.send("Hello").wait()
    shown = widget.comm.wait_until_rest()
    stop = widget.conversation.observe(lambda: signal.raise_signal(signal.SIGINT))
    assert widget.comm.click("delete", id=shown.order[0])["error"] == "Interrupted before it was done: try again."
    stop()
    call = OpenAIService.call

    def interrupted(*args, **options):
        call(*args, **options)
        signal.raise_signal(signal.SIGINT)

    models.default = answer("Late.", ttft=0.2)
    with monkeypatch.context() as patched:
        patched.setattr(OpenAIService, "call", interrupted)
        assert widget.comm.click("send", text="Again")["error"] == "Interrupted before it was done: try again."
    assert not widget.running
    shown = widget.comm.wait_for(lambda shown: "Late." in shown.html())
    assert shown.turns[-1]["status"] == "ok", "what was sent already is not lost"
    widget.send("Once more").wait()
    assert texts(models.requests[-1].json["messages"])[-3:] == ["Again", "Late.", "Once more"]


def test_who_waited_for_an_answer_can_ask_the_next_at_once(chat, models):
    widget = chat()
    for n in range(30):
        widget.send(f"question {n}").wait()
    assert len(widget.messages) == 60


def test_an_answer_that_cannot_be_drawn_is_said_and_ends_and_the_next_is_drawn(chat, models, monkeypatch):
    from ipyllm_widgets.live import LiveAnswer

    draw = LiveAnswer.draw

    def broken(live):
        draw(live)
        raise RecursionError("too deep")

    widget = chat()
    with monkeypatch.context() as patched:
        patched.setattr(LiveAnswer, "draw", broken)
        widget.send("Hello").wait()
        widget.comm.wait_until_rest()
    notices = [message["text"] for message in widget.comm.custom if message["kind"] == "notice"]
    assert "ipyllm failed: RecursionError: too deep" in notices
    models.default = answer("Drawn.")
    widget.send("And now?").wait()
    assert "Drawn." in widget.comm.wait_until_rest().html()
    assert len(widget.messages) == 4, "what came is in the conversation"


def test_threads_that_ask_at_once_start_one_answer(chat, models):
    models.default = answer("one two three", ttft=0.3)
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
        {"command": "select", "id": "t1", "to": "x"},
        {"command": "select", "id": "nope", "to": 1},
        {"command": "again"},
        {"command": "delete", "id": "t99"},
        {"command": "set", "params": []},
        {"command": "export", "format": "exe"},
        {"command": "text", "id": "t1", "nonce": {"a": 1}},
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
    "hello": ["seq"], "send": ["text"], "stop": ["x"], "again": ["id"], "edit": ["id", "text"], "select": ["id", "to"],
    "delete": ["id"], "clear": ["x"], "set": ["model", "system", "params"], "text": ["id"], "export": ["format"],
}  # fmt: skip


@pytest.mark.parametrize("command", FIELDS)
def test_junk_in_any_field_of_any_command_is_answered_and_leaves_a_chat_that_works(chat, models, command):
    widget = chat()
    widget.send("Hello").wait()
    shown = widget.comm.wait_until_rest()
    assert set(FIELDS) == widget._commands
    right = {"id": shown.order[0], "to": 1, "text": "Hi", "seq": 0, "format": "md"}
    for field in FIELDS[command]:
        for junk in JUNK:
            given = {name: right.get(name) for name in FIELDS[command] if name in right} | {field: junk}
            said = widget.comm.click(command, **given)
            assert said["error"] is None or said["error"][-1] in ".?…", said
            assert "ipyllm failed" not in str(said["error"]), said
            shown = widget.comm.wait_until_rest()
            right["id"] = shown.order[-1] if shown.order else "none"
    widget.comm.click("set", model="openai/fake-model", system="", params={})
    models.default = answer("Whole.")
    assert widget.comm.click("send", text="Still there?")["error"] is None
    assert "Whole." in widget.comm.wait_until_rest().html()


def test_buffers_that_are_no_images_are_refused_in_a_sentence(chat, models):
    widget = chat()
    for junk in (b"", b"junk", PNG[:4], b"<svg onload=alert(1)>", b"\x00" * 1000):
        assert "PNG, JPEG, GIF or WebP" in widget.comm.click("send", text="Look", buffers=[junk])["error"]
    assert models.requests == []


def test_a_view_that_has_seen_less_gets_a_snapshot_and_one_that_has_seen_all_does_not(chat, models):
    widget = chat()
    widget.send("Hello").wait()
    seq = widget.comm.wait_until_rest().seq
    widget.comm.click("hello", seq=seq)
    assert [message["kind"] for message in widget.comm.custom[-2:]].count("snapshot") == 0
    widget.comm.click("hello", seq=0)
    snapshot = widget.comm.custom[-2]
    assert snapshot["kind"] == "snapshot"
    assert snapshot["state"]["seq"] == seq
    assert snapshot["state"]["turns"][0]["text"] == "Hello"


def test_a_snapshot_in_the_middle_of_an_answer_and_the_deltas_after_it_fit_together(chat, models):
    models.default = answer(" ".join(f"w{n}" for n in range(60)), gap=0.02)
    widget = chat()
    call = widget.send("Hello")
    widget.comm.wait_for(lambda shown: shown.turns and "w5" in shown.html())
    widget.comm.click("hello", seq=-1)
    snapshot = next(message for message in widget.comm.custom if message["kind"] == "snapshot")
    assert snapshot["state"]["running"] == "t1"
    assert "w5" in snapshot["state"]["turns"][0]["parts"]["text"]["tail"]
    call.wait()
    assert "w59" in widget.comm.wait_until_rest().html()


def test_images_go_to_the_model_and_are_shown_by_their_bytes_not_their_name(chat, models):
    widget = chat()
    assert widget.comm.click("send", text="What is this?", buffers=[memoryview(PNG)])["error"] is None
    shown = widget.comm.wait_until_rest()
    assert shown.turns[0]["images"][0].startswith("data:image/png;base64,")
    part = models.requests[-1].json["messages"][-1]["content"][1]
    assert part["image_url"]["url"] == shown.turns[0]["images"][0]
    said = widget.comm.click("send", text="And this?", buffers=[b"<svg onload=alert(1)>"])
    assert "PNG, JPEG, GIF or WebP" in said["error"]
    said = widget.comm.click("send", text="And this?", buffers=[PNG + bytes(50_000_000)])
    assert said["error"] == "The image is 50.0 MB; the most is 5.0 MB: make it smaller first."
    said = widget.comm.click("send", text="", buffers=[PNG + bytes(4_500_000)] * 2)
    assert "9.0 MB together" in said["error"]
    with pytest.raises(LLMError, match="cannot be read: No such file"):
        widget.send("Look", images=["no-such.png"])


def test_editing_a_question_keeps_its_images(chat, models):
    widget = chat()
    widget.send("What is this?", images=[PNG]).wait()
    shown = widget.comm.wait_until_rest()
    widget.comm.click("edit", id=shown.order[0], text="Describe it.")
    shown = widget.comm.wait_until_rest()
    assert (shown.turns[0]["text"], len(shown.turns[0]["images"])) == ("Describe it.", 1)


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice, about what a loopback write may take
def test_two_megabytes_of_text_are_asked_whole_and_shown_in_part(chat, models):
    text = "wörd " * 400_000
    widget = chat()
    widget.comm.click("send", text=text)
    shown = widget.comm.wait_until_rest()
    assert models.requests[-1].json["messages"][-1]["content"] == text
    assert (len(shown.turns[0]["text"]), shown.turns[0]["chars"]) == (20_000, len(text))
    widget.comm.click("text", id=shown.order[0])
    assert widget.comm.custom[-2]["text"] == text


def test_tools_run_and_are_shown_with_arguments_and_result(chat, models):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    models.reply(answer("", tool_calls=[("add", {"a": 2, "b": 40})]), answer("It is 42 <b>."))
    widget = chat(tools=[add])
    assert widget.send("2 + 40?").wait().content == "It is 42 <b>."
    shown = widget.comm.wait_until_rest()
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
    assert "Let me look." in widget.comm.wait_until_rest().html()
    assert texts(widget.messages) == ["Where is it?", "Let me look."]


def test_an_attempt_that_is_made_again_after_text_replaces_what_was_shown(chat, models, monkeypatch):
    from ipyllm import OpenAIService

    models.reply(fakes.reset("first attempt", after=1), answer("second"))
    widget = chat()
    request = OpenAIService.request

    def patient(self, *args, **options):
        return request(self, *args, **options, retry_after_text=True)

    monkeypatch.setattr(OpenAIService, "request", patient)
    widget.send("Hello").wait()
    html = widget.comm.wait_until_rest().html()
    assert "second" in html
    assert "first" not in html


def test_the_ledger_says_that_the_widget_asked_and_for_which_conversation(chat, models):
    widget = chat("in-ledger")
    widget.send("Hello").wait()
    row = usage().iloc[-1]
    assert (row["origin"], row["conversation"]) == ("widget", "in-ledger")


def test_clear_forgets_turns_and_branches_but_not_the_system_prompt(chat, models):
    widget = chat(system="Be brief.")
    widget.send("Hello").wait()
    widget.comm.wait_until_rest()
    widget.clear()
    assert widget.comm.shown().turns == []
    assert texts(widget.messages) == ["Be brief."]


def test_a_model_removed_while_selected_stays_what_is_asked(chat, models):
    widget = chat(models=["openai/fake-model", "openai/other"], model="openai/other")
    widget.models = ["openai/fake-model"]
    shown = widget.comm.shown()
    assert (shown.settings["model"], shown.settings["models"]) == ("openai/other", ["openai/fake-model"])
    widget.send("Hello").wait()
    assert models.requests[-1].json["model"] == "other"


def test_a_model_that_the_server_has_no_more_is_said_and_another_can_be_asked_the_same(chat, models):
    widget = chat(model="openai/going")
    widget.send("first").wait()
    widget.comm.wait_until_rest()
    models.on(lambda request: fakes.model_not_found("going") if request.json["model"] == "going" else None)
    widget.comm.click("send", text="second")
    shown = widget.comm.wait_until_rest()
    assert shown.turns[-1]["status"] == "error"
    assert "going" in shown.turns[-1]["error"]
    widget.comm.click("set", model="openai/other")
    widget.comm.click("again", id=shown.order[-1])
    widget.comm.wait_until_rest()
    assert texts(widget.messages)[::2] == ["first", "second"]
    assert models.requests[-1].json["model"] == "other"


def test_a_service_taken_out_of_the_settings_is_said_the_question_stays_and_the_picker_offers_it_no_more(
    chat, models, monkeypatch, tmp_path
):
    config = tmp_path / "with-lab.toml"
    config.write_text(f'[endpoints.lab]\nbase_url = "{models.base_url}"\nmodel = "llama"\n')
    monkeypatch.setenv("IPYLLM_CONFIG", str(config))
    widget = chat(model="lab/llama")
    assert "lab/llama" in widget.comm.shown().settings["models"]
    models.default = answer("one two three", ttft=0.2, gap=0.1)
    call = widget.send("first")
    config.write_text("")
    assert call.wait().status == "ok", "what was asked goes on"
    widget.comm.wait_until_rest()
    said = widget.comm.click("send", text="second")
    assert said["error"].startswith("There is no service 'lab'")
    shown = widget.comm.wait_until_rest()
    assert shown.turns[-1]["text"] == "second"
    assert shown.turns[-1]["error"] == said["error"]
    assert "lab/llama" not in shown.settings["models"]
    assert shown.settings["model"] == "lab/llama", "it shows what is chosen, wrong as it is"
    widget.comm.click("set", model="openai/fake-model")
    widget.comm.click("again", id=shown.order[-1])
    widget.comm.wait_until_rest()
    assert texts(widget.messages)[::2] == ["first", "second"]


def test_without_models_the_picker_offers_what_is_configured(chat, models):
    offered = chat().comm.shown().settings["models"]
    assert offered[0] == "openai/fake-model"
    assert "openai/gpt-5-mini" in offered
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
    assert "## You\n\nHow?  {{ braces }}\n\n## Model\n\nUse **bold**." in widget.export("md")
    page = widget.export("html", tmp_path / "chat.html")
    assert (tmp_path / "chat.html").read_text() == page
    assert "<strong>bold</strong>" in page
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
    assert sent <= 60_000
    assert "eval(" not in opened["state"]["_esm"]
    assert "http" not in opened["state"]["_css"]
    assert json.dumps(opened["state"]).count("http://www.w3.org/2000/svg") == 1, "the one address is a name space"


def test_lone_surrogates_in_a_question_from_python_and_in_an_answer_reach_the_page_as_replacement_characters(
    chat, models
):

    def escaped(events):
        return [e._replace(payload=f"data: {json.dumps(e.payload)}\n") if e.kind == "token" else e for e in events]

    models.default = answer("before \ud83d after").edited(escaped)
    widget = chat(system="Be \ud800 brief.")
    widget.send("What is \ud800?").wait()
    shown = widget.comm.wait_until_rest()
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


def test_what_did_not_fit_the_window_is_said_at_the_turn_and_only_there(chat, models, monkeypatch):
    # The tables know the windows of the makers' own addresses only; this stands for one of those.
    monkeypatch.setattr(OpenAIService, "context_window", lambda _: 60)
    widget = chat()
    models.default = answer("word " * 12)
    widget.send("first").wait()
    assert widget.comm.wait_until_rest().turns[-1]["note"] == ""
    for question in ("second", "third"):
        widget.send(question).wait()
    assert "first" not in texts(models.requests[-1].json["messages"])
    turns = widget.comm.wait_until_rest().turns
    assert turns[-1]["note"].startswith("Left out to fit: the oldest ")
    assert turns[0]["note"] == ""
    assert widget.messages[0]["content"] == "first", "nothing of it is lost"
    monkeypatch.setattr(OpenAIService, "context_window", lambda _: None)
    widget.comm.click("again", id=turns[-1]["id"])
    assert widget.comm.wait_until_rest().turns[-1]["note"] == ""


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


# ---- what is handed over from Python ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"models": "openai/a"}, "models is a list of names, like \\['openai/a', …\\]"),
        ({"models": [5]}, "models is a list of names"),
        ({"model": 5}, "named by text like 'openai/gpt-5', not by int"),
        ({"model": "opnai/x"}, "There is no service 'opnai'"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"system": 5}, "A system prompt is text, not int"),
        ({"tools": abs}, "tools is a list of functions"),
        ({"tools": 5}, "tools is a list of functions"),
        ({"name": ""}, "A conversation has a name, like 'default', not ''"),
        ({"name": None}, "A conversation has a name, like 'default', not None"),
        ({"came_from": "me"}, "'came_from' is set by the widget"),
        ({"user": {1, 2}}, "user must be what JSON can hold, not set"),
    ],
)
def test_what_cannot_be_right_is_one_sentence_and_no_page_is_told_of_a_widget(chat, monkeypatch, options, says):
    told = []
    monkeypatch.setattr(comm, "create_comm", lambda **given: told.append(given))
    with pytest.raises(LLMError, match=says):
        chat(**options)
    assert told == []


@pytest.mark.parametrize("name", ["tools", "conversation_history", "came_from", "system"])
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
        (5, (), "A question is text, not int"),
        (b"x", (), "A question is text, not bytes"),
        ("x", "picture.png", "images is a list of paths or bytes"),
        ("x", b"\x89PNG", "images is a list of paths or bytes"),
        ("x", None, "images is a list of paths or bytes"),
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
    with pytest.raises(LLMError, match="A key is no parameter of a widget"):
        chat(api_key=key)
    widget = chat()
    answered = widget.comm.click("set", params={"api_key": key})
    assert "A key is no parameter" in answered["error"]
    assert key not in str(widget.comm.sent)
