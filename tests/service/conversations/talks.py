"""Conversations for tests: said by hand, or drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from ipyllm.conversations.history import ConversationHistory


def talk(history, *pairs):
    for question, answer in pairs:
        history.add_message("user", question)
        history.add_message("assistant", answer)


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
