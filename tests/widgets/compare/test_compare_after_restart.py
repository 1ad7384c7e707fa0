"""After a restart of the kernel, the rounds of a comparison are there again, by its name."""

from __future__ import annotations

import pytest

from ipyllm import CompareWidget, votes
from ipyllm.conversations import saved
from ipyllm.ledger import ids
from tests.widgets.compare.comparing import asked, eventually, rounds, text_of
from tests.widgets.page import PNG


def shown(widget):
    """Return what a page shows of each round, without the names of its parts."""
    return [
        (
            {key: value for key, value in question.items() if key != "columns"},
            {mark: {**turn, "id": "", "parts": text_of(turn)} for mark, turn in answers.items()},
        )
        for question, answers in rounds(widget)
    ]


def test_rounds_come_back_with_answers_figures_and_votes(begin):
    widget = begin()
    asked(widget, "First?")
    widget.vote("A")
    widget.ask("Second?", images=[PNG], files=[("notes.txt", b"text")]).wait()
    eventually(lambda: not widget.running)
    before = shown(widget)
    again = begin()
    assert shown(again) == before
    (first, _), (second, answers) = shown(again)
    assert (first["vote"], second["vote"]) == ("good", None)
    assert "tokens" in answers["A"]["footer"]
    assert [file["name"] for file in second["files"]] == ["notes.txt"]
    assert len(second["images"]) == 1
    assert "good" in again._controller.snapshot()["totals"], "the ranking"
    table = again.comparison.to_dataframe()
    assert list(table["response"]) == ["It is **Bern**.", "It is Basel."]
    assert table["total_s"].notna().all()
    assert again.export("json") == widget.export("json")


def test_the_next_round_has_the_next_number_and_follows_the_answers_from_before(begin, two):
    asked(begin(multi_turn=True), "First?")
    again = begin(multi_turn=True)
    asked(again, "Second?")
    assert [question["question"] for question, _ in rounds(again)] == [1, 2]
    sent = [request.json["messages"] for request in two.requests if request.json["model"] == "good"][-1]
    assert [message["content"] for message in sent] == ["First?", "It is **Bern**.", "Second?"]


def test_a_vote_can_be_cast_and_withdrawn_after_the_restart(begin):
    asked(begin(blind=True), "First?")
    again = begin(blind=True)
    ((question, answers),) = rounds(again)
    assert question["hidden"]
    assert [turn["label"] for turn in answers.values()] == ["", ""]
    assert again.vote("B") in {"good", "bad"}
    (vote,) = votes().to_dict("records")
    assert vote["blind"]
    assert vote["prompt"] == "First?"
    assert all(vote["arms"].values()), "the ids of the calls"
    ((question, answers),) = rounds(begin(blind=True))
    assert not question["hidden"]
    assert answers["B"]["preferred"]
    last = begin(blind=True)
    last.vote("none")
    assert votes().empty
    assert rounds(begin(blind=True))[0][0]["vote"] is None


def test_what_failed_or_had_not_ended_says_so(begin, two):
    widget = begin(models=("openai/broken", "openai/slow"))
    widget.ask("First?")
    eventually(lambda: [turn["status"] for turn in rounds(widget)[0][1].values()] == ["error", "running"])
    again = begin(models=("openai/broken", "openai/slow"))
    failed, unended = rounds(again)[0][1].values()
    assert failed["error"]
    assert (unended["status"], unended["footer"]) == ("interrupted", "interrupted: its process ended")
    assert again.comparison.errors[0].category == "api_error"
    widget.stop()
    eventually(lambda: not widget.running)
    assert rounds(begin())[0][1]["B"]["status"] == "interrupted", (
        "the earlier widget changes the later one's rounds no more"
    )


def test_names_are_apart_from_each_other_and_from_chats_and_cleared_is_cleared(begin):
    asked(begin(), "First?")
    assert rounds(begin(name="other")) == []
    assert saved.saved_conversations(10) == []
    widget = begin()
    assert len(rounds(widget)) == 1
    widget.clear()
    assert rounds(begin()) == []


def test_what_was_typed_and_not_sent_comes_back(begin):
    widget = begin()
    widget._controller.draft("Half a que")
    assert begin()._controller.snapshot()["draft"] == "Half a que"
    assert saved.look_up_draft("capitals") == ""


@pytest.mark.parametrize(
    "spoil",
    [lambda found: found.clear(), lambda found: found["rounds"][0].pop("comparison"),
     lambda found: found["rounds"][0]["question"].update(role="alien"), lambda found: found["rounds"][0]["names"].pop(),
     lambda found: found["rounds"][0]["comparison"].update(answers=3), lambda found: found.update(version=2),
     lambda found: found["rounds"][0]["comparison"]["arms"].append(7)],
)  # fmt: skip
def test_damaged_rounds_are_left_out_and_logged(begin, spoil):
    asked(begin(), "First?")
    found = saved.look_up_document("comparison", "capitals")
    spoil(found)
    saved.save_document("comparison", "capitals", found)
    widget = begin()
    assert rounds(widget) == []
    asked(widget, "Second?")
    assert len(rounds(begin())) == 1


def test_without_a_name_or_a_cell_nothing_is_kept(two, restart):
    widget = CompareWidget(models=["openai/good", "openai/bad"])
    asked(widget, "First?")
    widget.close()
    assert CompareWidget(models=["openai/good", "openai/bad"]).comparisons == []


def test_votes_from_before_the_restart_are_ranked_with_those_after_it(begin, monkeypatch):
    widget = begin()
    asked(widget, "First?")
    widget.vote("A")
    votes()  # written
    monkeypatch.setattr(ids, "_generated", "another kernel's id")
    again = begin()
    assert votes().empty
    assert again.ranking()["votes"].to_dict() == {"openai/good": 1, "openai/bad": 1}
    asked(again, "Second?")
    again.vote("tie")
    assert again.ranking()["votes"].to_dict() == {"openai/good": 2, "openai/bad": 2}
    eventually(lambda: "The only vote" not in again._controller.snapshot()["totals"])
    again.vote("none")
    assert again.ranking()["votes"].to_dict() == {"openai/good": 1, "openai/bad": 1}
