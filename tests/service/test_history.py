"""A conversation never loses its system message, never splits a turn, never exceeds its limits, and survives a file."""

from __future__ import annotations

import copy
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from ipyllm.errors import LLMError
from ipyllm.history import ConversationHistory, Turn, conversation, conversations, forget_conversation
from ipyllm.redact import redact, remember_secret
from ipyllm.tokens import estimate, estimate_messages

TEXT = st.text(max_size=60)


def talk(history, *pairs):
    for question, answer in pairs:
        history.add_message("user", question)
        history.add_message("assistant", answer)


@given(st.none() | TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=8), st.none() | st.integers(0, 20),
       st.none() | st.integers(0, 200))  # fmt: skip
def test_limits_hold_and_turns_stay_whole(system, pairs, max_messages, max_tokens):
    history = ConversationHistory(max_messages=max_messages, max_tokens=max_tokens)
    if system is not None:
        history.add_message("system", system)
    talk(history, *pairs)
    messages = history.get_messages()
    roles = [message["role"] for message in messages]
    spoken = messages[1:] if system is not None else messages
    if system is not None:
        assert messages[0] == {"role": "system", "content": system}
    assert [role for role in roles if role != "system"] == ["user", "assistant"] * (len(spoken) // 2)
    if max_messages is not None:
        assert len(spoken) <= max_messages
    if max_tokens is not None and spoken:
        assert estimate_messages(messages) <= max_tokens
    whole = [message for pair in pairs for message in pair]
    assert [message["content"] for message in spoken] == whole[len(whole) - len(spoken) :], "the newest are kept"


def test_a_turn_with_a_known_key_takes_the_old_ones_place():
    history = ConversationHistory()
    for key in ("a", "b", "c"):
        history.put_turn(Turn([{"role": "user", "content": key}], key))
    history.put_turn(Turn([{"role": "user", "content": "B"}], "b"))
    assert [message["content"] for message in history.get_messages()] == ["a", "B", "c"]
    assert [message["content"] for message in history.get_messages(before="b")] == ["a"]


def test_a_second_system_message_replaces_the_first():
    history = ConversationHistory()
    history.add_message("system", "Be brief.")
    history.add_message("system", "Be kind.")
    assert history.get_messages() == [{"role": "system", "content": "Be kind."}]
    history.clear(keep_system=True)
    assert history.system == "Be kind."
    history.clear()
    assert len(history) == 0


def test_messages_handed_out_are_copies():
    history = ConversationHistory()
    history.add_message("user", "mine")
    history.get_messages()[0]["content"] = "changed"
    assert history.get_messages()[0]["content"] == "mine"


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="system, user, assistant, tool"):
        ConversationHistory().add_message("robot", "Hi")


def test_extend_takes_openai_messages_tool_calls_included():
    history = ConversationHistory()
    messages = [
        {"role": "user", "content": "What time is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "noon", "tool_call_id": "1"},
        {"role": "assistant", "content": "It is noon."},
    ]
    history.extend(messages)
    assert history.get_messages() == messages
    assert len(history.turns) == 1


def test_conversations_are_found_by_name():
    assert conversation("tests") is conversation("tests")
    assert "tests" in conversations()


def test_a_forgotten_conversation_frees_its_name():
    old = conversation("tests-forgotten")
    forget_conversation("tests-forgotten")
    assert conversation("tests-forgotten") is not old


# ---- messages ------------------------------------------------------------------------------------

BROKEN_TEXT = st.text(st.characters() | st.sampled_from("\ud83d\ude00\ud800"), max_size=12)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PARTS = st.lists(st.just(PICTURE) | st.builds(lambda text: {"type": "text", "text": text}, BROKEN_TEXT), max_size=3)
QUESTION = st.builds(lambda content: {"role": "user", "content": content}, BROKEN_TEXT | PARTS)
ANSWER = st.builds(lambda content: {"role": "assistant", "content": content}, BROKEN_TEXT | st.none())


def tool_round(name, *, arguments="{}", result="done"):
    call = {"id": name, "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": name, "content": result},
    ]


