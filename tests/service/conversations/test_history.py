"""A conversation never loses its system message, never splits a turn, never exceeds its limits, and survives a file."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipyllm.conversations.history import ConversationHistory, Turn, conversation, conversations, forget_conversation
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.errors import LLMError
from tests.service.conversations.samples import (
    SYSTEM,
    TURN,
    add_turns,
    calls_and_results,
    flatten,
    tool_round,
)
from tests.service.conversations.test_history_file import valid

TEXT = st.text(max_size=60)


@given(st.none() | TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=8), st.none() | st.integers(0, 20),
       st.none() | st.integers(0, 200))  # fmt: skip
def test_limits_hold_and_turns_stay_whole(system, pairs, max_messages, max_tokens):
    history = ConversationHistory(max_messages=max_messages, max_tokens=max_tokens)
    if system is not None:
        history.add_message("system", system)
    add_turns(history, *pairs)
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


@given(SYSTEM, st.lists(TURN, max_size=4))
def test_the_openai_list_goes_in_and_comes_out_the_same(system, turns):
    messages = [*([system] if system else []), *flatten(turns)]
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


# ---- undo, fork, restore -------------------------------------------------------------------------


def test_undo_takes_back_turns_but_not_the_system_message():
    history = ConversationHistory()
    history.add_message("system", "Be brief.")
    add_turns(history, ("one", "ONE"), ("two", "TWO"), ("three", "THREE"))
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
    add_turns(history, ("one", "ONE"))
    empty = conversation("tests-fork")
    fork = history.fork("tests-fork")
    assert fork is empty is conversation("tests-fork"), "whoever shows the empty one sees the fork"
    assert fork.to_messages() == history.to_messages()
    assert fork.max_messages == 4
    fork.add_message("user", "only here")
    assert len(history) == 2
    with pytest.raises(LLMError, match="'tests-fork' already exists"):
        history.fork("tests-fork")
    assert len(fork) == 3
    assert history.fork("tests-fork-new") is conversation("tests-fork-new")


def test_restore_fills_a_conversation_that_others_hold():
    shown = ConversationHistory()
    add_turns(shown, ("old", "OLD"))
    loaded = ConversationHistory.from_messages([{"role": "user", "content": "new"}], max_tokens=7)
    shown.restore(loaded)
    loaded.clear()
    assert [message["content"] for message in shown.to_messages()] == ["new"]
    assert shown.max_tokens == 7


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
