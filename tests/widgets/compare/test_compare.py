"""The comparison widget without a browser: messages to the page, votes and the ranking."""

from __future__ import annotations

import json
import re
import threading
import time

import comm
import pytest

from ipyllm import CompareWidget, LLMError, usage, votes
from ipyllm.runtime.service_thread import stop_service_thread
from tests.fakes import Script, answer, model_not_found, server_error, stall

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture
def two(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    monkeypatch.setenv("IPYLLM_MAX_RETRIES", "0")

    def by_model(request) -> Script | None:
        return {
            "good": answer("It is **Bern**."),
            "bad": answer("It is Basel."),
            "slow": stall("It", after=1),
            "broken": server_error(),
        }.get(request.json["model"])

    fake.on(by_model)
    return fake


@pytest.fixture
def widget():
    made = []

    def make(*models, **options):
        made.append(CompareWidget(models=[f"openai/{model}" for model in models], **options))
        made[-1].sent_messages = []
        made[-1].channel._send = lambda message, buffers: made[-1].sent_messages.append(message)
        return made[-1]

    yield make
    for one in made:
        one.close()


def eventually(claim, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


def shown(widget):
    return {turn["mark"]: turn for turn in widget._controller.snapshot()["turns"]}


def text_of(turn):
    part = turn["parts"].get("text", {"blocks": [], "tail": ""})
    return re.sub(r"<[^>]+>", "", "".join(part["blocks"]) + part["tail"]).strip()


def asked(widget, prompt="Which capital?"):
    comparison = widget.ask(prompt)
    comparison.wait()
    eventually(lambda: not widget.running)
    with widget.channel.lock:  # within which it came to rest, and told so
        return comparison


def test_all_are_asked_at_once_and_every_answer_has_its_column(two, widget):
    both = widget("good", "bad")
    asked(both)
    columns = shown(both)
    assert {mark: text_of(turn) for mark, turn in columns.items()} == {"A": "It is Bern.", "B": "It is Basel."}
    assert [turn["label"] for turn in columns.values()] == ["good", "bad"]
    assert "tokens" in columns["A"]["footer"]
    assert set(usage()["origin"]) == {"widget"}
    assert usage()["tags"].map(lambda tags: tags["comparison"]).nunique() == 1


def test_what_the_page_was_told_in_pieces_is_what_a_snapshot_says(two, widget):
    both = widget("good", "bad")
    both._controller.snapshot()
    both.sent_messages.clear()
    asked(both)
    turns: dict = {}
    seqs = []
    for message in both.sent_messages:
        if message["kind"] in {"update", "delta"}:
            seqs.append(message["seq"])
        for turn in message.get("turns", []):
            turns.setdefault(turn["id"], {"parts": {}}).update(turn)
        for delta in message.get("deltas", []):
            part = turns[delta["id"]]["parts"].setdefault(delta["part"], {"blocks": [], "tail": ""})
            start, middle, end = delta["tail"]
            part["blocks"] = part["blocks"] + delta.get("add", [])
            part["tail"] = part["tail"][:start] + middle + part["tail"][len(part["tail"]) - end :]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert list(turns.values()) == both._controller.snapshot()["turns"]


def test_one_failing_model_does_not_stop_the_others(two, widget):
    pair = widget("broken", "good")
    asked(pair)
    columns = shown(pair)
    assert sorted(turn["status"] for turn in columns.values()) == ["error", "ok"]
    failed = next(turn for turn in columns.values() if turn["status"] == "error")
    assert failed["error"]


def test_stop_keeps_what_came_of_every_answer(two, widget):
    pair = widget("slow", "good")
    pair.ask("Which capital?")
    eventually(lambda: "It" in text_of(shown(pair)["A"]) and shown(pair)["B"]["status"] == "ok")
    pair.stop()
    eventually(lambda: not pair.running)
    assert text_of(shown(pair)["A"]) == "It"
    assert shown(pair)["A"]["status"] == "cancelled"
    assert set(usage()["status"]) == {"cancelled", "ok"}


def test_one_answer_alone_can_be_stopped(two, widget):
    pair = widget("slow", "good")
    pair.ask("Which capital?")
    eventually(lambda: shown(pair)["B"]["status"] == "ok")
    pair._on_command(pair, {"command": "stop", "nonce": "1", "mark": "A", "question": 1}, [])
    eventually(lambda: not pair.running)
    assert shown(pair)["A"]["status"] == "cancelled"


def test_a_blind_comparison_tells_no_name_before_the_vote(two, widget):
    pair = widget("good", "bad", blind=True)
    comparison = asked(pair)
    before = [turn for message in pair.sent_messages for turn in message.get("turns", [])]
    assert before
    assert not re.search(r"openai|good|bad(?!ly)", str([{**turn, "parts": None} for turn in before]))
    assert {turn["label"] for turn in shown(pair).values()} == {""}
    best = next(mark for mark, turn in shown(pair).items() if "Bern" in text_of(turn))
    assert pair.vote(best) == "good"
    assert {turn["label"] for turn in shown(pair).values()} == {"good", "bad"}
    assert shown(pair)[best]["preferred"]
    row = votes().iloc[0]
    assert (row["outcome"], bool(row["blind"]), row["origin"]) == ("openai/good", True, "widget")
    assert set(row["arms"].values()) == {response.call_id for response in comparison.responses}


def test_a_failure_of_a_blind_arm_does_not_name_it(two, widget):
    pair = widget("good", "broken", blind=True)
    asked(pair)
    assert any(turn["error"] for turn in shown(pair).values())
    assert not re.search("broken|openai", str([turn["error"] for turn in shown(pair).values()]))


def test_votes_make_a_ranking_with_intervals(two, widget):
    pair = widget("good", "bad")
    for _ in range(3):
        asked(pair)
        pair.vote("A")
    asked(pair)
    pair.vote("tie")
    table = pair.ranking()
    assert list(table.index) == ["openai/good", "openai/bad"]
    assert table.loc["openai/good", ["wins", "ties"]].tolist() == [3, 1]
    html = pair._controller.snapshot()["totals"]
    assert "95 % interval" in html
    assert html.index("openai/good") < html.index("openai/bad")


def test_a_model_that_failed_is_in_no_vote_and_no_ranking(two, widget):
    three = widget("good", "broken", "bad")
    for question in (1, 2):
        asked(three)
        three._on_command(three, {"command": "vote", "which": "B", "question": question}, [])
        assert three.sent_messages[-1]["error"].startswith("B has no complete answer")
        three.vote("A")
    table = three.ranking()
    assert sorted(table.index) == ["openai/bad", "openai/good"]
    assert (table["votes"] == 2).all()
    assert "1 prompt is too little to rank 2 arms" in three._controller.snapshot()["totals"]


def test_a_second_vote_takes_the_place_of_the_first(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    pair.vote("B")
    pair.vote("both_bad")
    assert votes()["outcome"].tolist() == ["both_bad"]


def test_who_waited_for_the_answers_can_vote_and_ask_again_at_once(two, widget):
    compare = widget("good", "bad")
    for mark in "ABAB":
        compare.ask("Capital?").wait()
        compare.vote(mark)
    assert len(votes()) == 4
    assert len(two.requests) == 8


def test_an_answer_that_cannot_be_rendered_ends_and_keeps_no_other_from_its_end(two, widget, hook_rendering):
    compare = widget("good", "bad")

    def fail(text):
        if "Bern" in text:
            raise RuntimeError("no pen")

    hook_rendering(fail)
    compare.ask("Capital?").wait()
    eventually(lambda: not compare.running)
    compare.vote("B")
    eventually(lambda: any(m["kind"] == "notice" and "no pen" in m["text"] for m in compare.sent_messages))


def test_an_interrupt_while_it_is_sent_leaves_a_widget_that_can_ask(two, widget, interrupt_next_call):
    compare = widget("good", "bad")
    interrupt_next_call()
    with pytest.raises(KeyboardInterrupt):
        compare.ask("Capital?")
    assert not compare.running
    compare.ask("Capital?").wait()
    assert compare.vote("tie") == "tie"


def test_each_model_has_parameters_of_its_own(two, widget):
    pair = widget("good", "good", each=[{"temperature": 0}, {"temperature": 1}], max_tokens=50)
    asked(pair)
    assert sorted(request.json["temperature"] for request in two.requests) == [0, 1]
    assert {request.json["max_tokens"] for request in two.requests} == {50}


@pytest.mark.parametrize(
    ("models", "options", "says"),
    [
        (["good", "bad"], {"temperature": 9}, "temperature"),
        (["good", "bad"], {"each": [{}]}, "each has parameters for 1 models, but there are 2"),
        (["good", "bad"], {"temprature": 0}, "temperature"),
        (["good", "bad"], {"name": "x"}, "'name' is set by the widget"),
        (["good", "bad"], {"each": [5, {}]}, "Parameters must be a mapping"),
        (["good", "bad"], {"each": [{"api_key": "sk-x"}, {}]}, "A widget takes no API key"),
        (["good", "bad"], {"api_key": "sk-x"}, "A widget takes no API key"),
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
    assert "another question was asked" in pair.sent_messages[-1]["error"]
    assert votes().empty
    pair._on_command(pair, {"command": "vote", "which": "A", "question": 2}, [])
    assert pair.sent_messages[-1]["error"] is None
    assert votes()["prompt"].tolist() == ["And the next?"]
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
    assert pair._controller.snapshot()["settings"]["chars"] == len(book)
    pair._on_command(pair, {"command": "text", "nonce": "1"}, [])
    assert [message["text"] for message in pair.sent_messages if message["kind"] == "text"] == [book]
    assert two.requests[0].json["messages"][-1]["content"] == book
    html, _ = pair._controller.static_content()
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
    html = pair._controller.snapshot()["totals"] + "".join(text for text in pair._controller.static_content())
    html += "".join("".join(turn["parts"]["text"]["blocks"]) for turn in shown(pair).values())
    outside = html.replace(repr(pair.comparison), "").replace(HOSTILE, "", 1)
    assert not re.search(r"<(img|script)", outside)


def test_what_came_is_in_the_static_output_before_the_end(two, widget, published):
    pair = widget("slow", "good")
    pair._ipython_display_()
    pair.ask("Which capital?")
    eventually(lambda: "Which capital?" in published[-1]["data"]["text/html"])
    html = published[-1]["data"]["text/html"]
    assert "The answer was incomplete when the notebook was saved." in html
    assert "ipyllm-waiting" not in html.split("</style>")[-1], "nothing spins in a saved notebook"
    eventually(lambda: "It" in text_of(shown(pair)["A"]) and shown(pair)["B"]["status"] == "ok")
    pair._controller.refresh()
    eventually(lambda: "It is **Bern**." in published[-1]["data"]["text/plain"])
    assert "<p>It</p>" in published[-1]["data"]["text/html"]
    pair.stop()
    eventually(lambda: not pair.running and "cancelled" in published[-1]["data"]["text/html"])
    assert "was incomplete" not in published[-1]["data"]["text/html"]


def test_the_comparison_is_kept_beside_the_widget(two, widget):
    pair = widget("good", "bad")
    assert pair._controller.static_content() == ("", "")
    asked(pair)
    html, text = pair._controller.static_content()
    assert "<strong>Bern</strong>" in html
    assert "Which capital?" in text


def test_closing_a_widget_whose_answers_are_there_starts_no_thread(two, widget):
    """Widgets are collected when the interpreter ends, where the start of a thread would wait for ever."""
    pair = widget("good", "bad")
    asked(pair)
    stop_service_thread()
    pair.close()
    assert "ipyllm-service" not in {thread.name for thread in threading.enumerate()}


def test_the_page_offers_the_efforts_that_all_models_take(two, widget):
    compared = widget("gpt-6-luna", "gpt-6.1-sol")
    assert compared._controller._settings()["efforts"] == ["low", "medium", "high", "xhigh", "max"]
    assert widget("gpt-6-luna", "good")._controller._settings()["efforts"] == []


def test_models_that_retire_are_named_below_the_answers_once(two, widget, own_settings):
    (own_settings / "config.toml").write_text('[profiles."openai/good"]\nretires = 2020-01-01\n')
    both = widget("good", "bad")
    note = "openai/good was retired on 2020-01-01."
    asked(both)
    assert both._controller.snapshot()["totals"].count(note) == 1
    html, text = both._controller.static_content()
    assert html.count(note) == text.count(note) == 1
    asked(both)
    assert note not in both._controller.snapshot()["totals"]