ROUND = st.builds(tool_round, st.uuids().map(str), arguments=BROKEN_TEXT, result=BROKEN_TEXT)
TURN = st.builds(
    lambda question, rounds, answer: [question, *(message for pair in rounds for message in pair), answer],
    QUESTION,
    st.lists(ROUND, max_size=2),
    ANSWER,
)
SYSTEM = st.none() | st.builds(
    lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer"]), BROKEN_TEXT
)


def history_of(system, turns):
    return ConversationHistory.from_messages([*([system] if system else []), *(m for turn in turns for m in turn)])


def flat(turns):
    return [message for turn in turns for message in turn]


def calls_and_results(messages):
    calls = {call["id"] for message in messages for call in message.get("tool_calls") or ()}
    return calls, {message["tool_call_id"] for message in messages if message["role"] == "tool"}


@given(SYSTEM, st.lists(TURN, max_size=4))
def test_the_openai_list_goes_in_and_comes_out_the_same(system, turns):
    messages = [*([system] if system else []), *flat(turns)]
    history = ConversationHistory.from_messages(messages, max_messages=0)
    assert history.to_messages() == messages, "limits are for what a model sees"
    assert [list(turn.messages) for turn in history.turns] == turns


def test_a_tool_result_joins_its_call_though_another_question_came_between():
    history = ConversationHistory()
    call, _ = tool_round("1")
    history.extend([{"role": "user", "content": "What time is it?"}, call, {"role": "user", "content": "Hurry!"}])
    history.add_message("tool", "noon", tool_call_id="1")
    assert [message["role"] for message in history.to_messages()] == ["user", "assistant", "tool", "user"]
    assert len(history.turns) == 2


@pytest.mark.parametrize(
    "message",
    [
        "Hello",
        {"content": "no role"},
        {"role": ["user"], "content": "x"},
        {"role": "user", "content": 5},
        {"role": "user", "content": ["a part that is none"]},
        {"role": "user", "content": [{"type": "text", "text": 5}]},
        {"role": "user", "content": "x", "when": object()},
        {"role": "user", "content": "x", "weight": float("nan")},
        {"role": "user", "content": "x", "huge": 2**64},
        {"role": "user", "content": "x", "keyed": {1: 2}},
        {"role": "assistant", "content": None, "tool_calls": "now()"},
    ],
)
def test_what_could_be_neither_sent_nor_saved_is_refused_at_the_door(message):
    history = ConversationHistory()
    with pytest.raises(ValueError, match=r"\.$"):
        history.extend([{"role": "user", "content": "This one is right."}, message])
    assert len(history) == 0, "all or none"
    with pytest.raises(ValueError, match=r"\.$"):
        Turn([message])


def test_a_message_that_contains_itself_is_refused():
    message = {"role": "user", "content": "x"}
    message["self"] = message
    with pytest.raises(ValueError, match="nested deeper"):
        ConversationHistory.from_messages([message])


def test_a_turn_holds_no_system_message():
    with pytest.raises(ValueError, match="belongs to the conversation"):
        Turn([{"role": "system", "content": "Be brief."}])


def test_nothing_handed_in_or_out_is_shared():
    mine = [{"role": "user", "content": [{"type": "text", "text": "mine"}]}]
    turn = Turn(mine, "a")
    history = ConversationHistory()
    history.put_turn(turn)
    other = history.fork()
    handles = [mine, turn.messages, history.to_messages(), history.get_messages(), history.turns[0].messages]
    handles += [history.fit(None).messages, history.undo()[0].messages]
    history.put_turn(turn)
    for messages in handles:
        messages[0]["content"][0]["text"] = "changed"
    assert other.to_messages() == [{"role": "user", "content": [{"type": "text", "text": "mine"}]}]


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
    total = estimate_messages([*leading, *flat(turns), *asked])
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
        assert messages == [*leading, *flat(kept)]
    if question is None and turns:
        assert len(kept) >= 1, "the newest turn is the question"
    if max_messages is not None and len(kept) > (question is None):
        assert len(flat(kept)) <= max_messages
    if fitted.dropped_turns and max_messages is None and not fitted.dropped_rounds:
        one_more = [*leading, *flat(turns[fitted.dropped_turns - 1 :]), *asked]
        assert estimate_messages(one_more) > window - reserve, "no turn is left out without need"
    assert (fitted.note is None) == (fitted.dropped_tokens == 0)


