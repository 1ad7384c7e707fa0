"""After a restart, a comparison goes on as before: one arm asked again, unended answers, settings, the same cell."""

from __future__ import annotations

import pytest

from ipyllm import CompareWidget, LLMError, OpenAIService, usage, votes
from ipyllm.conversations import saved
from tests.fakes import answer, never_answers, stall
from tests.widgets.compare.comparing import asked, eventually, rounds, text_of


def again(widget, mark="A"):
    widget.regenerate(mark)
    eventually(lambda: not widget.running)


def messages_of(fake, model):
    return [
        [message["content"] for message in request.json["messages"]]
        for request in fake.requests
        if request.json["model"] == model
    ]


def test_an_arm_is_asked_again_in_its_own_history_with_what_it_was_asked_then(begin, two):
    widget = begin(multi_turn=True, system="Be brief.", temperature=0.5)
    asked(widget, "First?")
    asked(widget, "Second?")
    widget.vote("B")
    then = [request for request in two.requests if request.json["model"] == "good"][-1].json
    later = begin(multi_turn=False, system="Be long.", temperature=1)
    two.on(lambda request: answer("Bern, I said."))
    again(later, "A")
    now = two.requests[-1].json
    assert now == then, "not what the widget is set to by now"
    (_, first), (question, second) = rounds(later)
    assert [text_of(turn) for turn in (first["A"], second["A"], second["B"])] == [
        "It is Bern.", "Bern, I said.", "It is Basel.",
    ]  # fmt: skip
    assert question["vote"] is None
    assert votes().empty
    later.vote("A")
    (vote,) = votes().to_dict("records")
    assert vote["comparison"] == later.comparison.id == widget.comparison.id
    assert set(vote["arms"].values()) == {response.call_id for response in later.comparison.responses}
    assert (usage()["tags"].map(lambda tags: tags["comparison"]) == later.comparison.id).sum() == 3
    last = begin(multi_turn=True)
    assert text_of(rounds(last)[-1][1]["A"]) == "Bern, I said."
    again(last, "B")
    again(last, "A")
    asked(last, "Third?")
    assert messages_of(two, "good")[-1] == ["First?", "It is **Bern**.", "Second?", "Bern, I said.", "Third?"]


def test_the_service_that_was_given_answers_again_and_no_other(begin, two):
    def given(host):
        return OpenAIService("good", base_url=two.base_url.replace("127.0.0.1", host), api_key="sk-a1b2c3d4e5f6")

    asked(begin(models=[given("localhost"), "openai/bad"]), "First?")
    other = begin(models=["openai/good", "openai/bad"])
    before = rounds(other)
    n_requests = len(two.requests)
    with pytest.raises(LLMError, match=r"cannot be asked for again: it came from openai/good at http://localhost"):
        other.regenerate("A")
    assert (rounds(other), len(two.requests), other.running) == (before, n_requests, False)
    again(other, "B")
    same = begin(models=["openai/bad", given("localhost")])
    again(same)
    assert two.requests[-1].headers["authorization"] == "Bearer sk-a1b2c3d4e5f6"
    assert "sk-a1b2c3d4e5f6" not in str(saved.look_up_document("comparison", "capitals"))


def test_a_model_that_is_gone_is_not_named_before_the_vote(begin, monkeypatch):
    monkeypatch.setenv("IPYLLM_ENDPOINTS", '{"lab": {"base_url": "http://127.0.0.1:9/v1"}}')
    widget = begin(models=["lab/one", "lab/two"], blind=True)
    widget.ask("First?").wait()
    eventually(lambda: not widget.running)
    monkeypatch.delenv("IPYLLM_ENDPOINTS")
    later = begin(models=["openai/good", "openai/bad"], blind=True)
    with pytest.raises(LLMError, match="its model, or its key, is not available as it was") as caught:
        later.regenerate("A")
    assert "lab/" not in str(caught.value)


def test_what_had_come_of_an_answer_that_was_streaming_is_shown(begin, two):
    widget = begin(models=("openai/slow", "openai/good"))
    widget.ask("First?")
    eventually(lambda: text_of(rounds(widget)[0][1]["A"]) and rounds(widget)[0][1]["B"]["status"] == "ok")
    left = saved.look_up_document("comparison", "capitals")
    widget.stop()  # as the end of a kernel does, of which no widget learns
    eventually(lambda: not widget.running)
    saved.save_document("comparison", "capitals", left)
    later = begin(models=("openai/slow", "openai/good"))
    unended = rounds(later)[0][1]["A"]
    assert (unended["status"], text_of(unended)) == ("interrupted", "It")
    two.on(lambda request: answer("It is Bern at last."))
    again(later)
    assert text_of(rounds(later)[0][1]["A"]) == "It is Bern at last."
    assert later.vote("A")


