"""What of a conversation fits a context window, and estimates of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipyllm.conversations.history import ConversationHistory, Turn
from ipyllm.conversations.tokens import estimate, estimate_messages
from ipyllm.errors import LLMError
from tests.service.conversations.samples import (
    BROKEN_TEXT,
    SYSTEM,
    TURN,
    add_turns,
    calls_and_results,
    flatten,
    history_of,
    tool_round,
)

# ---- estimates -----------------------------------------------------------------------------------


@given(TURN)
def test_an_estimate_is_the_sum_of_its_messages(messages):
    assert estimate_messages(messages) == sum(estimate_messages([message]) for message in messages)


@given(BROKEN_TEXT, BROKEN_TEXT)
def test_an_estimate_counts_the_arguments_of_tool_calls(question, arguments):
    call, _ = tool_round("1", arguments=arguments)
    bare = {"role": "assistant", "content": None}
    assert estimate_messages([call]) >= estimate_messages([bare]) + estimate(arguments)


def test_an_image_counts_the_same_whatever_its_size():
    def picture(size):
        url = "data:image/png;base64," + "A" * size
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}

    assert estimate_messages([picture(10)]) == estimate_messages([picture(10_000_000)])
    # 1,536 patches at 2.46 tokens: the largest that OpenAI documents for models that count in patches.
    assert 1536 * 2.46 < estimate_messages([picture(10)]) < 5000


def test_an_estimate_takes_any_message_a_caller_may_send():
    odd = [{"role": "user", "content": [{"type": "text", "text": None}, "text", 5]}, {"content": 7, "x": {1, 2}}, {}]
    assert estimate_messages(odd) > 0


# ---- fitting -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SYSTEM, st.lists(TURN, max_size=5), st.none() | BROKEN_TEXT, st.integers(0, 400), st.integers(0, 60),
       st.none() | st.integers(0, 12))  # fmt: skip
def test_what_fits_is_whole_and_what_is_dropped_is_said(system, turns, question, window, reserve, max_messages):
    history = history_of(system, turns)
    history.max_messages = max_messages
    leading = [system] if system else []
    asked = [] if question is None else [{"role": "user", "content": question}]
    total = estimate_messages([*leading, *flatten(turns), *asked])
    try:
        fitted = history.fit(window, reserve=reserve, question=question)
    except LLMError as exc:
        assert exc.category == "context_length"  # noqa: PT017 - either end may be right
        last = turns[-1] if turns and question is None else []
        assert estimate_messages([*leading, *last, *asked]) > window - reserve, "it was really too long"
        return
    messages = list(fitted.messages)
    assert fitted.tokens == estimate_messages([*messages, *asked]) <= window - reserve
    assert fitted.tokens + fitted.dropped_tokens == total
    assert messages[: len(leading)] == leading
    calls, results = calls_and_results(messages)
    assert calls == results
    kept = turns[fitted.dropped_turns :]
    if fitted.dropped_rounds:
        assert messages[len(leading)] == turns[-1][0], "the question stays"
        assert messages[-1] == turns[-1][-1], "so does what came last"
        assert fitted.dropped_turns == len(turns) - 1
        assert len(messages) == len(leading) + len(turns[-1]) - 2 * fitted.dropped_rounds
    else:
        assert messages == [*leading, *flatten(kept)]
    if question is None and turns:
        assert len(kept) >= 1, "the newest turn is the question"
    if max_messages is not None and len(kept) > (question is None):
        assert len(flatten(kept)) <= max_messages
    if fitted.dropped_turns and max_messages is None and not fitted.dropped_rounds:
        one_more = [*leading, *flatten(turns[fitted.dropped_turns - 1 :]), *asked]
        assert estimate_messages(one_more) > window - reserve, "no turn is left out without need"
    assert (fitted.note is None) == (fitted.dropped_tokens == 0)


def test_with_no_limit_everything_fits():
    history = ConversationHistory()
    add_turns(history, ("one", "ONE"), ("two", "TWO"))
    fitted = history.fit(None, reserve=1000, question="three")
    assert list(fitted.messages) == history.to_messages()
    assert fitted.note is None


def test_a_question_that_cannot_fit_says_what_to_do():
    history = ConversationHistory()
    history.add_message("user", "word " * 4000)
    with pytest.raises(LLMError) as caught:
        history.fit(8192, reserve=2048, model="local/smollm2-135m")
    assert caught.value.category == "context_length"
    assert caught.value.model == "local/smollm2-135m"
    assert str(caught.value) == (
        "The question and the system message may take 6,671 tokens, but the context window of local/smollm2-135m, "
        "minus the answer, has room for 6,144: shorten the question, or use a model with a larger one."
    )
    history.max_tokens = 100
    with pytest.raises(
        LLMError, match="the conversation's max_tokens has room for 100: shorten the question, or raise that"
    ):
        history.fit(None)
    assert history.get_messages() == [], "get_messages never fails"


def test_a_system_message_that_fills_the_window_is_not_dropped_but_reported():
    history = ConversationHistory()
    history.add_message("system", "rule " * 100)
    with pytest.raises(LLMError, match="system message"):
        history.fit(100)


def test_a_turn_of_many_tool_rounds_loses_its_first_rounds_whole():
    history = ConversationHistory()
    add_turns(history, ("earlier", "answer"))
    history.add_message("user", "Look up everything.")
    for n in range(10):
        history.extend(tool_round(f"call-{n}", result="x" * 300))
    one_round = estimate_messages(tool_round("call-0", result="x" * 300))
    fitted = history.fit(3 * one_round + 60)  # the earlier turn would fit beside them, but stand before the gap
    assert [message["role"] for message in fitted.messages] == ["user", *["assistant", "tool"] * 3]
    assert [m["tool_call_id"] for m in fitted.messages if m["role"] == "tool"] == ["call-7", "call-8", "call-9"]
    assert (fitted.dropped_turns, fitted.dropped_rounds) == (1, 7)
    assert fitted.note == (
        "The oldest turn and the first 7 rounds of tool calls of the last turn "
        f"(up to {fitted.dropped_tokens:,} tokens) were left out to fit the context window."
    )
    assert len(history) == 23, "the history itself keeps everything"
    with pytest.raises(LLMError, match="may take"):
        history.fit(one_round)


def test_fit_counts_the_newest_turn_among_max_messages_and_keeps_it_whole():
    history = ConversationHistory(max_messages=4)
    add_turns(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
    assert history.fit(None).dropped_turns == 1
    history.max_messages = 1
    assert [message["content"] for message in history.fit(None).messages] == ["three", "THREE"]


def test_fit_before_a_turn_sees_what_that_turn_saw():
    history = ConversationHistory()
    for key in ("a", "b", "c"):
        history.put_turn(Turn([{"role": "user", "content": key}], key))
    fitted = history.fit(100, before="b", question="b again")
    assert [message["content"] for message in fitted.messages] == ["a"]