def test_with_no_limit_everything_fits():
    history = ConversationHistory()
    talk(history, ("one", "ONE"), ("two", "TWO"))
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
        "The question and the system message may take 6,671 tokens, but the window of local/smollm2-135m beside its "
        "answer has room for 6,144: shorten the question, or ask a model with a larger one."
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
    talk(history, ("earlier", "answer"))
    history.add_message("user", "Look up everything.")
    for n in range(10):
        history.extend(tool_round(f"call-{n}", result="x" * 300))
    one_round = estimate_messages(tool_round("call-0", result="x" * 300))
    fitted = history.fit(3 * one_round + 60)  # the earlier turn would fit beside them, but stand before the gap
    assert [message["role"] for message in fitted.messages] == ["user", *["assistant", "tool"] * 3]
    assert [m["tool_call_id"] for m in fitted.messages if m["role"] == "tool"] == ["call-7", "call-8", "call-9"]
    assert (fitted.dropped_turns, fitted.dropped_rounds) == (1, 7)
    assert fitted.note == (
        "Left out to fit: the oldest turn and the first 7 rounds of tool calls of the last turn "
        f"(up to {fitted.dropped_tokens:,} tokens)."
    )
    assert len(history) == 23, "the history itself keeps everything"
    with pytest.raises(LLMError, match="may take"):
        history.fit(one_round)


