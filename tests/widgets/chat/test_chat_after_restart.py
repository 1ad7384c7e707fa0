"""After a restart of the kernel, a chat shows how its answers ended, what they took, and lets a cut one go on."""

from __future__ import annotations

import re
import threading
import time

import pandas as pd
import pytest

from ipyllm import prune, usage
from ipyllm.conversations.history import conversation
from ipyllm.conversations.transcript import Turn
from ipyllm.runtime import process_exit
from ipyllm.runtime.service_thread import stop_service_thread
from ipyllm_widgets import ChatWidget
from ipyllm_widgets.chat.chat_conversations import ChatConversations
from ipyllm_widgets.chat.saved_branches import add_branches, look_up_branches, save_branches
from ipyllm_widgets.chat.turn_tree import TurnTree
from tests import fakes
from tests.fakes import answer
from tests.widgets.page import texts


@pytest.fixture
def begin(models, restart):
    """Make a chat of the notebook; made again, it is in a restarted kernel."""
    made = []

    def make(**options):
        if made:
            made[-1].comm.wait_until_idle()
            made[-1].close()
            restart()
        made.append(ChatWidget(**options))
        return made[-1]

    yield make
    made[-1].comm.wait_until_idle()
    made[-1].close()


def ask(widget, text):
    assert widget.comm.click("send", text=text)["error"] is None
    return widget.comm.wait_until_idle()


def stop_in_mid_answer(widget, models):
    models.default = fakes.drip("word ", every=0.02)
    widget.comm.click("send", text="Long")
    widget.comm.wait_for(lambda page: "word" in page.html())
    widget.comm.click("stop")
    widget.comm.wait_until_idle()


def shown(widget):
    """Return the turns of a page that is opened now."""
    snapshot = widget.get_state("snapshot")["snapshot"]
    by_id = {turn["id"]: turn for turn in snapshot["turns"]}
    return [by_id[name] for name in snapshot["order"]]


def test_the_line_under_each_answer_comes_back_with_times_tokens_and_cost(begin, models):
    widget = begin()
    models.reply(answer("Paris.", reasoning="France is meant."), answer("Rome."))
    ask(widget, "Capital of France?")
    before = ask(widget, "Of Italy?")
    again = begin()
    assert [turn["footer"] for turn in shown(again)] == [turn["footer"] for turn in before.turns]
    assert all("tokens" in turn["footer"] and " s" in turn["footer"] for turn in shown(again))
    assert [turn["status"] for turn in shown(again)] == ["ok", "ok"]
    assert "France is meant." in str(shown(again)[0]["parts"]["reasoning"])
    assert again._controller.snapshot()["totals"] == before.totals


def test_an_answer_that_was_cut_off_says_so_and_goes_on(begin, models):
    widget = begin()
    models.reply(answer("One, two, th", finish_reason="length"))
    ask(widget, "Count to four.")
    again = begin()
    (turn,) = shown(again)
    assert "stopped at max_tokens" in turn["footer"]
    assert turn["resumable"]
    models.reply(answer("ree, four."))
    assert again.comm.click("resume", turn=turn["id"])["error"] is None
    after = again.comm.wait_until_idle()
    assert texts(again.messages) == ["Count to four.", "One, two, three, four."]
    assert not after.turns[0]["resumable"]
    assert not shown(begin())[0]["resumable"], "it is whole now"


def test_an_answer_that_was_stopped_or_failed_says_so_and_goes_on(begin, models):
    widget = begin()
    stop_in_mid_answer(widget, models)
    again = begin()
    (stopped,) = shown(again)
    assert (stopped["status"], stopped["resumable"]) == ("cancelled", True)
    assert stopped["footer"].startswith("cancelled · ")
    models.default = fakes.truncated("Half an answer that is cut off here")
    failed = ask(again, "More").turns[-1]
    assert failed["error"]
    last = shown(begin())[-1]
    assert (last["status"], last["error"], last["resumable"]) == (failed["status"], failed["error"], True)


