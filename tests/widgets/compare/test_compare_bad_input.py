"""The comparison widget and what it should not get: wrong options, malformed commands, hostile text."""

from __future__ import annotations

import json
import re

import comm
import pytest

from ipyllm import CompareWidget, LLMError, votes
from tests.fakes import answer, model_not_found
from tests.widgets.compare.comparing import asked, eventually, rounds, shown, text_of

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.mark.parametrize(
    ("models", "options", "says"),
    [
        (["good", "bad"], {"temperature": 9}, "temperature"),
        (["good", "bad"], {"each": [{}]}, "each has parameters for 1 models, but there are 2"),
        (["good", "bad"], {"temprature": 0}, "temperature"),
        (["good", "bad"], {"tools": []}, "'tools' is set by the widget"),
        (["good", "bad"], {"name": ""}, "The name of a comparison must be text"),
        (["good", "bad"], {"each": [5, {}]}, "Parameters must be a mapping"),
        (["good", "bad"], {"each": [{"api_key": "sk-x"}, {}]}, "A widget takes no API key"),
        (["good", "bad"], {"api_key": "sk-x"}, "A widget takes no API key"),
        (["good", "bad"], {"blnd": True}, "A comparison has no option 'blnd'; did you mean 'blind'?"),
        ([], {"modles": ["openai/good"]}, "A comparison has no option 'modles'; did you mean 'models'?"),
    ],
)
def test_what_cannot_be_right_is_one_sentence_and_no_page_is_told_of_a_widget(two, monkeypatch, models, options, says):
    comms = []
    monkeypatch.setattr(comm, "create_comm", lambda **given: comms.append(given))
    with pytest.raises(LLMError, match=re.escape(says)):
        CompareWidget(models=[f"openai/{model}" for model in models], **options)
    assert comms == []


def test_an_unknown_model_is_told_at_once(two):
    with pytest.raises(LLMError, match="did you mean"):
        CompareWidget(models=["opnai/good", "openai/bad"])
    with pytest.raises(LLMError, match="list of names"):
        CompareWidget(models="openai/good")


def test_what_cannot_be_asked_is_said_and_nothing_is_sent(two, widget):
    one = widget("good")
    with pytest.raises(LLMError, match="at least two models"):
        one.ask("Hello")
    pair = widget("slow", "good")
    with pytest.raises(LLMError, match="empty"):
        pair.ask("  ")
    with pytest.raises(LLMError, match="A question must be a string, not int"):
        pair.ask(5)
    with pytest.raises(LLMError, match="list of names"):
        pair.models = "openai/good"
    with pytest.raises(LLMError, match="Vote when all answers have ended"):
        pair.vote("A")
    assert not two.requests
    pair.ask("Hello")
    with pytest.raises(LLMError, match="still streaming"):
        pair.ask("Again")
    with pytest.raises(LLMError, match="Vote when all"):
        pair.vote("A")


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"command": "close"},
        {"command": "ask"},
        {"command": "ask", "prompt": 7},
        {"command": "vote", "which": "Z"},
        {"command": "set", "arms": [7]},
        {"command": "set", "arms": [{"model": ""}]},
        {"command": "set", "params": {"temperature": "hot"}},
        {"command": "set", "blind": 1},
        {"command": "set", "arms": [{"model": 7}]},
        {"command": "set", "arms": [{"model": "openai/good", "params": 7}]},
        {"command": "set", "arms": [{"model": "openai/good", "params": {"temperature": {}}}]},
        {"command": "set", "arms": [{"model": "x" * 100_000}]},
        {"command": "set", "params": {"temperature": float("nan")}},
        {"command": "set", "params": {"temperature": "hot" * 1000}},
        {"command": "stop", "mark": 1, "question": 0},
        {"command": "stop", "mark": "A"},
        {"command": "vote", "which": "A"},
        {"command": "vote", "which": "A", "question": 1},
        {"command": "vote", "which": "", "question": 0},
        {"command": "ask", "prompt": ""},
        {"command": "ask", "prompt": " \n\t"},
        {"command": []},
        {"command": {"ask": 1}},
        {"command": "_do_ask", "prompt": "x"},
        {"command": "ask", "nonce": {"a": [1]}},
        *(
            {"command": command, field: junk, "question": 0}
            for command, field in [("ask", "prompt"), ("vote", "which"), ("stop", "mark"), ("set", "arms"),
                                   ("set", "params"), ("set", "system"), ("set", "blind")]
            for junk in [None, 7, 0.5, [], {}, [None], {"a": {}}]
            if not (field == "params" and isinstance(junk, dict)) and not (field == "arms" and junk == [])
        ),
        *([], 7, "ask", True, [["command", "ask"]]),
    ],
    ids=lambda content: str(content)[:60],
)  # fmt: skip
def test_a_malformed_command_is_answered_with_a_sentence_and_changes_nothing(two, widget, content):
    pair = widget("good", "bad")
    before = pair._controller.snapshot()
    pair._on_command(pair, content, [])
    assert pair.sent_messages[-1]["kind"] == "ack"
    assert pair.sent_messages[-1]["error"]
    assert "ipyllm failed" not in pair.sent_messages[-1]["error"], "it was foreseen"
    assert len(pair.sent_messages[-1]["error"]) < 1100
    assert pair._controller.snapshot() == before
    assert not two.requests


