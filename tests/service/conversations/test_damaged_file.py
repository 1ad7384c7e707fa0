"""A saved conversation that is damaged: what is whole is read, what is not is said, and the file is kept."""

from __future__ import annotations

import random
import warnings

import pytest

from ipyllm.conversations.history import ConversationHistory
from ipyllm.errors import LLMError

N_TURNS = 20


@pytest.fixture
def saved(tmp_path):
    history = ConversationHistory(max_messages=9)
    history.set_system("Be brief.")
    for number in range(N_TURNS):
        history.add_message("user", f"Question {number}?\n  {{\n")
        history.add_message("assistant", f"Réponse {number}.")
    path = tmp_path / "chat.json"
    history.save(path)
    return path


def load(path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        history = ConversationHistory.load(path)
    return history, [str(warning.message) for warning in said]


def test_a_byte_that_is_not_utf8_is_replaced_and_its_turn_named(saved):
    data = saved.read_bytes().replace("Réponse 7".encode(), b"R\xe9ponse 7")
    saved.write_bytes(data)
    history, (said,) = load(saved)
    assert history.turns[7].messages[1]["content"] == "R\ufffdponse 7."
    assert (len(history.turns), history.system, history.max_messages) == (N_TURNS, "Be brief.", 9)
    (copy,) = saved.parent.glob("chat.json.corrupt-*")
    assert said == (
        f"The file {str(saved)!r} is damaged: bytes that are no text are shown as \ufffd (turn 8). "
        f"A copy of the damaged file was kept as {copy.name}."
    )
    assert copy.read_bytes() == saved.read_bytes() == data
    load(saved)
    assert len(list(saved.parent.iterdir())) == 2, "a second load makes no other copy"


def test_of_a_file_that_ends_early_the_whole_turns_are_read(saved):
    data = saved.read_bytes()
    saved.write_bytes(data[: data.index(b"Question 12")])
    history, (said,) = load(saved)
    assert [turn.messages[0]["content"].partition("?")[0] for turn in history.turns] == [
        f"Question {n}" for n in range(12)
    ]
    assert "12 of 13 turns could be read" in said
    assert history.system == "Be brief."


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_cost_only_the_turns_that_they_are_in(saved, seed):
    chosen = random.Random(seed)
    data = bytearray(saved.read_bytes())
    n_flips = chosen.randint(1, 3)
    for _ in range(n_flips):
        data[chosen.randrange(len(data))] ^= chosen.randint(1, 255)
    saved.write_bytes(data)
    history, _ = load(saved)
    assert len(history.turns) >= N_TURNS - 2 * n_flips


def test_a_file_of_others_that_is_damaged_is_refused(tmp_path):
    path = tmp_path / "chat.json"
    path.write_bytes(b'{"format": "ipyllm-conversation", "caf\xe9": 1')
    with pytest.raises(LLMError, match="is not a conversation saved by ipyllm"):
        ConversationHistory.load(path)
    assert list(tmp_path.iterdir()) == [path]