def test_an_answer_that_the_end_of_its_kernel_stopped_says_so_and_not_that_it_was_cancelled(begin, models, monkeypatch):
    exiting = threading.Event()
    monkeypatch.setattr(process_exit, "_exiting", exiting)
    widget = begin()
    models.default = fakes.drip("word ", every=0.02)
    widget.comm.click("send", text="Long")
    widget.comm.wait_for(lambda page: "word" in page.html())
    exiting.set()
    stop_service_thread()
    (before,) = widget.comm.wait_until_idle().turns
    exiting.clear()
    (row,) = usage(None)[["status", "error_category"]].astype(object).to_numpy().tolist()
    assert (row[0], pd.isna(row[1])) == ("interrupted", True), "as the chat says"
    (after,) = shown(begin())
    for turn in (before, after):
        assert (turn["status"], turn["error"], turn["resumable"]) == ("interrupted", None, True)
        assert turn["footer"].startswith("interrupted: its process ended · ")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def use_tools(widget, models):
    """Ask a question whose answer calls tools twice, and return its turn on the page."""
    models.reply(
        answer("Let me see.", reasoning="A sum.", tool_calls=[("add", {"a": 1, "b": 2})]),
        answer("", tool_calls=[("add", {"a": 3, "b": "<b>"})]),
        answer("Three.", reasoning="Clear."),
    )
    widget.send("1 + 2?").wait()
    return widget.comm.wait_until_idle().turns[-1]


def words(turn, part):
    """Return the text of a part, without its division into blocks."""
    found = turn["parts"].get(part, {"blocks": [], "tail": ""})
    html = "".join(found["blocks"]) + found["tail"]
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_an_answer_that_used_tools_has_its_calls_and_the_sums_of_all_requests(begin, models):
    before = use_tools(begin(tools=[add]), models)
    assert "3 calls" in before["footer"]
    (after,) = shown(begin())
    assert after["footer"] == before["footer"]
    assert after["parts"]["tools"] == before["parts"]["tools"]
    assert after["parts"]["tools"]["tail"].count("<details") == 2
    for part in "text", "reasoning":
        assert words(after, part).replace(" ", "") == words(before, part).replace(" ", "")
    assert words(after, "text") == "Let me see. Three."


def test_the_calls_of_earlier_answers_are_not_shown_again(begin, models):
    widget = begin(tools=[add])
    use_tools(widget, models)
    use_tools(widget, models)
    turns = shown(begin())
    assert [turn["parts"]["tools"]["tail"].count("<details") for turn in turns] == [2, 2]


def test_an_answer_that_used_tools_says_so_if_the_ledger_has_not_what_was_said(begin, models):
    widget = begin(tools=[add])
    use_tools(widget, models)
    prune(keep_text="0s")
    widget.conversation.replace_turns(widget.conversation.turns)
    (turn,) = shown(begin())
    assert "does not have the earlier requests of this answer" in words(turn, "tools")
    assert words(turn, "text") == "Three."


def test_a_cell_that_used_tools_shows_its_calls_in_a_chat(begin, models):
    from ipyllm.registry.models import create_llm_service

    widget = begin()
    models.reply(answer("", tool_calls=[("add", {"a": 1, "b": 2})]), answer("Three."))
    response = create_llm_service("openai/fake-model").chat("1 + 2?", tools=[add])
    conversation("default").put_turn(
        Turn.answered([{"role": "user", "content": "1 + 2?"}, response.as_message()], "cell#1", response)
    )
    page = widget.comm.wait_for(lambda page: page.turns and "tokens" in page.turns[0]["footer"])
    assert words(page.turns[0], "tools") == 'Tool call: add Arguments {"a":1,"b":2} Result 3'


def test_without_its_call_in_the_ledger_an_answer_still_says_how_it_ended(begin, models):
    widget = begin()
    stop_in_mid_answer(widget, models)
    prune("0s")
    widget.conversation.replace_turns(widget.conversation.turns)  # it is saved again, its calls are not
    (turn,) = shown(begin())
    assert (turn["footer"], turn["status"], turn["resumable"]) == ("cancelled · openai/fake-model", "cancelled", True)