def test_fit_counts_the_newest_turn_among_max_messages_and_keeps_it_whole():
    history = ConversationHistory(max_messages=4)
    talk(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
    assert history.fit(None).dropped_turns == 1
    history.max_messages = 1
    assert [message["content"] for message in history.fit(None).messages] == ["three", "THREE"]


def test_fit_before_a_turn_sees_what_that_turn_saw():
    history = ConversationHistory()
    for key in ("a", "b", "c"):
        history.put_turn(Turn([{"role": "user", "content": key}], key))
    fitted = history.fit(100, before="b", question="b again")
    assert [message["content"] for message in fitted.messages] == ["a"]


# ---- undo, fork, restore -------------------------------------------------------------------------


def test_undo_takes_back_turns_but_not_the_system_message():
    history = ConversationHistory()
    history.add_message("system", "Be brief.")
    talk(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
    gone = history.undo()
    assert [turn.messages[0]["content"] for turn in gone] == ["three"]
    assert [turn.messages[0]["content"] for turn in history.undo(5)] == ["one", "two"]
    assert history.undo() == ()
    assert history.to_messages() == [{"role": "system", "content": "Be brief."}]
    for turn in gone:
        history.put_turn(turn)
    assert [message["content"] for message in history.to_messages()] == ["Be brief.", "three", "THREE"]
    with pytest.raises(ValueError, match="-1"):
        history.undo(-1)


def test_a_named_fork_is_the_conversation_of_that_name():
    history = ConversationHistory(max_messages=4)
    talk(history, ("one", "ONE"))
    empty = conversation("tests-fork")
    fork = history.fork("tests-fork")
    assert fork is empty is conversation("tests-fork"), "whoever shows the empty one sees the fork"
    assert fork.to_messages() == history.to_messages()
    assert fork.max_messages == 4
    fork.add_message("user", "only here")
    assert len(history) == 2
    with pytest.raises(LLMError, match="'tests-fork' already"):
        history.fork("tests-fork")
    assert len(fork) == 3
    assert history.fork("tests-fork-new") is conversation("tests-fork-new")


def test_restore_fills_a_conversation_that_others_hold():
    shown = ConversationHistory()
    talk(shown, ("old", "OLD"))
    loaded = ConversationHistory.from_messages([{"role": "user", "content": "new"}], max_tokens=7)
    shown.restore(loaded)
    loaded.clear()
    assert [message["content"] for message in shown.to_messages()] == ["new"]
    assert shown.max_tokens == 7


# ---- all of it, in any order ---------------------------------------------------------------------


class Conversations(RuleBasedStateMachine):
    """Each history against a list of (key, messages); forks must not know of each other."""

    histories = Bundle("histories")

    def __init__(self):
        super().__init__()
        self.pairs = []
        self.ids = 0
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self):
        self.folder.cleanup()

    def _pair(self, history, turns):
        self.pairs.append((history, turns))
        return history, turns

    @rule(target=histories, system=SYSTEM)
    def new(self, system):
        return self._pair(history_of(system, []), [])

    @rule(pair=histories, question=QUESTION)
    def ask(self, pair, question):
        history, turns = pair
        history.extend([question])
        turns.append((None, [question]))

    @rule(pair=histories, answer=ANSWER)
    def answer(self, pair, answer):
        history, turns = pair
        history.extend([answer])
        if turns:
            turns[-1][1].append(answer)
        else:
            turns.append((None, [answer]))

    @rule(pair=histories, result=BROKEN_TEXT, hurry=st.none() | QUESTION)
    def use_a_tool(self, pair, result, hurry):
        history, turns = pair
        self.ids += 1
        call, result = tool_round(f"call-{self.ids}", result=result)
        history.extend([call, *([hurry] if hurry else []), result])
        if not turns:
            turns.append((None, []))
        turns[-1][1].extend([call, result])
        if hurry:
            turns.append((None, [hurry]))

    @rule(pair=histories, key=st.none() | st.sampled_from("abc"), messages=TURN)
    def put(self, pair, key, messages):
        history, turns = pair
        history.put_turn(Turn(messages, key))
        for place, (other, _) in enumerate(turns):
            if key is not None and other == key:
                turns[place] = (key, list(messages))
                return
        turns.append((key, list(messages)))

    @rule(pair=histories, n=st.integers(0, 3))
    def undo(self, pair, n):
        history, turns = pair
        gone = turns[max(0, len(turns) - n) :]
        del turns[max(0, len(turns) - n) :]
        assert [(turn.key, list(turn.messages)) for turn in history.undo(n)] == gone

    @rule(pair=histories)
    def clear(self, pair):
        history, turns = pair
        history.clear(keep_system=True)
        turns.clear()

    @rule(target=histories, pair=histories)
    def fork(self, pair):
        history, turns = pair
        return self._pair(history.fork(), copy.deepcopy(turns))

    @rule(target=histories, pair=histories)
    def save_and_load(self, pair):
        history, turns = pair
        assume(holds_no_key(history))
        path = Path(self.folder.name) / "saved.json"
        history.save(path)
        return self._pair(ConversationHistory.load(path), copy.deepcopy(turns))

    @rule(pair=histories, limit=st.integers(0, 300), before=st.none() | st.sampled_from("abc"))
    def trim(self, pair, limit, before):
        history, turns = pair
        seen = []
        for key, messages in turns:
            if before is not None and key == before:
                break
            seen.append(messages)
        kept = [m for m in history.get_messages(before=before, max_tokens=limit) if m["role"] not in LEADING]
        assert kept in [flat(seen[n:]) for n in range(len(seen) + 1)]
        assert not kept or estimate_messages(kept) <= limit
        calls, results = calls_and_results(kept)
        assert calls == results
        fitted = history.fit(limit + 10_000_000, before=before)
        assert [m for m in fitted.messages if m["role"] not in LEADING] == flat(seen)

    @invariant()
    def each_holds_what_was_put_into_it(self):
        for history, turns in self.pairs:
            assert [(turn.key, list(turn.messages)) for turn in history.turns] == turns


LEADING = ("system", "developer")
TestConversations = Conversations.TestCase
TestConversations.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


# ---- the file ------------------------------------------------------------------------------------


def holds_no_key(history):
    """Hypothesis tries strings out of the sources, other tests' keys among them; those would be masked."""
    text = repr(state(history))
    return redact(text) == text


def state(history):
    return history.to_messages(), history.turns, history.max_messages, history.max_tokens


@settings(deadline=None)
@given(SYSTEM, st.lists(st.tuples(TURN, st.none() | BROKEN_TEXT, st.sampled_from(["ok", "cancelled"])), max_size=4),
       st.none() | st.integers(0, 9))  # fmt: skip
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, system, turns, max_messages):
    history = history_of(system, [])
    history.max_messages = max_messages
    for n, (messages, model, status) in enumerate(turns):
        history.put_turn(Turn(messages, f"cell-{n}" if n % 2 else None, model, status))
    assume(holds_no_key(history))
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    history.save(path)
    assert state(ConversationHistory.load(path)) == state(history)


