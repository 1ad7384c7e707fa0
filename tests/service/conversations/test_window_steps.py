"""What the window holds is what is really sent before each question, and the browser computes the same."""

import json
import random
from pathlib import Path

import pytest

from ipyllm import ConversationHistory
from ipyllm.conversations.tokens import estimate_messages
from ipyllm.conversations.window_steps import TurnSize, turn_sizes, window_steps

CASES = json.loads((Path(__file__).parents[3] / "widgets/tests/teaching/window_cases.json").read_text())


def test_the_cases_of_the_browser_are_those_of_python():
    for case in CASES:
        turns = [TurnSize(**turn) for turn in case["turns"]]
        limits = {"max_tokens": case["maxTokens"], "max_messages": case["maxMessages"]}
        found = window_steps(case["system"], turns, case["window"], case["reserve"], **limits)
        assert [[step.first, step.history, step.left_out, step.shared, step.free, step.sent] for step in found] == case[
            "steps"
        ]


@pytest.mark.parametrize("seed", range(12))
def test_a_step_holds_what_is_sent_before_its_question(seed):
    rng = random.Random(seed)
    history = ConversationHistory(max_tokens=rng.choice([None, 90]), max_messages=rng.choice([None, 3]))
    if rng.random() < 0.7:
        history.add_message("system", "word " * rng.randint(1, 30))
    for _ in range(rng.randint(1, 7)):
        history.add_message("user", "word " * rng.randint(1, 25))
        for _ in range(rng.randint(0, 2)):
            history.add_message("assistant", "word " * rng.randint(0, 40))
    window, reserve = rng.choice([80, 160, 400]), rng.choice([0, 16, 60])
    system = estimate_messages(m for m in history.to_messages() if m["role"] == "system")
    limits = {"max_tokens": history.max_tokens, "max_messages": history.max_messages}
    steps = window_steps(system, turn_sizes(history.turns), window, reserve, **limits)
    for index, (step, turn) in enumerate(zip(steps, history.turns, strict=True)):
        before = ConversationHistory.from_messages(history.to_messages()[: bool(system)], **limits)
        before.replace_turns(history.turns[:index])
        sent, _ = before.preceding(turn.messages[:1], window, max_tokens=reserve)
        assert estimate_messages(sent) == step.system + step.history
        assert step.free == window - step.sent