def test_the_answer_of_a_cell_has_its_line_too(begin, models):
    from ipyllm.registry.models import create_llm_service

    widget = begin()
    response = create_llm_service("openai/fake-model").chat("Asked in a cell")
    question = {"role": "user", "content": "Asked in a cell"}
    conversation("default").put_turn(Turn.answered([question, response.as_message()], "cell#1", response))
    page = widget.comm.wait_for(lambda page: page.turns and "tokens" in page.turns[0]["footer"])
    assert page.totals.startswith("1 answer · ")


def test_the_transcript_of_the_chat_says_it_too(begin, models):
    widget = begin()
    models.reply(answer("One, two, th", finish_reason="length"), answer("Fine."))
    ask(widget, "Count to four.")
    ask(widget, "Thanks")
    again = begin()
    html, text, markdown = again._controller.static_content()
    for kept in (html, text, markdown):
        assert "stopped at max" in kept
        assert kept.count("openai/fake") == 2
    assert text.startswith("You: Count to four.\n\nModel (stopped at max_tokens · openai/fake-model · ")


REFUSED = fakes.unauthorized()


def begin_with_one_answered_and_one_failed(begin, models):
    widget = begin()
    models.default = answer("Paris.")
    ask(widget, "Capital of France?")
    models.default = REFUSED
    ask(widget, "Failed")
    return widget


def test_a_question_that_failed_or_was_stopped_is_still_there_and_can_be_tried_again(begin, models):
    widget = begin()
    models.reply(REFUSED, answer("Paris."), REFUSED)
    ask(widget, "Failed first")
    ask(widget, "Capital of France?")
    before = ask(widget, "Failed last")
    again = begin()
    assert [turn["text"] for turn in shown(again)] == ["Failed first", "Capital of France?", "Failed last"]
    assert [turn["error"] for turn in shown(again)] == [turn["error"] for turn in before.turns]
    assert shown(again)[0]["footer"] == before.turns[0]["footer"]
    assert texts(again.messages) == ["Capital of France?", "Paris."]
    models.reply(answer("It works."))
    assert again.comm.click("regenerate", turn=shown(again)[-1]["id"])["error"] is None
    again.comm.wait_until_idle()
    assert texts(models.requests[-1].json["messages"]) == ["Capital of France?", "Paris.", "Failed last"]
    assert [bool(turn["error"]) for turn in shown(begin())] == [True, False, False]


def test_other_branches_are_still_there(begin, models):
    widget = begin()
    models.reply(answer("One."), answer("Two."), answer("Three."), answer("Four."))
    first = ask(widget, "First").turns[0]["id"]
    widget.comm.click("regenerate", turn=first)
    second = widget.comm.wait_until_idle().turns[0]["id"]
    third = ask(widget, "After the second").turns[1]["id"]
    widget.comm.click("regenerate", turn=third)
    fourth = widget.comm.wait_until_idle().turns[1]["id"]
    widget.comm.click("select", turn=fourth, branch=1)
    widget.comm.click("select", turn=second, branch=1)
    again = begin()
    (turn,) = shown(again)
    assert (turn["branch"], "One." in str(turn["parts"])) == ([1, 2], True)
    assert again.comm.click("select", turn=turn["id"], branch=2)["error"] is None
    assert texts(again.messages) == ["First", "Two.", "After the second", "Three."]
    page = again.comm.wait_for(lambda page: len(page.turns) == 2 and "tokens" in page.turns[1]["footer"])
    assert page.turns[0]["branch"] == [2, 2]
    assert [turn["branch"] for turn in shown(begin())] == [[2, 2], [1, 2]]


def test_a_question_whose_kernel_was_killed_says_so(begin, models, restart):
    widget = begin()
    models.default = fakes.stall("never", after=0)
    widget.comm.click("send", text="Anybody?")
    wait_for_branches("default")
    restart()  # the answer is still waited for
    other = ChatWidget()
    (turn,) = shown(other)
    widget.stop()
    assert (turn["text"], turn["status"]) == ("Anybody?", "interrupted")
    assert turn["error"] == "The kernel stopped before the answer."
    other.close()


