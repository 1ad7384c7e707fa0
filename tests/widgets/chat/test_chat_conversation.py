"""The conversation of a chat: branches, edits, deletions, and others who change it."""

from __future__ import annotations

import threading

import pytest

from ipyllm.conversations.history import ConversationHistory, Turn, conversation
from ipyllm.errors import LLMError
from tests import fakes
from tests.fakes import answer, unauthorized
from tests.widgets.page import begin_answer, texts


def turn_of(question, text):
    return Turn([{"role": "user", "content": question}, {"role": "assistant", "content": text}], f"cell#{question}")


def ask(widget, models, *questions):
    """Ask questions whose answers are the same in capitals; return what is shown then."""
    for text in questions:
        models.default = answer(text.upper())
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    return shown


def test_regenerating_branches_and_the_shown_branch_is_the_conversation(chat, models):
    widget = chat()
    shown = ask(widget, models, "one", "two")
    first, second = shown.order
    models.default = answer("DUE")
    widget.comm.click("regenerate", turn=second)
    shown = widget.comm.wait_until_idle()
    assert texts(widget.messages) == ["one", "ONE", "two", "DUE"]
    assert shown.turns[1]["branch"] == [2, 2]
    asked = models.requests[-1].json["messages"]
    assert texts(asked) == ["one", "ONE", "two"], "the answer that is replaced is not part of the question"
    widget.comm.click("select", turn=shown.order[1], branch=1)
    shown = widget.comm.view_state()
    assert shown.order == [first, second]
    assert "TWO" in shown.html()
    assert texts(widget.messages) == ["one", "ONE", "two", "TWO"]


def test_a_branch_that_came_to_nothing_is_still_there_and_not_in_the_conversation(chat, models):
    models.default = answer("Bern.")
    widget = chat()
    widget.send("Hello").wait()
    (name,) = widget.comm.wait_until_idle().order
    models.default = unauthorized()
    widget.comm.click("regenerate", turn=name)
    failed = widget.comm.wait_until_idle().order[0]
    widget.comm.click("select", turn=failed, branch=1)
    assert "Bern." in widget.comm.view_state().html()
    widget.comm.click("select", turn=name, branch=2)
    shown = widget.comm.view_state()
    assert shown.order == [failed]
    assert (shown.turns[0]["status"], shown.turns[0]["branch"]) == ("error", [2, 2])
    assert widget.messages == []


def test_failed_questions_stay_where_they_were_asked_until_they_are_deleted(chat, models):
    widget = chat()
    refused = unauthorized()
    for text, reply in [("one", answer("ONE")), ("bad", refused), ("worse", refused), ("two", answer("TWO"))]:
        models.default = reply
        widget.comm.click("send", text=text)
        shown = widget.comm.wait_until_idle()
    one, bad, worse, two = shown.order
    assert [turn["text"] for turn in shown.turns] == ["one", "bad", "worse", "two"]
    assert [turn["status"] for turn in shown.turns] == ["ok", "error", "error", "ok"]
    assert [turn["branch"] for turn in shown.turns] == [[1, 1]] * 4
    assert texts(models.requests[-1].json["messages"]) == ["one", "ONE", "two"], "what failed is not sent again"
    saved = [text for text in texts(widget._controller.messages_so_far()) if "API key" not in text]
    assert saved == ["one", "ONE", "bad", "worse", "two", "TWO"]
    widget.conversation.put_turn(turn_of("magic", "MAGIC"))
    assert [turn["text"] for turn in widget.comm.wait_for(lambda shown: len(shown.order) == 5).turns][-1] == "magic"
    widget.comm.click("delete", turn=bad)
    assert widget.comm.view_state().order[:3] == [one, worse, two]
    widget.comm.click("regenerate", turn=two)
    shown = widget.comm.wait_until_idle()
    assert shown.order[:2] == [one, worse]
    assert shown.turns[2]["branch"] == [2, 2]