def test_junk_while_answers_come_does_not_harm_them(two, widget):
    pair = widget("slow", "good")
    comparison = pair.ask("Which capital?")
    for content in [None, 7, {"command": "ask", "prompt": "Again"}, {"command": "vote", "which": "A", "question": 1},
                    {"command": "stop", "mark": "Z", "question": 1}, {"command": "set", "arms": 7}]:  # fmt: skip
        pair._on_command(pair, content, [b"junk"])
        assert pair.sent_messages[-1]["kind"] == "ack" or content is None
    eventually(lambda: shown(pair)["B"]["status"] == "ok")
    assert pair.comparison is comparison
    assert text_of(shown(pair)["B"]) == "It is Bern."
    assert shown(pair)["A"]["status"] == "running"


def test_the_same_vote_again_is_the_vote_there_is(two, widget):
    pair = widget("good", "bad", blind=True)
    asked(pair)
    put = pair.vote("A")
    n_sent = len(pair.sent_messages)
    assert {pair.vote("A") for _ in range(100)} == {put}
    assert len(pair.sent_messages) == n_sent
    assert votes()[["outcome", "blind"]].to_numpy().tolist() == [[f"openai/{put}", True]], (
        "blind, as when it was first cast"
    )


def test_a_vote_or_stop_that_comes_after_the_next_question_is_not_about_it(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    asked(pair, "And the next?")
    pair._on_command(pair, {"command": "vote", "which": "A", "question": 1}, [])
    assert votes()["prompt"].tolist() == ["Which capital?"]
    pair._on_command(pair, {"command": "vote", "which": "A", "question": 3}, [])
    assert pair.sent_messages[-1]["error"] == "This question is no longer shown."
    assert len(votes()) == 1
    pair.models = ["openai/slow", "openai/good"]
    pair.ask("A slow one")
    pair._on_command(pair, {"command": "stop", "question": 2}, [])
    eventually(lambda: shown(pair)["B"]["status"] == "ok")
    assert shown(pair)["A"]["status"] == "running"


def test_a_book_as_the_question_is_told_in_part_and_whole_when_asked_for(two, widget):
    pair = widget("good", "bad")
    book = "lorem ipsum 😀 " * 140_000
    asked(pair, book)
    pair.vote("A")
    assert len(str(pair.sent_messages)) + len(str(pair._controller.snapshot())) < 30_000
    assert rounds(pair)[0][0]["chars"] == len(book)
    pair._on_command(pair, {"command": "text", "nonce": "1"}, [])
    assert [message["text"] for message in pair.sent_messages if message["kind"] == "text"] == [book]
    pair._on_command(pair, {"command": "text", "nonce": "2", "mark": "A", "question": 1}, [])
    answered = pair.comparison.responses[0].content
    assert [message["text"] for message in pair.sent_messages if message["kind"] == "text"] == [book, answered]
    for wrong in ({"mark": "Z"}, {"mark": "A", "question": 0}):
        pair._on_command(pair, {"command": "text", "nonce": "3", **wrong}, [])
        assert pair.sent_messages[-1]["error"]
    assert two.requests[0].json["messages"][-1]["content"] == book
    html, *_ = pair._controller.static_content()
    assert len(html) < 30_000


@pytest.mark.parametrize("prompt", ["\x00 and \x1b[31m", "lone \ud800 surrogate", "\u202e rtl \ufeff", "😀" * 9000])
def test_strange_characters_are_asked_or_refused_in_one_sentence(two, widget, prompt):
    pair = widget("good", "bad")
    pair._on_command(pair, {"command": "ask", "nonce": "1", "prompt": prompt}, [])
    error = next(message["error"] for message in pair.sent_messages if message["kind"] == "ack")
    assert error is None or "ipyllm failed" not in error
    eventually(lambda: not pair.running)
    statuses = {turn["status"] for turn in shown(pair).values()}
    assert statuses in ({"ok"}, set()) if "\ud800" not in prompt else True
    json.dumps(pair._controller.snapshot()).encode()


def test_a_model_taken_away_while_it_answers_is_not_asked_again(two, widget):
    trio = widget("slow", "good", "bad")
    trio.ask("Which capital?")
    eventually(lambda: "It" in text_of(shown(trio)["A"]))
    trio._on_command(trio, {"command": "set", "arms": [{"model": "openai/good"}, {"model": "openai/bad"}]}, [])
    assert set(shown(trio)) == {"A", "B", "C"}, "what was asked goes on"
    trio.stop()
    eventually(lambda: not trio.running)
    asked(trio)
    assert [turn["label"] for turn in shown(trio).values()] == ["good", "bad"]


def test_a_model_that_the_server_no_longer_has_fails_alone(two, widget):
    two.on(lambda request: model_not_found() if request.json["model"] == "gone" else None)
    pair = widget("gone", "good")
    asked(pair)
    assert [turn["status"] for turn in shown(pair).values()] == ["error", "ok"]
    assert "gone" in shown(pair)["A"]["error"]


def test_hostile_names_prompts_and_answers_are_harmless(two, widget):
    two.default = answer(HOSTILE)
    pair = widget(HOSTILE.replace("/", ""), "x")
    asked(pair, HOSTILE)
    pair.vote("A")
    eventually(lambda: pair._controller.snapshot()["totals"])
    html = pair._controller.snapshot()["totals"] + "".join(text for text in pair._controller.static_content())
    html += "".join("".join(turn["parts"]["text"]["blocks"]) for turn in shown(pair).values())
    outside = html.replace(repr(pair.comparison), "").replace(HOSTILE, "", 1)
    assert not re.search(r"<(img|script)", outside)