def test_what_was_deleted_or_cleared_stays_so(begin, models):
    widget = begin()
    models.reply(REFUSED, answer("Paris."), REFUSED)
    for question in ("Failed first", "Capital of France?", "Failed last"):
        page = ask(widget, question)
    widget.comm.click("delete", turn=page.turns[0]["id"])
    again = begin()
    assert [turn["text"] for turn in shown(again)] == ["Capital of France?", "Failed last"]
    again.comm.click("clear")
    assert shown(begin()) == []


def test_a_conversation_that_is_renamed_deleted_or_replaced_keeps_loses_or_ignores_them(begin, models):
    widget = begin_with_one_answered_and_one_failed(begin, models)
    assert widget.comm.click("rename", conversation="default", to="trip")["error"] is None
    again = begin()
    assert [turn["text"] for turn in shown(again)] == ["Capital of France?", "Failed"]
    assert shown(begin(conversation="default")) == []
    widget = begin(conversation="trip")
    widget.comm.click("forget", conversation="trip")
    assert look_up_branches("trip") is None
    widget = begin(conversation="trip")
    assert shown(widget) == []
    ask(widget, "Failed")
    conversation("trip").put_turn(Turn([{"role": "user", "content": "Hi"}], "a#1"))
    widget.comm.wait_for(lambda page: len(page.turns) == 2)
    conversation("trip").replace_turns([Turn([{"role": "user", "content": "Another"}], "b#1")])
    begin_again = begin(conversation="trip")
    assert "Another" in [turn["text"] for turn in shown(begin_again)]


def test_a_new_conversation_without_an_answer_is_the_last_one_is_listed_and_keeps_its_name(begin, models):
    widget = begin()
    models.reply(answer("Paris."), REFUSED, answer("Lima."))
    ask(widget, "Capital of France?")
    widget.comm.click("switch")
    name = widget.comm.view_state().settings["conversation"]
    ask(widget, "Capital of Peru?")
    again = begin()
    assert again.comm.view_state().settings["conversation"] == name
    assert [turn["text"] for turn in shown(again)] == ["Capital of Peru?"]
    listed = ChatConversations()
    assert [(found.name, found.turns, found.title) for found in listed.find("", {name: []})] == [
        (name, 1, "Capital of Peru?"),
        ("default", 1, "Capital of France?"),
    ]
    assert [found.name for found in listed.find("peru", {})] == [name]
    assert listed.new_name() != name
    again.comm.click("forget", conversation=name)
    assert [found.name for found in listed.find("", {})] == ["default"]
    assert again.comm.click("undo_forget", conversation=name)["error"] is None
    assert [turn["text"] for turn in shown(again)] == ["Capital of Peru?"]


def test_branches_of_another_conversation_of_the_name_are_not_added(begin, models):
    widget = begin_with_one_answered_and_one_failed(begin, models)
    found = wait_for_branches("default")
    for turns, n_added in (widget.conversation.turns, 1), ([Turn([{"role": "user", "content": "Another"}], "b#1")], 0):
        tree = TurnTree()
        add_branches(tree, found, turns)
        assert len(tree.root.children) == n_added


@pytest.mark.parametrize(
    "spoil",
    [lambda found: found.pop("turns"), lambda found: found["nodes"][0].update(key=3),
     lambda found: found["nodes"][1].pop("answer"), lambda found: found["nodes"][1]["question"].update(role="alien"),
     lambda found: found.update(nodes=7)],
)  # fmt: skip
def test_damaged_branches_are_left_out(begin, models, spoil):
    widget = begin_with_one_answered_and_one_failed(begin, models)
    widget.comm.wait_until_idle()
    found = wait_for_branches("default")
    spoil(found)
    save_branches("default", found)
    assert [turn["text"] for turn in shown(begin())] == ["Capital of France?"]


def wait_for_branches(name):
    end = time.monotonic() + 60
    while (found := look_up_branches(name)) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_the_totals_have_failed_questions_and_other_branches_again(begin, models):
    widget = begin_with_one_answered_and_one_failed(begin, models)
    models.reply(answer("It is Paris."), answer("Lima."))
    widget.comm.click("regenerate", turn=shown(widget)[0]["id"])
    widget.comm.wait_until_idle()
    before = ask(widget, "Capital of Peru?").totals
    assert before.startswith("4 answers")
    assert begin().comm.wait_for(lambda page: page.totals == before)