def test_a_failed_question_stays_below_what_a_cell_asks_meanwhile(chat, models):
    widget = chat()
    models.default = unauthorized()
    widget.comm.click("send", text="bad")
    widget.comm.wait_until_idle()
    widget.conversation.put_turn(turn_of("magic", "MAGIC"))
    widget.comm.wait_for(lambda shown: len(shown.order) == 2)
    models.default = answer("NEXT")
    widget.comm.click("send", text="next")
    shown = widget.comm.wait_until_idle()
    assert [turn["text"] for turn in shown.turns] == ["magic", "bad", "next"]
    widget.comm.click("clear")
    assert widget.comm.view_state().order == []


def test_deleting_can_be_undone_whatever_was_asked_since(chat, models):
    widget = chat()
    shown = ask(widget, models, "one", "two", "three")
    one, two, three = shown.order
    widget.comm.click("delete", turn=two)
    assert texts(widget.messages) == ["one", "ONE", "three", "THREE"]
    assert widget.comm.click("undo_delete", turn=two)["error"] is None
    assert widget.comm.view_state().order == [one, two, three]
    assert texts(widget.messages) == ["one", "ONE", "two", "TWO", "three", "THREE"]
    widget.comm.click("delete", turn=three)
    widget.send("four").wait()
    four = widget.comm.wait_until_idle().order[-1]
    widget.comm.click("undo_delete", turn=three)
    shown = widget.comm.view_state()
    assert (shown.order, shown.turns[-1]["branch"]) == ([one, two, three], [1, 2]), "what was asked since is a branch"
    widget.comm.click("select", turn=three, branch=2)
    assert widget.comm.view_state().order == [one, two, four]


def test_clearing_can_be_undone_until_something_else_was_asked(chat, models):
    widget = chat()
    shown = ask(widget, models, "one", "two")
    widget.comm.click("regenerate", turn=shown.order[1])
    shown = widget.comm.wait_until_idle()
    for _ in range(2):
        widget.comm.click("clear")
        assert (widget.comm.view_state().order, widget.messages) == ([], [])
        assert widget.comm.click("undo_clear")["error"] is None
        assert widget.comm.view_state().turns == shown.turns
        assert texts(widget.messages) == ["one", "ONE", "two", "TWO"]
    assert "can no longer be brought back" in widget.comm.click("undo_clear")["error"]
    widget.comm.click("clear")
    widget.send("three").wait()
    assert widget.comm.wait_until_idle().order[0] not in shown.order
    assert "can no longer be brought back" in widget.comm.click("undo_clear")["error"]
    assert texts(widget.messages) == ["three", "TWO"]


@pytest.mark.parametrize(("away", "back"), [("clear", "undo_clear"), ("delete", "undo_delete")])
def test_what_had_come_of_an_answer_comes_back_with_its_question(chat, models, away, back):
    widget = chat()
    begin_answer(widget, models)
    call = widget._controller._shown.call
    which = {"turn": widget.comm.view_state().order[0]} if away == "delete" else {}
    widget.comm.click(away, **which)
    with pytest.raises(LLMError, match="cancelled"):
        call.wait()
    assert (widget.messages, widget.comm.wait_until_idle().turns) == ([], [])
    assert widget.comm.click(back, **which)["error"] is None
    assert texts(widget.messages) == ["one", "Slow"]
    (turn,) = widget.comm.wait_until_idle().turns
    assert (turn["text"], turn["status"], turn["resumable"]) == ("one", "cancelled", True)


def test_clearing_stops_an_answer_that_is_continued(chat, models):
    widget = chat()
    models.default = answer("Half", finish_reason="length")
    widget.send("one").wait()
    (one,) = widget.comm.wait_until_idle().order
    models.default = fakes.drip(" word", every=0.01)
    widget.comm.click("resume", turn=one)
    widget.comm.wait_for(lambda shown: "word" in shown.html())
    call = widget._controller._shown.call
    widget.comm.click("clear")
    models.wait_for(lambda: models.requests[-1].closed_by_client)
    with pytest.raises(LLMError, match="cancelled"):
        call.wait()
    assert (widget.comm.view_state().running, widget.messages) == (None, [])
    widget.comm.click("undo_clear")
    question, continued = texts(widget.messages)
    assert question == "one"
    assert continued.startswith("Half word")


