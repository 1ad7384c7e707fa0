"""While answers of a comparison stream: the next question waits, *Clear* stops, and nothing is lost."""

from __future__ import annotations

from threading import Thread

from ipyllm import CompareWidget
from ipyllm.comparison.votes import votes
from ipyllm.conversations import saved
from ipyllm_widgets.compare.saved_rounds import look_up_queue
from tests.fakes import answer, server_error
from tests.widgets.compare.comparing import asked, click, eventually, rounds, shown, text_of
from tests.widgets.page import PNG


def waiting(widget):
    return [question["text"] for question in widget._controller.snapshot()["settings"]["queue"]]


def streaming(widget, *others):
    pair = widget("slow", "good", *others)
    pair.ask("First?")
    eventually(lambda: text_of(shown(pair)["A"]) and shown(pair)["B"]["status"] == "ok")
    return pair


def test_the_next_question_waits_and_is_asked_when_all_have_ended(two, widget):
    pair = streaming(widget, "bad")
    assert click(pair, "ask", prompt="Second?") is None
    assert click(pair, "ask", prompt="Third?") is None
    assert waiting(pair) == ["Second?", "Third?"]
    pair.models = ["openai/good", "openai/bad"]
    assert click(pair, "stop", mark="A", question=1) is None
    eventually(lambda: len(rounds(pair)) == 3 and not pair.running)
    assert [question["text"] for question, _ in rounds(pair)] == ["First?", "Second?", "Third?"]
    assert waiting(pair) == []


def test_a_question_waits_on_after_a_stop_until_it_is_sent_or_taken_back(two, widget):
    pair = streaming(widget)
    pair._on_command(pair, {"command": "ask", "nonce": "1", "prompt": "Second?", "files": [""]}, [memoryview(PNG)])
    assert click(pair, "ask", prompt="Third?") is None
    pair.stop()
    eventually(lambda: not pair.running)
    assert [question["held"] for question in pair._controller.snapshot()["settings"]["queue"]] == [True, True]
    (second, third) = (question["id"] for question in pair._controller.snapshot()["settings"]["queue"])
    assert click(pair, "unqueue", question=third) is None
    assert next(sent for sent in reversed(pair.sent_messages) if sent["kind"] == "text")["text"] == "Third?"
    assert "waits no longer" in click(pair, "unqueue", question=third)
    pair.models = ["openai/good", "openai/bad"]
    assert click(pair, "send_next") is None
    eventually(lambda: not pair.running)
    assert (rounds(pair)[-1][0]["text"], len(rounds(pair)[-1][0]["images"])) == ("Second?", 1)
    assert click(pair, "unqueue", question=second) is not None


def test_a_question_waits_on_if_no_arm_answered_or_it_cannot_be_asked(two, widget):
    pair = widget("slow", "broken")
    pair.ask("First?")
    eventually(lambda: text_of(shown(pair)["A"]))
    click(pair, "ask", prompt="Second?")
    pair.models = ["openai/good"]
    click(pair, "stop", mark="A", question=1)
    eventually(lambda: not pair.running)
    assert waiting(pair) == ["Second?"]
    assert "choose at least two models" in click(pair, "send_next")
    assert waiting(pair) == ["Second?"]


def test_what_waits_comes_back_with_its_images_after_a_restart_and_waits_for_the_user(two, begin):
    pair = begin(models=("openai/slow", "openai/good"))
    pair.ask("First?")
    pair._controller.queue("Second?", images=[PNG])
    pair._controller.draft("Third, half")
    again = begin()
    state = again._controller.snapshot()
    waits = [(queued["text"], queued["images"], queued["held"]) for queued in state["settings"]["queue"]]
    assert (waits, state["draft"]) == ([("Second?", 1, True)], "Third, half")
    pair.stop()
    eventually(lambda: not pair.running)
    assert saved.look_up_draft("capitals", "comparison") == "Third, half"
    again._controller.send_next()
    eventually(lambda: not again.running)
    assert (rounds(again)[-1][0]["text"], len(rounds(again)[-1][0]["images"])) == ("Second?", 1)
    assert waiting(begin()) == []


def test_clear_stops_what_streams_and_undo_brings_its_text_back(two, widget):
    pair = streaming(widget)
    assert click(pair, "clear") is None
    assert (rounds(pair), pair.running) == ([], False)
    assert click(pair, "undo_clear") is None
    assert (shown(pair)["A"]["status"], text_of(shown(pair)["A"])) == ("cancelled", "It")
    assert text_of(shown(pair)["B"]) == "It is Bern."