def test_an_answer_that_was_being_asked_for_again_is_the_earlier_one_if_nothing_had_come(begin, two):
    widget = begin()
    asked(widget, "First?")
    two.on(lambda request: never_answers())
    widget.regenerate("A")
    left = saved.look_up_document("comparison", "capitals")
    widget.stop()
    eventually(lambda: not widget.running)
    saved.save_document("comparison", "capitals", left)
    assert text_of(rounds(begin())[0][1]["A"]) == "It is Bern."


def test_settings_of_the_page_come_back_unless_the_cell_has_others(begin):
    widget = begin()
    widget._controller.set(blind=True, multi_turn=True, params={"temperature": 1}, system="Short.")
    widget.models = ["openai/bad", "openai/good", "openai/third"]
    later = begin()
    assert (later.blind, later.multi_turn, later.models) == (True, True, ["openai/bad", "openai/good", "openai/third"])
    assert (later._controller.settings.params, later._controller.settings.system) == ({"temperature": 1}, "Short.")
    changed = begin(models=("openai/good", "openai/third"))
    assert (changed.blind, changed.models) == (False, ["openai/good", "openai/third"])


def test_settings_with_a_service_that_is_gone_do_not_come_back(begin, two):
    widget = begin()
    widget.models = [OpenAIService("good", base_url=two.base_url, api_key="no-key-needed"), "openai/third"]
    assert begin().models == ["openai/good", "openai/bad"]


def test_a_cell_that_runs_again_goes_on_with_the_answers_that_stream(begin, two):
    made = begin(models=("openai/slow", "openai/good"))
    made.ask("First?")
    eventually(lambda: text_of(rounds(made)[0][1]["A"]))
    same = CompareWidget(models=("openai/slow", "openai/good"), name="capitals")
    assert [turn["status"] for turn in rounds(same)[0][1].values()].count("running") >= 1
    made.stop()
    eventually(lambda: rounds(same)[0][1]["A"]["status"] == "cancelled")
    assert text_of(rounds(same)[0][1]["A"]) == "It"
    two.on(lambda request: answer("It is Bern."))
    again(same)
    same.vote("A")
    assert rounds(made)[0][0]["vote"] == rounds(same)[0][0]["vote"] == "slow", "it is one comparison"
    assert text_of(rounds(begin())[0][1]["A"]) == "It is Bern."
    same.close()


def test_an_arm_without_its_key_keeps_the_answer_that_it_has(begin, monkeypatch):
    asked(begin(models=("openai/good", "openai/bad")), "First?")
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    later = begin()
    before = rounds(later)
    with pytest.raises(LLMError, match="cannot be asked for again"):
        later.regenerate("A")
    assert rounds(later) == before


def test_arms_of_one_model_at_two_addresses_each_have_what_had_come_of_their_answer(begin, two):
    replies = iter([stall("First", after=1), stall("Second", after=1)])
    two.on(lambda request: next(replies))
    elsewhere = two.base_url.replace("127.0.0.1", "localhost")
    models = [OpenAIService(model="same", base_url=url) for url in (two.base_url, elsewhere)]
    widget = begin(models=models)
    widget.ask("First?")
    eventually(lambda: all(text_of(arm) for arm in rounds(widget)[0][1].values()))
    before = {mark: text_of(arm) for mark, arm in rounds(widget)[0][1].items()}
    left = saved.look_up_document("comparison", "capitals")
    widget.stop()  # as the end of a kernel does, of which no widget learns
    eventually(lambda: not widget.running)
    saved.save_document("comparison", "capitals", left)
    assert sorted(before.values()) == ["First", "Second"]
    assert {mark: text_of(arm) for mark, arm in rounds(begin(models=models))[0][1].items()} == before


@pytest.mark.parametrize(("reply", "comes_back"), [(never_answers(), True), (stall("Ba", after=1), False)])
def test_a_vote_that_asking_again_withdrew_comes_back_if_nothing_had_come(begin, two, reply, comes_back):
    widget = begin(blind=True)
    asked(widget, "First?")
    voted = widget.vote("A")
    before = votes(comparison=widget.comparison.id).iloc[0]
    two.on(lambda request: reply)
    widget.regenerate("B")
    eventually(lambda: comes_back or text_of(rounds(widget)[0][1]["B"]))
    assert votes(comparison=widget.comparison.id).empty
    left = saved.look_up_document("comparison", "capitals")
    widget.stop()
    eventually(lambda: not widget.running)
    saved.save_document("comparison", "capitals", left)
    later = begin(blind=True)
    now = votes(comparison=later.comparison.id)
    assert (later.comparison.vote_cast, len(now)) == ((voted, 1) if comes_back else (None, 0))
    if comes_back:
        assert (now.iloc[0]["outcome"], now.iloc[0]["blind"]) == (before["outcome"], True)
        assert now.iloc[0]["arms"] == before["arms"]