def test_what_cannot_be_brought_back_is_refused(chat, models):
    models.default = answer("A")
    widget = chat()
    widget.send("one").wait()
    (one,) = widget.comm.wait_until_idle().order
    assert "can no longer be brought back" in widget.comm.click("undo_delete", turn=one)["error"]
    widget.comm.click("delete", turn=one)
    widget.comm.click("clear")
    assert "can no longer be brought back" in widget.comm.click("undo_delete", turn=one)["error"]
    assert widget.messages == []


def test_the_page_copies_the_markdown_of_an_answer(chat, models):
    source = "Since $x^2$:\n\n```python\nprint(1)\n```"
    models.default = answer(source)
    widget = chat()
    widget.send("one").wait()
    (one,) = widget.comm.wait_until_idle().order
    widget.comm.click("text", turn=one, part="answer")
    assert [message["text"] for message in widget.comm.custom if message["kind"] == "text"] == [source]


def test_editing_a_past_question_branches_and_leads_back_to_what_followed(chat, models):
    models.default = answer("A")
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    models.default = answer("B")
    widget.comm.click("edit", turn=shown.order[0], text="uno")
    shown = widget.comm.wait_until_idle()
    assert texts(widget.messages) == ["uno", "B"]
    assert shown.turns[0]["branch"] == [2, 2]
    widget.comm.click("select", turn=shown.order[0], branch=1)
    assert [turn["text"] for turn in widget.comm.view_state().turns] == ["one", "two", "three"]


def test_deleting_a_turn_leaves_what_follows(chat, models):
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    widget.comm.click("delete", turn=shown.order[1])
    assert [turn["text"] for turn in widget.comm.view_state().turns] == ["one", "three"]
    assert texts(widget.messages)[::2] == ["one", "three"]


def test_in_place_of_a_deleted_version_the_other_is_shown_with_what_followed(chat, models):
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    for at, kept in ((1, ["one", "two", "three"]), (0, ["one", "two", "three"])):
        widget.comm.click("edit", turn=shown.order[at], text="other")
        other = widget.comm.wait_until_idle().order[-1]
        widget.comm.click("delete", turn=other)
        shown = widget.comm.view_state()
        assert [turn["text"] for turn in shown.turns] == kept
        assert [turn["branch"] for turn in shown.turns] == [[1, 1]] * 3
        assert texts(widget.messages)[::2] == kept
        widget.comm.click("undo_delete", turn=other)
        assert widget.comm.view_state().turns[-1]["text"] == "other"
        widget.comm.click("delete", turn=other)


def test_a_deleted_version_leaves_what_followed_it_and_no_turn_that_was_undone_comes_back(chat, models):
    widget = chat()
    for text in ("one", "two", "three"):
        widget.send(text).wait()
        shown = widget.comm.wait_until_idle()
    widget.conversation.undo()
    widget.comm.wait_for(lambda page: len(page.turns) == 2)
    widget.comm.click("delete", turn=shown.order[1])
    assert [turn["text"] for turn in widget.comm.view_state().turns] == ["one"]
    widget.comm.click("edit", turn=shown.order[0], text="uno")
    uno = widget.comm.wait_until_idle().order[-1]
    widget.send("due").wait()
    widget.comm.wait_until_idle()
    widget.comm.click("delete", turn=uno)
    assert [turn["text"] for turn in widget.comm.view_state().turns] == ["due"]


