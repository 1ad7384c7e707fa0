"""The comparison widget without a browser: messages to the page, votes and the ranking."""

from __future__ import annotations

import re
import threading

import pytest

from ipyllm import usage, votes
from ipyllm.runtime.service_thread import stop_service_thread
from tests.widgets.compare.comparing import asked, eventually, rounds, shown, text_of


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
    eventually(lambda: "95 % interval" in pair._controller.snapshot()["totals"])
    html = pair._controller.snapshot()["totals"]
    assert html.index("openai/good") < html.index("openai/bad")
    assert "wins 2.7 times for each loss" in html, "what a strength of 1 means"
    assert "prior_sd" not in html


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
    eventually(lambda: "Votes on 1 prompt are too few to rank 2 arms" in three._controller.snapshot()["totals"])


def test_a_vote_is_shown_before_its_ranking_is_known(two, widget, monkeypatch):
    from ipyllm_widgets.compare import compare_controller

    may_rank = threading.Event()

    def slow(_shown) -> str:
        assert may_rank.wait(60)
        return "<p>ranked</p>"

    monkeypatch.setattr(compare_controller, "ranking_html", slow)
    pair = widget("good", "bad", blind=True)
    asked(pair)
    pair.vote("A")
    assert {turn["label"] for turn in shown(pair).values()} == {"good", "bad"}
    asked(pair, "Next?")
    may_rank.set()
    eventually(lambda: pair._controller.snapshot()["totals"] == "<p>ranked</p>")


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
    assert ">It</p>" in published[-1]["data"]["text/html"]
    pair.stop()
    eventually(lambda: not pair.running and "cancelled" in published[-1]["data"]["text/html"])
    assert "was incomplete" not in published[-1]["data"]["text/html"]


def test_the_comparison_is_kept_beside_the_widget(two, widget):
    pair = widget("good", "bad")
    assert pair._controller.static_content() == ("", "", "")
    asked(pair)
    html, text, _ = pair._controller.static_content()
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
    assert rounds(both)[0][0]["footer"].count(note) == 1
    html, text, _ = both._controller.static_content()
    assert html.count(note) == text.count(note) == 1
    asked(both)
    assert note not in rounds(both)[1][0]["footer"]
