"""Before the vote, nothing that a blind comparison shows, sends or exports tells which model is which."""

from __future__ import annotations

import json

import pytest

from ipyllm import CompareWidget, LLMError, votes
from tests.fakes import answer, error
from tests.widgets.compare.comparing import asked, eventually, rounds, shown, text_of


@pytest.fixture
def told(two):
    """Models that differ in all that may be shown beside their texts."""

    def by_model(request):
        return {
            "alpha": answer("One.", reasoning="I am alpha, and reason."),
            "beta": answer("Two."),
            "gamma": error(500, "gamma at 127.0.0.1 is down"),
        }.get(request.json["model"])

    two.on(by_model)
    return two


def everything(widget):
    """All that a page, a file or a notebook gets; the list of models, which is no secret, left out."""
    state = widget._controller.snapshot()
    settings = state.pop("settings")
    assert settings["arms"]
    sent = [{**message, "settings": None, "state": None} for message in widget.sent_messages]
    static = "".join(widget._controller.static_content())
    return json.dumps([state, sent], ensure_ascii=False) + static + widget.export("json") + widget.export("md")


REVEALING = ("alpha", "beta", "gamma", "127.0.0.1", "reason", "token", "Sent without", " s ·", "USD", "$")


def test_nothing_tells_the_models_before_the_vote_and_all_is_told_after(told, widget):
    three = widget("alpha", "beta", "gamma", blind=True, multi_turn=True)
    for text in ("First?", "Second?"):
        asked(three, text)
    found = everything(three)
    assert [word for word in REVEALING if word in found.replace('"reasoning"', "")] == []
    assert [turn["status"] for turn in shown(three).values()].count("error") == 1
    best = next(mark for mark, turn in shown(three).items() if text_of(turn) == "One.")
    three.vote(best)
    found = everything(three)
    assert [
        word for word in ("alpha", "beta", "gamma", "I am alpha", "Sent without 1 earlier") if word not in found
    ] == []
    assert all("reasoning" in answers[best]["parts"] for _, answers in rounds(three))
    assert votes()["blind"].tolist() == [True]


def test_a_model_that_comes_or_goes_is_not_told_by_its_letter(told, widget):
    """Which has the letter of one that went, or the last one, would be told by the list of models."""
    seen = set()
    while len(seen) < 2:
        two_models = widget("alpha", "beta", blind=True, multi_turn=True)
        asked(two_models, "First?")
        two_models.models = ["openai/alpha", "openai/delta"]
        told.default = answer("Four.")
        asked(two_models, "Second?")
        question = rounds(two_models)[-1][0]
        assert question["newLetters"]
        seen.add(text_of(shown(two_models)["A"]))
        asked(two_models, "Third?")
        assert not rounds(two_models)[-1][0]["newLetters"]
        assert text_of(rounds(two_models)[1][1]["A"]) == text_of(rounds(two_models)[2][1]["A"])
        assert "new letters" in two_models.export("md")
    assert seen == {"One.", "Four."}


def test_who_shows_the_names_of_the_next_round_knows_those_before_and_votes_openly(told, widget):
    pair = widget("alpha", "beta", blind=True, multi_turn=True)
    asked(pair, "First?")
    pair.blind = False
    assert not any(turn["label"] for turn in shown(pair).values()), "nothing is shown yet"
    asked(pair, "Second?")
    assert all(turn["label"] for _, answers in rounds(pair) for turn in answers.values())
    pair._controller.vote("A", 1)
    assert votes()["blind"].tolist() == [False]


def test_reasoning_is_told_as_it_comes_where_names_are_shown(told, widget):
    pair = widget("alpha", "beta")
    asked(pair)
    assert "I am alpha" in json.dumps(shown(pair)["A"]["parts"])
    assert any("I am alpha" in json.dumps(sent) for sent in pair.sent_messages)


def test_an_answer_asked_for_again_in_vain_names_no_model(told, widget):
    pair = widget("alpha", "beta", blind=True)
    asked(pair)
    told.on(lambda request: error(500, "alpha is down"))
    pair.regenerate("A")
    eventually(lambda: not pair.running)
    notice = next(sent for sent in reversed(pair.sent_messages) if sent["kind"] == "notice")["text"]
    assert notice == "Nothing came of asking A again, so the earlier answer stays: This arm failed: bad request."


def test_an_arm_whose_key_is_missing_is_not_named_when_it_is_asked_again(told, monkeypatch):
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    three = CompareWidget(models=["openai/alpha", "openai/beta", "deepseek/deepseek-chat"], blind=True)
    asked(three)
    mark = next(mark for mark, turn in shown(three).items() if turn["status"] == "error")
    before = shown(three)
    with pytest.raises(LLMError, match="cannot be asked for again") as caught:
        three.regenerate(mark)
    assert "deepseek" not in str(caught.value).lower()
    assert shown(three) == before
    three.vote("tie")
    with pytest.raises(LLMError, match="DEEPSEEK_API_KEY"):
        three.regenerate(mark)
    three.close()