def test_deleting_the_running_answer_stops_it_and_keeps_nothing(chat, models):
    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    widget.send("Hello")
    shown = widget.comm.wait_for(lambda shown: shown.turns and "word" in shown.html())
    widget.comm.click("delete", turn=shown.order[0])
    models.wait_for(lambda: models.requests[0].closed_by_client)
    widget.comm.wait_for(lambda shown: shown.running is None and not shown.turns)
    assert widget.messages == []


def test_an_answer_deleted_while_it_is_rendered_is_not_sent(chat, models, hook_rendering):
    """The render thread renders without the lock; what it rendered has lost its turn when it is about to be sent."""
    models.default = fakes.drip("word ", every=0.01)
    widget = chat()
    sent, deleted = [], threading.Event()

    def delete(text):
        if "word" in text and not deleted.is_set():
            widget.comm.click("delete", turn=widget.comm.view_state().order[0])
            sent.extend(widget.comm.custom)
            deleted.set()

    hook_rendering(delete)
    widget.send("Hello")
    assert deleted.wait(60)
    widget.comm.wait_for(lambda shown: shown.running is None and not shown.turns)
    assert [message for message in widget.comm.custom[len(sent) :] if message["kind"] == "delta"] == []


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
    assert [turn["text"] for turn in other.comm.view_state().turns] == ["again", "from the chat"]
    shared.clear()
    widget.comm.wait_for(lambda shown: not shown.turns)


def test_a_cell_that_changes_the_conversation_while_an_answer_streams_loses_neither(chat, models):
    models.default = answer("one two three four", gap=1000)
    widget = chat("busy")
    call = widget.send("slow")
    widget.comm.wait_for(lambda shown: shown.turns and "one" in shown.html())
    turn = Turn([{"role": "user", "content": "quick"}, {"role": "assistant", "content": "done"}], "c#1")
    conversation("busy").put_turn(turn)
    shown = widget.comm.wait_for(lambda shown: len(shown.turns) == 2)
    assert [turn["text"] for turn in shown.turns] == ["quick", "slow"]
    models.skip_pauses()
    call.wait()
    shown = widget.comm.wait_until_idle()
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
    models.default = answer("one two three four", gap=1000)
    call = widget.send("slow")
    widget.comm.wait_for(lambda shown: "one" in shown.html())
    change(widget.conversation)
    shown = widget.comm.wait_for(lambda shown: [turn["text"] for turn in shown.turns] == left)
    assert shown.running == shown.order[-1]
    models.skip_pauses()
    call.wait()
    shown = widget.comm.wait_until_idle()
    assert [turn["text"] for turn in shown.turns] == left
    assert "one two three four" in shown.html()
    assert texts(widget.messages) == kept
    models.default = answer("Again.")
    assert widget.comm.click("regenerate", turn=shown.order[-1])["error"] is None
    widget.comm.wait_until_idle()
    assert texts(models.requests[-1].json["messages"]) == kept[:-1]


def test_an_undo_after_the_end_takes_the_answer_away_and_a_widget_that_is_asked_again_goes_on(chat, models):
    widget = chat()
    widget.send("first").wait()
    shown = widget.comm.wait_until_idle()
    widget.conversation.undo()
    widget.comm.wait_for(lambda shown: not shown.turns)
    assert "no longer exists" in widget.comm.click("regenerate", turn=shown.order[0])["error"]
    widget.send("second").wait()
    assert texts(models.requests[-1].json["messages"]) == ["second"]


def test_who_waited_for_an_answer_can_ask_the_next_at_once(chat, models):
    widget = chat()
    for n in range(30):
        widget.send(f"question {n}").wait()
    assert len(widget.messages) == 60


def test_clear_forgets_turns_and_branches_but_not_the_system_prompt(chat, models):
    widget = chat(system="Be brief.")
    widget.send("Hello").wait()
    widget.comm.wait_until_idle()
    widget.clear()
    assert widget.comm.view_state().turns == []
    assert texts(widget.messages) == ["Be brief."]