@pytest.mark.parametrize("text", ["half \ud83d", "swapped \ude00\ud83d", "two halves \ud83d\ude00", "a\x00b\u2028c"])
def test_text_that_json_has_no_escape_for_survives_a_file(tmp_path, text):
    history = ConversationHistory.from_messages([{"role": "user", "content": text}])
    history.save(tmp_path / "chat.json")
    assert ConversationHistory.load(tmp_path / "chat.json").to_messages()[0]["content"] == text


def test_a_saved_conversation_is_the_owners_alone_even_over_an_open_file(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text("an older file")
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    ConversationHistory().save(link)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["chat.json", "link.json"]


def test_a_cell_run_again_after_loading_replaces_its_turn(tmp_path):
    history = ConversationHistory()
    history.put_turn(Turn([{"role": "user", "content": "first"}], "cell-1", "local/smollm2-135m"))
    history.save(tmp_path / "chat.json")
    loaded = ConversationHistory.load(str(tmp_path / "chat.json"))
    loaded.put_turn(Turn([{"role": "user", "content": "again"}], "cell-1"))
    assert [message["content"] for message in loaded.to_messages()] == ["again"]


def test_keys_are_masked_in_the_file_and_pictures_are_left_alone(tmp_path):
    remember_secret("a-secret-of-this-test")
    history = ConversationHistory()
    history.add_message("system", "My key is sk-abcdefghijklmnopqrstuvwxyz.")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,/AIza" + "A" * 30}}
    history.add_message("user", [{"type": "text", "text": "a-secret-of-this-test"}, picture])
    history.extend(tool_round("1", arguments='{"key": "sk-abcdefghijklmnopqrstuvwxyz"}'))
    history.save(tmp_path / "chat.json")
    written = (tmp_path / "chat.json").read_text("utf-8")
    assert "sk-abcdef" not in written
    assert "a-secret-of-this-test" not in written
    loaded = ConversationHistory.load(tmp_path / "chat.json")
    assert loaded.system == "My key is [key hidden]."
    assert loaded.to_messages()[1]["content"][1] == picture


def refused(path, match):
    with pytest.raises(LLMError, match=match) as caught:
        ConversationHistory.load(path)
    sentence = str(caught.value)
    assert caught.value.category == "bad_request"
    assert sentence.endswith(".")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < len(str(path)) + 200


def test_a_path_that_cannot_be_used_is_said_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    refused("missing.json", r"The file 'missing.json' cannot be read: no such file")
    for path in (tmp_path, "null\0.json", "loop", "~nobody-of-this-name/chat.json", "x" * 300):
        refused(path, "cannot be read")
        with pytest.raises(LLMError, match=r"cannot be written: .*\.$"):
            ConversationHistory().save(path)
    with pytest.raises(LLMError, match="cannot be written: no such file"):
        ConversationHistory().save("no-such-folder/chat.json")
    with pytest.raises(LLMError, match="cannot be written: it is no file"):
        ConversationHistory().save(os.devnull)
    assert [entry.name for entry in tmp_path.iterdir()] == ["loop"]


def valid():
    history = ConversationHistory(max_messages=20)
    history.add_message("system", "Be brief.")
    history.put_turn(Turn([{"role": "user", "content": [PICTURE, {"type": "text", "text": "What is this?"}]},
                           *tool_round("1"), {"role": "assistant", "content": "A dot."}], "cell-1", "a/b"))  # fmt: skip
    talk(history, ("Und?", "Schön."))
    return history


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "chat.json"
    valid().save(path)
    return path.read_bytes()


def test_the_format_is_fixed(document):
    read = json.loads(document)
    assert (read["format"], read["version"]) == ("ipyllm-conversation", 1)
    assert [turn["key"] for turn in read["turns"]] == ["cell-1", None]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2}, "was saved by a newer ipyllm: upgrade"),
        ({"version": 10**4000}, "was saved by a newer ipyllm: upgrade"),
        ({"version": True}, "is damaged: it says no format version"),
        ({"version": 0}, "is damaged: it says no format version"),
        ({"format": "nbformat"}, "is no conversation that ipyllm has saved"),
        ({"turns": None}, "is damaged: it has no list of turns"),
        ({"turns": [{"key": 5, "model": None, "status": "ok", "messages": []}]}, "key, model or status"),
        ({"turns": [{"key": "a", "model": None, "status": "ok", "messages": []}] * 2}, "have the same key"),
        ({"turns": [{"status": "ok", "messages": [{"role": "robot\n" * 99}]}]}, "There is no role"),
        ({"system": {"role": "user", "content": "x"}}, "system message has another role"),
        ({"max_tokens": "many"}, "max_tokens is no whole number"),
    ],
)
def test_a_file_that_is_not_ours_or_damaged_says_so(tmp_path, document, change, match):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({**json.loads(document), **change}))
    refused(path, match)


