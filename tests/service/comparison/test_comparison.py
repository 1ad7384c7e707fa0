"""One prompt to several arms: they start together and end independently, and no received text is lost."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

from ipyllm import (
    Comparison,
    LLMError,
    LocalService,
    OpenAIService,
    compare,
    usage,
    votes,
)
from ipyllm.events import Finished, TextDelta
from ipyllm.pipeline.call import Call
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.statistics import summarise_arms
from tests.fakes import answer, server_error
from tests.service.comparison.conftest import KEY
from tests.stalls import again_if_stalled

pytestmark = pytest.mark.usefixtures("two_models")


def texts(comparison):
    return [response.content for response in comparison.responses]


def test_every_model_is_asked_with_every_parameter_set(fake):
    done = compare("Who?", models=["openai/a", "openai/b"], params=[{"temperature": 0}, {"temperature": 1}])
    assert [arm.label for arm in done.arms] == [
        "a · temperature=0", "a · temperature=1", "b · temperature=0", "b · temperature=1",
    ]  # fmt: skip
    assert texts(done) == ["I am a.", "I am a.", "I am b.", "I am b."]
    sent = sorted((request.json["model"], request.json["temperature"]) for request in fake.requests)
    assert sent == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_arms_share_prompt_system_and_history_and_a_set_may_have_a_system_message_of_its_own(fake):
    compare(
        "And now?",
        models=["openai/a"],
        params=[{}, {"system": "Be brief."}],
        system="Be kind.",
        conversation_history=[{"role": "user", "content": "Before."}],
    )
    sent = sorted([message["content"] for message in request.json["messages"]] for request in fake.requests)
    assert sent == [["Be brief.", "Before.", "And now?"], ["Be kind.", "Before.", "And now?"]]


def test_all_arms_are_in_flight_at_the_same_time(fake):
    fake.on(lambda request: answer("Slow.", ttft=1000))
    running = Comparison("Go", models=["openai/a", "openai/b", "openai/c"]).start()
    fake.wait_for(lambda: fake.in_flight == 3)
    assert not running.done.is_set()
    fake.skip_pauses()
    running.wait()
    assert fake.max_in_flight == 3


def test_one_failing_arm_does_not_stop_the_others(fake):
    fake.on(lambda request: server_error() if request.json["model"] == "bad" else answer("Fine."))
    done = compare("Go", models=["openai/bad", "openai/good"], max_retries=0)
    assert [response.status for response in done.responses] == ["error", "ok"]
    assert done.errors[0].category == "api_error"
    assert done.errors[1] is None
    frame = done.to_dataframe()
    assert frame["error_category"].tolist()[0] == "api_error"
    assert frame["response"].tolist() == ["", "Fine."]


def test_cancelling_one_arm_leaves_the_others_alone_and_keeps_its_partial(fake):
    fake.on(lambda request: answer("word " * 50, gap=1000.0 if request.json["model"] == "slow" else 0.0))
    begun = InterruptibleEvent()
    running = Comparison("Go", models=["openai/slow", "openai/fast"]).start(
        lambda place, event: begun.set() if place == 0 and isinstance(event, TextDelta) else None
    )
    assert begun.wait(60)
    running.cancel_arm(0)
    running.wait()
    slow, fast = running.responses
    assert slow.status == "cancelled"
    assert 0 < len(slow.content) < len(fast.content)
    assert fast.status == "ok"


def test_cancelling_all_keeps_what_each_had_on_screen_and_in_the_ledger(fake):
    fake.on(lambda request: answer("word " * 400, gap=0.05))
    begun = [InterruptibleEvent(), InterruptibleEvent()]

    def on_event(place, event):
        if isinstance(event, TextDelta):
            begun[place].set()

    running = Comparison("Go", models=["openai/a", "openai/b"]).start(on_event)
    assert all(signal.wait(60) for signal in begun)
    running.cancel()
    assert running.done.wait(60)
    rows = usage(tags={"comparison": running.id})
    assert rows["status"].tolist() == ["cancelled", "cancelled"]
    assert sorted(rows["response"]) == sorted(texts(running))
    assert all(texts(running))
    assert "word" in running._repr_html_()


def test_each_arm_emits_its_own_events_and_exactly_one_end():
    seen = []
    Comparison("Go", models=["openai/a", "openai/b"]).start(lambda place, event: seen.append((place, event))).wait()
    for place, name in enumerate("ab"):
        events = [event for at, event in seen if at == place]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == f"I am {name}."
        assert [type(event) for event in events].count(Finished) == 1


@again_if_stalled(0.1)
def test_each_arm_has_a_clock_of_its_own(fake):
    fake.on(lambda request: answer("Late.", ttft=0.6 if request.json["model"] == "late" else 0.0))
    frame = compare("Go", models=["openai/late", "openai/early"]).to_dataframe()
    late, early = frame["ttft_s"]
    assert late >= 0.6
    assert early < late


def test_it_can_be_awaited_and_called_from_several_threads_at_once():
    async def main():
        return await Comparison("Go", models=["openai/a", "openai/b"]).start().wait_async()

    assert texts(asyncio.run(main())) == ["I am a.", "I am b."]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(texts(compare("Go", models=["openai/a", "openai/b"]))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [["I am a.", "I am b."]] * 4


def test_tools_of_all_arms_run_in_the_thread_that_waits(fake):
    where = []

    def lookup(word: str) -> str:
        """Look a word up.

        Parameters
        ----------
        word : str
            The word.
        """
        where.append(threading.current_thread())
        return f"<{word}>"

    def decide(request):
        if any(message["role"] == "tool" for message in request.json["messages"]):
            return answer("Done.")
        return answer("", tool_calls=[("lookup", {"word": request.json["model"]})])

    fake.on(decide)
    done = compare("Go", models=["openai/a", "openai/b"], tools=[lookup])
    assert texts(done) == ["Done.", "Done."]
    assert where == [threading.main_thread()] * 2


@pytest.mark.parametrize(
    ("models", "params", "sentence"),
    [
        (["openai/a"], [], "There is nothing to compare openai/a with: name a second model, parameter set or prompt."),
        (["openai/a", "openai/a"], [], "Two arms are the same: openai/a with no parameters; name each"),
        (["openai/a", "olama/b"], [], "There is no service 'olama'; did you mean 'ollama/b'?"),
        (["openai/a", "local/nothing"], [], "nothing"),
        (["openai/a", 7], [], "A model is a name like 'openai/gpt-6-luna' or a service, not int."),
        (7, [], "A model is a name like 'openai/gpt-6-luna' or a service, not int."),
        (["openai/a"], [{"temperature": 0}, {"temperature": 9}], "temperature must be a number between 0 and 2, not"),
        (["openai/a"], [{"temprature": 0}, {}], "There is no parameter 'temprature'; did you mean 'temperature'?"),
        (["openai/a"], ["temperature"], "params must be a dict of parameters, or a list of them, not"),
        (["deepseek/a", "deepseek/b"], [], "DeepSeek needs a key: set DEEPSEEK_API_KEY"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_one_sentence_before_anything_is_sent(fake, models, params, sentence):
    with pytest.raises(LLMError) as caught:
        Comparison("Go", models=models, params=params)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert fake.requests == []


def test_an_arm_without_a_key_fails_alone(fake):
    done = compare("Go", models=["openai/a", "deepseek/b", "openai/c"])
    assert [response.status for response in done.responses] == ["ok", "error", "ok"]
    assert "DeepSeek needs a key: set DEEPSEEK_API_KEY" in repr(done)
    assert len(fake.requests) == 2
    with pytest.raises(LLMError, match="B has no complete answer"):
        done.vote("B")


def test_each_model_can_have_a_history_of_its_own(fake):
    histories = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}] for text in "ab"]
    compare("Why?", models=["openai/a", "openai/b"], system="Be brief.", histories=histories)
    sent = {request.json["model"]: request.json["messages"] for request in fake.requests}
    for model in "ab":
        assert [message["content"] for message in sent[model]] == ["Be brief.", "Hi", model, "Why?"]
    with pytest.raises(LLMError, match="histories has those of 1 model, but there are 2"):
        Comparison("Why?", models=["openai/a", "openai/b"], histories=histories[:1])


def test_one_arm_asked_again_has_another_answer_and_the_vote_is_withdrawn(fake):
    done = compare("Go", models=["openai/a", "openai/b"], blind=True)
    done.vote("A")
    first = [response.call_id for response in done.responses]
    done.ask_again(1)
    done.wait()
    assert done.responses[0].call_id == first[0]
    assert done.responses[1].call_id != first[1]
    assert done.vote_cast is None
    assert not done.names_hidden, "who has seen the names does not forget them"
    assert votes().empty
    done.vote("tie")
    done.withdraw_vote()
    assert votes().empty


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_tokens": 3}, "stopped at max_tokens"),
        ({}, ""),  # each has a limit of its own
        ({"params": [{"max_tokens": 3}, {"max_tokens": 4}]}, ""),  # the length of an answer would name its arm
    ],
)
def test_a_blind_comparison_says_what_was_cut_off_where_that_names_no_arm(fake, options, said):
    fake.on(lambda request: answer("One two", finish_reason="length" if request.json["model"] == "a" else "stop"))
    done = compare("Go", models=["openai/a", "openai/b"], blind=True, **options)
    footers = {(arm.model, column.footer) for arm, column in zip(done.arms, done.columns(), strict=True)}
    assert footers == {("openai/a", said), ("openai/b", "")}
    assert ("stopped at" in repr(done)) == ("stopped at" in done._repr_html_()) == bool(said)
    done.reveal()
    assert "stopped at max_tokens · " in repr(done)


def test_two_services_of_one_name_at_different_addresses_can_be_told_apart(fake):
    other = OpenAIService("a", base_url=fake.base_url.replace("127.0.0.1", "localhost"))
    done = compare("Go", models=[OpenAIService("a"), other])
    first, second = (arm.label for arm in done.arms)
    assert first != second
    assert "localhost" in second


def test_an_untrusted_answer_is_sanitised_and_its_terminal_sequences_are_taken_out(fake):
    fake.on(lambda request: answer("<script>alert(1)</script>\x1b]0;x\x07", chunks=1))
    done = compare("Go", models=["openai/a", "openai/<b>"])
    assert "<script" not in done._repr_html_()
    assert "&lt;b&gt;" in done._repr_html_()
    assert "\x1b" not in repr(done)


def test_a_key_in_an_error_reaches_neither_table_nor_page(fake):
    from tests.fakes import status

    fake.on(lambda request: status(400, {"error": {"message": f"no such thing for {KEY}"}}))
    done = compare("Go", models=["openai/a", "openai/b"], max_retries=0)
    assert KEY not in done._repr_html_() + repr(done) + done.to_dataframe().to_csv()


def test_the_table_has_dtypes_and_a_running_arm_says_so(fake):
    fake.on(lambda request: answer("Slow.", ttft=20))
    running = Comparison("Go", models=["openai/a", "openai/b"])
    assert running.to_dataframe()["status"].tolist() == ["running", "running"]
    running.start()
    frame = running.to_dataframe()
    assert str(frame["input_tokens"].dtype) == "Int64"
    assert str(frame["ttft_s"].dtype) == "float64"
    running.cancel()
    assert running.done.wait(60)


def test_a_comparison_is_started_once():
    done = compare("Go", models=["openai/a", "openai/b"])
    with pytest.raises(RuntimeError, match="has already been started"):
        done.start()


def test_reasoning_is_folded_into_its_column(fake):
    fake.on(lambda request: answer("Four.", reasoning="Two and two <i>make</i> four."))
    shown = compare("Go", models=["openai/a", "openai/b"])._repr_html_()
    assert shown.count('<details class="ipyllm-reasoning">') == 2
    assert "&lt;i&gt;make" in shown


def test_an_interrupt_while_the_arms_are_being_sent_stops_those_that_were(fake):

    fake.on(lambda request: answer("Late.", ttft=60))
    begun = []

    def interrupt_the_second(frame, event, _argument):
        if event == "call" and frame.f_code is Call.start.__code__:
            begun.append(frame)
            if len(begun) == 2:
                signal.raise_signal(signal.SIGINT)

    running = Comparison("Go", models=["openai/a", "openai/b", "openai/c"])
    sys.setprofile(interrupt_the_second)
    try:
        with pytest.raises(KeyboardInterrupt):
            running.start()
    finally:
        sys.setprofile(None)
    assert len(begun) == 2
    assert running.done.wait(60)
    assert running.responses[0].status == "cancelled"
    assert "Stopped before the request was sent." in repr(running)


def test_its_table_has_all_that_statistics_need_to_leave_calls_out(fake):
    fake.on(lambda request: answer("Fine.", reasoning="Hm, hm." if request.json["model"] == "a" else None))
    done = compare("Go", models=["openai/a", "openai/b"])
    frame = done.to_dataframe()
    rows = usage().set_index("call_id").loc[frame["call_id"]]
    figures = ("ttft_s", "ttfo_s", "queue_s", "client_lag_s", "total_s")
    for name in (*figures, "arrival_clock", "streamed", "cold", "cache_hit"):
        assert frame[name].tolist() == rows[name].tolist(), name
    assert (frame["started_at"].to_numpy() == rows["started_at"].to_numpy()).all()
    table = summarise_arms(frame)
    assert "A reasons before it answers." in " ".join(table.notes)
    cold = summarise_arms(frame.assign(cold=[True, False]))
    assert cold["left_out"].tolist() == [1, 0]


def test_a_note_says_how_to_compare_the_times(fake):
    fake.on(lambda request: answer("Fine.", reasoning="Hm, hm." if request.json["model"] == "a" else None))
    models = ["openai/a", "openai/b"]
    assert Comparison("Go", models=models).note == ""
    done = compare("Go", models=models)
    assert done.note.startswith("Some of these models reason before they answer, and not all of them show it: compare")
    assert done.note in repr(done)
    assert done.note in done._repr_html_()
    assert compare("Go", models=["openai/b", "openai/c"]).note == ""


@pytest.mark.local_model
def test_a_note_says_that_embedded_models_share_the_cores():
    local = LocalService()
    one = Comparison("Go", models=[local, "openai/a"])
    two = Comparison("Go", models=[local, "openai/a"], params=[{"temperature": 0}, {"temperature": 1}])
    assert one.note == ""
    assert two.note.startswith("Embedded models answer at the same time here and share this machine's processor cores")
