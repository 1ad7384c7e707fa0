"""Rounds of a comparison: earlier ones stay, each model may keep its own history, one answer can be asked for again."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, usage, votes
from tests.fakes import answer
from tests.widgets.compare.comparing import asked, click, eventually, rounds, shown, text_of
from tests.widgets.page import PNG


def sent_by(fake, model):
    """Return the texts that this model was sent, one list for each request."""
    return [
        [message["content"] for message in request.json["messages"]]
        for request in fake.requests
        if request.json["model"] == model
    ]


def test_earlier_rounds_stay_above_with_their_votes(two, widget):
    pair = widget("good", "bad")
    asked(pair, "First?")
    pair.vote("A")
    asked(pair, "Second?")
    first, second = rounds(pair)
    assert [question["text"] for question, _ in (first, second)] == ["First?", "Second?"]
    assert [question["vote"] for question, _ in (first, second)] == ["good", None]
    assert text_of(first[1]["A"]) == text_of(second[1]["A"]) == "It is Bern."
    assert len(pair.comparisons) == 2
    html, text, markdown = pair._controller.static_content()
    for kept in (html, text, markdown):
        assert kept.index("First?") < kept.index("Second?")
    for _ in range(2):  # a click in a view that does not show it yet
        pair.clear()
    assert pair._controller.snapshot()["turns"] == []
    assert len(votes()) == 1
    assert click(pair, "undo_clear") is None
    assert rounds(pair) == [first, second]
    assert "can no longer be brought back" in click(pair, "undo_clear")
    pair.clear()
    asked(pair, "Third?")
    assert "can no longer be brought back" in click(pair, "undo_clear")


def test_the_letters_of_a_blind_conversation_stay_after_the_vote(two, widget):
    while True:
        pair = widget("good", "bad", blind=True, multi_turn=True)
        comparison = asked(pair, "First?")
        if comparison.arms[0].model == "openai/bad":  # the other order than that of the models
            break
    pair.vote("A")
    asked(pair, "Second?")
    first, second = rounds(pair)
    for _, answers in (first, second):
        assert [turn["label"] for turn in answers.values()] == ["bad", "good"]


def test_the_messages_of_a_round_are_the_same_until_it_is_asked_again(two, widget):
    pair = widget("good", "bad", multi_turn=True)
    asked(pair, "First?")

    def before():
        return [turn for call in pair._controller._next_calls() for turn in call.before]

    first, again = before(), before()
    assert len(first) == 2
    assert all(one is other for one, other in zip(first, again, strict=True)), "their tokens are counted once"
    assert click(pair, "regenerate", mark="A", question=1) is None
    eventually(lambda: not pair.running)
    assert before()[0] is not first[0]
    assert before()[1] is first[1]


def test_a_vote_is_on_the_answers_of_its_question(two, widget):
    pair = widget("good", "bad")
    first = asked(pair, "First?")
    second = asked(pair, "Second?")
    assert click(pair, "vote", which="A", question=1) is None
    assert click(pair, "vote", which="B", question=2) is None
    assert votes().set_index("comparison")["outcome"].to_dict() == {first.id: "openai/good", second.id: "openai/bad"}
    assert "no longer shown" in click(pair, "vote", which="A", question=3)


def test_a_vote_can_be_withdrawn(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    pair.vote("A")
    assert pair.vote("none") == "none"
    assert votes().empty
    assert rounds(pair)[0][0]["vote"] is None
    assert not shown(pair)["A"]["preferred"]


def test_without_multi_turn_each_question_stands_alone(two, widget):
    pair = widget("good", "bad")
    for text in ("First?", "Second?"):
        asked(pair, text)
    assert sent_by(two, "good") == [["First?"], ["Second?"]]


def test_each_model_is_sent_its_own_earlier_answers(two, widget):
    pair = widget("good", "bad", multi_turn=True, system="Be brief.")
    for text in ("First?", "Second?"):
        asked(pair, text)
    assert sent_by(two, "good")[1] == ["Be brief.", "First?", "It is **Bern**.", "Second?"]
    assert sent_by(two, "bad")[1] == ["Be brief.", "First?", "It is Basel.", "Second?"]
    assert [question["follows"] for question, _ in rounds(pair)] == [False, True]
    pair.multi_turn = False
    asked(pair, "Third?")
    pair.multi_turn = True
    asked(pair, "Fourth?")
    assert sent_by(two, "good")[3] == ["Be brief.", "Third?", "It is **Bern**.", "Fourth?"]


def test_a_model_that_failed_or_came_later_goes_on_without_the_questions_it_did_not_answer(two, widget):
    pair = widget("good", "broken", multi_turn=True)
    asked(pair, "First?")
    pair.models = ["openai/good", "openai/bad"]
    asked(pair, "Second?")
    assert sent_by(two, "bad") == [["Second?"]]
    assert shown(pair)["B"]["note"] == "Sent without 1 earlier question that it did not answer."
    assert shown(pair)["A"]["note"] == ""


def test_two_arms_of_one_model_keep_their_histories_apart(two, widget):
    two.on(lambda request: answer(f"At {request.json['temperature']}."))
    pair = widget("same", "same", each=[{"temperature": 0}, {"temperature": 1}], multi_turn=True)
    for text in ("First?", "Second?"):
        asked(pair, text)
    for messages, request in zip(sent_by(two, "same")[2:], two.requests[2:], strict=True):
        assert messages == ["First?", f"At {request.json['temperature']}.", "Second?"]


def test_blind_arms_keep_their_letters_until_a_vote_shows_all_names_of_the_conversation(two, widget):
    pair = widget("good", "bad", "third", blind=True, multi_turn=True)
    two.default = answer("Zug.")
    for text in ("First?", "Second?", "Third?"):
        asked(pair, text)
    texts = [{mark: text_of(turn) for mark, turn in answers.items()} for _, answers in rounds(pair)]
    assert texts[0] == texts[1] == texts[2]
    assert not any(turn["label"] for _, answers in rounds(pair) for turn in answers.values())
    pair.vote("A")
    assert all(turn["label"] for _, answers in rounds(pair) for turn in answers.values())
    asked(pair, "Fourth?")
    assert shown(pair)["A"]["label"], "the names are known by now"
    pair.vote("A")
    assert votes()["blind"].tolist() == [True, False]


def test_one_answer_is_asked_for_again_and_the_vote_withdrawn(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    pair.vote("A")
    two.on(lambda request: answer("It is Bern indeed."))
    assert click(pair, "regenerate", mark="B", question=1) is None
    eventually(lambda: not pair.running)
    assert text_of(shown(pair)["B"]) == "It is Bern indeed."
    assert text_of(shown(pair)["A"]) == "It is Bern."
    assert votes().empty
    assert len(usage()) == 3, "what was paid for stays in the ledger"
    pair.vote("B")
    assert set(votes().iloc[0]["arms"].values()) == {r.call_id for r in pair.comparison.responses}
    asked(pair, "Next?")
    assert "Only answers to the last question" in click(pair, "regenerate", mark="A", question=1)
    assert "There is no answer 'Z'" in click(pair, "regenerate", mark="Z", question=2)


def test_what_is_running_is_not_asked_again(two, widget):
    pair = widget("slow", "good")
    pair.ask("First?")
    assert "still streaming" in click(pair, "regenerate", mark="B", question=1)


def test_an_interrupt_while_one_is_asked_again_leaves_its_answer(two, widget, interrupt_next_call):
    pair = widget("good", "bad")
    asked(pair)
    pair.vote("A")
    before = rounds(pair)
    interrupt_next_call()
    with pytest.raises(KeyboardInterrupt):
        pair.regenerate("A")
    assert not pair.running
    assert rounds(pair) == before, "with its figures, and its vote"
    assert len(votes()) == 1
    pair.regenerate("A")
    eventually(lambda: not pair.running)
    assert text_of(shown(pair)["A"]) == "It is Bern."


def test_images_go_to_all_models_and_stay_with_their_question(two, widget):
    pair = widget("good", "bad", multi_turn=True)
    pair._on_command(pair, {"command": "ask", "nonce": "1", "prompt": "What is it?"}, [memoryview(PNG)])
    eventually(lambda: two.requests and not pair.running)
    parts = two.requests[0].json["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert rounds(pair)[0][0]["images"] == [parts[1]["image_url"]["url"]]
    assert "1 image" in pair._controller.static_content().text
    asked(pair, "Are you sure?")
    assert sent_by(two, "good")[1][0] == parts
    with pytest.raises(LLMError, match="not an image"):
        pair.ask("This?", images=[b"text"])


def test_the_page_is_told_what_a_draft_sends_to_each_and_costs_together(two, widget, monkeypatch):
    prices = '{"openai/good": {"input_usd_per_mtok": 10, "output_usd_per_mtok": 20}}'
    monkeypatch.setenv("IPYLLM_PRICES", prices)
    pair = widget("good", "bad", multi_turn=True)

    def estimate():
        found = eventually(lambda: [sent for sent in pair.sent_messages if sent["kind"] == "estimate"])
        pair.sent_messages.clear()
        return found[-1]

    assert click(pair, "draft", text="Why is the sky blue?", file_bytes=4_000, view="here") is None
    assert estimate() == {
        "kind": "estimate",
        "view": "here",
        "text": "~1,010 tokens to each of 2 models · ~$0.01 and the answers, 1 price unknown",
    }
    asked(pair, "word " * 500)
    pair.sent_messages.clear()
    click(pair, "draft", text="And?", view="here")
    assert int(estimate()["text"].split()[0][1:].replace(",", "")) > 500, "the earlier question is sent too"
    assert pair._controller.snapshot()["draft"] == "And?", "for a page that is reloaded"
    pair.multi_turn = False
    click(pair, "draft", text="And?", view="here")
    assert estimate()["text"].startswith("~5 tokens to each")


def test_the_text_of_a_file_can_be_read_again(two, widget):
    pair = widget("good", "bad")
    pair.ask("Sum?", files=[("numbers.csv", b"1,2\n")]).wait()
    assert click(pair, "text", question=1, file=0) is None
    assert next(sent for sent in reversed(pair.sent_messages) if sent["kind"] == "text")["text"] == "1,2"
    assert "not part of the question" in click(pair, "text", question=1, file=1)


def test_a_draft_that_was_sent_is_kept_no_more(two, widget):
    pair = widget("good", "bad")
    assert click(pair, "draft", text="/cities") is None
    assert pair._controller.snapshot()["draft"] == "/cities", "also without an estimate"
    assert click(pair, "ask", prompt="Which capital?") is None
    assert pair._controller.snapshot()["draft"] == ""


def test_a_note_stands_once_under_the_first_round_to_which_it_applies(two, widget):
    two.on(lambda request: answer("Bern.", reasoning="Let me think."))
    pair = widget("good", "bad")
    for _ in range(3):
        asked(pair)
    below = [question["footer"] for question, _ in rounds(pair)]
    assert below[0].startswith("Some of these models reason before they answer")
    assert below[1:] == ["", ""]
    for text in pair._controller.static_content():
        assert text.count("Some of these models reason before they answer") == 1
    later = widget("good", "bad", blind=True)
    for _ in range(2):
        asked(later)
    later.vote("A")
    below = [question["footer"] for question, _ in rounds(later)]
    assert (below[0], below[1][:4]) == ("", "Some"), "not while names are hidden"