def loads_or_refuses(path, data):
    """Whatever is in the file: a conversation that works, or the one clear error."""
    path.write_bytes(data)
    try:
        history = ConversationHistory.load(path)
    except LLMError:
        refused(path, "is no conversation that ipyllm has saved|is damaged|was saved by a newer")
        return
    history.get_messages()
    history.to_dataframe()
    assume(holds_no_key(history))
    history.save(path)
    assert state(ConversationHistory.load(path)) == state(history)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(data)
    refused(path, "is no conversation that ipyllm has saved")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OURS = st.sampled_from(["role", "content", "user", "assistant", "tool", "tool_calls", "id", "text", "messages", "key"])


@settings(deadline=None)
@given(JSON, st.data())
def test_arbitrary_json_in_any_place_of_a_saved_file_loads_or_is_refused(tmp_path_factory, document, value, data):
    whole = node = json.loads(document)
    while True:
        place = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        inner = node[place]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        node = inner
    if isinstance(node, dict) and data.draw(st.booleans()):
        del node[place]
        node[data.draw(OURS)] = value
    else:
        node[place] = value
    assume(whole.get("format") == "ipyllm-conversation")
    loads_or_refuses(tmp_path_factory.getbasetemp() / "fuzz.json", json.dumps(whole).encode())


@settings(deadline=None)
@given(st.data())
def test_a_saved_file_cut_or_with_a_wrong_byte_loads_or_is_refused(tmp_path_factory, document, data):
    place = data.draw(st.integers(0, len(document) - 1))
    byte = data.draw(st.binary(max_size=1))
    rest = document[place + 1 :] if byte else b""
    loads_or_refuses(tmp_path_factory.getbasetemp() / "fuzz.json", document[:place] + byte + rest)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 1_000_000,
        b'{"format": "ipyllm-conversation", "turns": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format": "ipyllm-conversation", "version": ' + b"9" * 5000 + b"}",
        "\ufeff{}".encode(),
        '{"format": "ipyllm-conversation"}'.encode("utf-16"),
        b"\xff\xfe\x00",
        b"NaN",
    ],
    ids=["empty", "deep", "deep-turns", "huge-number", "bom", "utf-16", "binary", "nan"],
)
def test_hostile_files_are_refused(tmp_path, data):
    (tmp_path / "chat.json").write_bytes(data)
    refused(tmp_path / "chat.json", "is no conversation|is damaged")