def test_an_answer_stays_if_nothing_comes_when_it_is_asked_for_again(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    before = shown(pair)
    two.on(lambda request: server_error())
    assert click(pair, "regenerate", mark="A", question=1) is None
    eventually(lambda: not pair.running)
    assert shown(pair) == before
    notice = next(sent for sent in reversed(pair.sent_messages) if sent["kind"] == "notice")
    assert notice["text"].startswith("Nothing came of asking A again, so the earlier answer stays: openai/good")
    pair.vote("A")
    two.on(lambda request: answer("Bern."))
    pair.regenerate("A")
    eventually(lambda: not pair.running)
    assert text_of(shown(pair)["A"]) == "Bern."


def test_the_vote_comes_back_if_nothing_comes_when_an_answer_is_asked_for_again(two, widget):
    pair = widget("good", "bad", blind=True)
    asked(pair)
    pair.vote("A")
    before = votes(comparison=pair.comparison.id).iloc[0]
    ranking = eventually(lambda: pair._controller.snapshot()["totals"])
    two.on(lambda request: server_error())
    pair.regenerate("B")
    eventually(lambda: not pair.running)
    after = votes(comparison=pair.comparison.id).iloc[0]
    columns = ["outcome", "blind", "arms", "prompt"]
    assert after[columns].to_dict() == before[columns].to_dict()
    assert pair.comparison.vote_cast == before["outcome"].partition("/")[2]
    eventually(lambda: pair._controller.snapshot()["totals"] == ranking)
    two.on(lambda request: answer("It is Basle."))
    pair.regenerate("B")
    eventually(lambda: not pair.running)
    assert (pair.comparison.vote_cast, len(votes(comparison=pair.comparison.id))) == (None, 0)
    two.on(lambda request: server_error())
    pair.regenerate("A")
    eventually(lambda: not pair.running)
    assert pair.comparison.vote_cast is None, "it was on another answer"


def run_again(begin):
    """Run a cell again whose widget answers, with a question that waits and one that is typed; return both widgets."""
    first = begin(models=("openai/slow", "openai/good"))
    first.ask("First?")
    first._controller.queue("Second?")
    first._controller.draft("Third, half")
    again = CompareWidget(models=("openai/slow", "openai/good"), name="capitals")
    return first, again


def test_a_cell_that_runs_again_takes_what_waits_and_sends_it_when_the_user_says_so(two, begin):
    first, again = run_again(begin)
    state = again._controller.snapshot()
    assert [(question["text"], question["held"]) for question in state["settings"]["queue"]] == [("Second?", True)]
    assert state["draft"] == "Third, half"
    assert waiting(first) == []
    first.stop()
    eventually(lambda: not first.running)
    assert len(rounds(first)) == len(rounds(again)) == 1, "only the user sends it"
    again.models = ["openai/good", "openai/bad"]
    again._controller.send_next()
    eventually(lambda: not again.running)
    assert [question["text"] for question, _ in rounds(again)] == ["First?", "Second?"]
    assert waiting(again) == []
    again.close()


def test_the_widget_of_a_cell_that_ran_again_overwrites_nothing_that_waits_in_the_newer_one(two, begin):
    first, again = run_again(begin)
    first._controller.queue("Queued in the earlier one")
    first._controller.draft("")
    assert [question["content"] for question in look_up_queue("capitals")] == ["Second?"]
    assert saved.look_up_draft("capitals", "comparison") == "Third, half"
    first.stop()
    eventually(lambda: not first.running)
    again.close()


def test_a_question_that_is_being_asked_when_the_cell_runs_again_is_asked_once_and_kept(two, begin):
    first = begin()
    asked(first, "First?")
    made = []
    with first.channel.lock:  # as the render thread has it, while it asks the next question
        first._controller._queue.add({"role": "user", "content": "Second?"})
        thread = Thread(target=lambda: made.append(CompareWidget(models=first.models, name="capitals")))
        thread.start()
        thread.join(0.2)
        first._controller._ask_next()
    thread.join()
    (again,) = made
    assert waiting(first) == waiting(again) == []
    assert [question["text"] for question, _ in rounds(again)] == ["First?", "Second?"]
    eventually(lambda: not first.running)
    again.close()


def test_the_ranking_is_without_the_vote_that_asking_again_withdraws(two, widget):
    pair = widget("good", "bad")
    asked(pair)
    pair.vote("A")
    eventually(lambda: "good" in pair._controller.snapshot()["totals"])
    pair.regenerate("A")
    eventually(lambda: not pair._controller.snapshot()["totals"])