def test_messages_nested_too_deep_are_refused_not_a_stack_overflow(tmp_path, document):
    read = json.loads(document)
    read["turns"][0]["messages"][0]["deep"] = json.loads("[" * 200 + "]" * 200)
    (tmp_path / "chat.json").write_text(json.dumps(read))
    refused(tmp_path / "chat.json", "is damaged: .* nested deeper than 32")


SAVING = """
import sys
from ipyllm.history import ConversationHistory
history = ConversationHistory()
for n in range(2000):
    history.add_message("user", f"{n} " + "x" * 500)
print("ready", flush=True)
while True:
    history.save(sys.argv[1])
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path):
    path = tmp_path / "chat.json"
    valid().save(path)
    for pause in (0.01, 0.03, 0.05):
        process = subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(ConversationHistory.load(path)) in {len(valid()), 2000}


FULL_DISK = """
import resource, sys
from ipyllm.errors import LLMError
from ipyllm.history import ConversationHistory
history = ConversationHistory()
history.add_message("user", "x" * 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    history.save(sys.argv[1])
except LLMError as exc:
    print(exc)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "chat.json"
    valid().save(path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written: file too large." in done.stdout
    assert state(ConversationHistory.load(path)) == state(valid())
    assert [entry.name for entry in tmp_path.iterdir()] == ["chat.json"]


# ---- tables and threads --------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_message():
    history = valid()
    history.add_message("user", "half \ud83d")
    frame = history.to_dataframe()
    assert list(frame.columns) == ["turn", "role", "content", "model", "status", "estimated_tokens"]
    assert frame["role"].tolist() == [message["role"] for message in history.to_messages()]
    assert frame["turn"].isna().tolist() == [True] + [False] * 7
    assert frame["turn"].tolist()[1:] == [0, 0, 0, 0, 1, 1, 2]
    assert frame["content"].tolist()[1] == "What is this?"
    assert frame["content"].tolist()[-1] == "half \ud83d"
    assert frame["model"].tolist()[:2] == [None, "a/b"]
    assert frame["estimated_tokens"].sum() == estimate_messages(history.to_messages())


def test_the_table_of_nothing_has_the_same_columns():
    empty, full = ConversationHistory().to_dataframe(), valid().to_dataframe()
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert len(empty) == 0


def test_threads_lose_no_turn_and_see_only_whole_ones(tmp_path):
    history = ConversationHistory()
    stop = threading.Event()
    failures = []

    def write(name):
        for n in range(150):
            question = {"role": "user", "content": f"{name} {n}"}
            history.put_turn(Turn([question], f"{name}-{n}"))
            history.put_turn(Turn([question, *tool_round(f"{name}-{n}")], f"{name}-{n}"))

    def read():
        while not stop.is_set():
            for messages in (history.get_messages(max_tokens=500), history.fit(500, question="?").messages):
                calls, results = calls_and_results(messages)
                if calls != results:
                    failures.append(messages)
            history.fork().undo(3)
            history.save(tmp_path / "chat.json")
            history.to_dataframe()

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert not failures
    assert len(history.turns) == 600
    for name in "abcd":
        keys = [turn.key for turn in history.turns if turn.key.startswith(name)]
        assert keys == [f"{name}-{n}" for n in range(150)]


# ---- observers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.add_message("user", "x"),
        lambda h: h.extend([{"role": "user", "content": "x"}]),
        lambda h: h.put_turn(Turn([{"role": "user", "content": "x"}])),
        lambda h: h.replace_turns([]),
        lambda h: h.set_system("Be brief."),
        lambda h: h.undo(),
        lambda h: h.clear(),
        lambda h: h.restore(ConversationHistory()),
    ],
)
def test_an_observer_is_told_of_every_kind_of_change_once_and_no_more_after_it_stopped(change):
    history, seen = ConversationHistory(), []
    stop = history.observe(lambda: seen.append(len(history)))
    change(history)
    assert len(seen) == 1
    stop()
    stop()
    change(history)
    assert len(seen) == 1


def test_a_change_that_fails_is_told_to_nobody():
    history, seen = ConversationHistory(), []
    history.observe(lambda: seen.append(1))
    with pytest.raises(ValueError, match="no role"):
        history.add_message("nobody", "x")
    assert seen == []


def test_the_system_message_is_replaced_and_taken_away():
    history = ConversationHistory()
    history.set_system("One.")
    history.set_system("Two.")
    assert history.to_messages() == [{"role": "system", "content": "Two."}]
    history.set_system("  ")
    assert history.system is None


def test_the_text_of_a_conversation_is_what_save_writes(tmp_path):
    history = ConversationHistory.from_messages([{"role": "user", "content": "sk-abcdefghijklmnopqrstuvwxyz0123"}])
    history.save(tmp_path / "saved.json")
    assert history.to_json() == (tmp_path / "saved.json").read_text()
    assert "abcdefghijklmnop" not in history.to_json()


# ---- what a question follows ---------------------------------------------------------------------------

LONG = {"role": "user", "content": "word " * 4_000}
NEW = {"role": "system", "content": "Be kind."}


@pytest.fixture
def talked():
    history = ConversationHistory()
    history.add_message("system", "Be brief. " * 20)
    talk(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
    return history


def contents(messages):
    return [message["content"] for message in messages]


def test_a_question_that_fills_the_window_follows_the_system_message_alone_and_it_is_said(talked):
    messages, note = talked.preceding([LONG], 2_000, model="local/small")
    assert contents(messages) == ["Be brief. " * 20]
    tokens = sum(estimate_messages([message]) for message in talked.get_messages()[1:])
    assert note == f"Left out to fit: the oldest 3 turns (up to {tokens:,} tokens)."
    assert len(talked.get_messages()) == 7, "the conversation itself keeps them"


def test_a_question_that_fills_the_window_with_a_new_system_message_follows_nothing(talked):
    messages, note = talked.preceding([NEW, LONG], 2_000, model="local/small")
    assert messages == [], "the new system message takes the place of the old one"
    assert note is not None
    assert note.startswith("Left out to fit: the oldest 3 turns")


def test_a_question_that_fills_the_window_of_an_empty_conversation_leaves_nothing_out():
    assert ConversationHistory().preceding([NEW, LONG], 2_000) == ([], None)


def test_a_system_message_that_is_replaced_takes_no_room(talked):
    question = {"role": "user", "content": "four"}
    room = estimate_messages([NEW, *talked.get_messages()[1:], question])
    messages, note = talked.preceding([NEW, question], room, max_tokens=0)
    assert contents(messages) == ["one", "ONE", "two", "TWO", "three", "THREE"]
    assert note is None
    messages, note = talked.preceding([NEW, question], room - 1, max_tokens=0)
    assert contents(messages) == ["two", "TWO", "three", "THREE"]
    assert note is not None


def test_without_a_known_window_everything_is_sent_behind_the_new_system_message(talked):
    messages, note = talked.preceding([NEW, LONG], None)
    assert contents(messages) == ["one", "ONE", "two", "TWO", "three", "THREE"]
    assert note is None


def test_the_window_is_looked_up_only_if_something_may_have_to_be_left_out(talked):
    looked = []

    def window():
        looked.append(True)
        return 2_000

    assert ConversationHistory().preceding([LONG], window) == ([], None)
    assert looked == []
    _, note = talked.preceding([LONG], window)
    assert note is not None
    assert looked == [True]


def test_only_what_stands_before_a_turn_is_left_out_for_a_long_question_in_its_place(talked):
    talked.put_turn(Turn(({"role": "user", "content": "four"}, {"role": "assistant", "content": "FOUR"}), "cell"))
    _, note = talked.preceding([NEW, LONG], 2_000, before="cell")
    assert note is not None
    assert "the oldest 3 turns" in note
