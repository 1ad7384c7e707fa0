"""``split``: shares follow the weights, and a conversation stays with its arm."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from ipyllm import LLMError, OpenAIService, split
from ipyllm.pipeline.candidates import candidates
from ipyllm.request import Provenance

NAMES = [f"conversation {n}" for n in range(4000)]


def arm_of(route, prompt="Hello", **options):
    (choice,) = candidates(route, route.request(prompt, **options))
    return choice.request.provenance.tags["arm"]


def test_each_arm_gets_its_share_of_conversations():
    route = split({"openai/a": 9, "deepseek/b": 1}, seed=7)
    shares = Counter(route.arm_of(name) for name in NAMES)
    assert 0.88 < shares["openai/a"] / len(NAMES) < 0.92


def test_a_conversation_stays_with_its_arm_in_another_process_too():
    weights, names = {"openai/a": 0.5, "deepseek/b": 0.5}, NAMES[:50]
    code = f"from ipyllm import split\nprint([split({weights}, seed=7).arm_of(n) for n in {names}])"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    route = split(weights, seed=7)
    assert str([route.arm_of(name) for name in names]) == there.strip()
    asked = [arm_of(route, f"turn {n}", provenance=Provenance(conversation=names[3])) for n in range(10)]
    assert set(asked) == {route.arm_of(names[3])}


def test_another_seed_is_another_assignment():
    first, second = (split({"openai/a": 1, "openai/b": 1}, seed=seed) for seed in (1, 2))
    same = sum(first.arm_of(name) == second.arm_of(name) for name in NAMES)
    assert 0.45 < same / len(NAMES) < 0.55


def test_a_change_of_weights_moves_only_what_it_must():
    before = split({"openai/a": 0.9, "openai/b": 0.1}, seed=1)
    after = split({"openai/a": 0.8, "openai/b": 0.2}, seed=1)
    moved = Counter((before.arm_of(n), after.arm_of(n)) for n in NAMES)
    assert ("openai/b", "openai/a") not in moved
    assert 0.08 < moved["openai/a", "openai/b"] / len(NAMES) < 0.12


def test_the_same_question_goes_to_the_same_arm_if_asked_for():
    route = split({"openai/a": 1, "openai/b": 1}, sticky="call")
    assert len({arm_of(route, "Hello", provenance=Provenance(conversation=str(n))) for n in range(20)}) == 1
    assert len({arm_of(route, f"question {n}") for n in range(20)}) == 2


def test_drawn_calls_repeat_with_the_seed():
    first, second = (split({"openai/a": 1, "openai/b": 1}, sticky=None, seed=3) for _ in range(2))
    drawn = [arm_of(first) for _ in range(40)]
    assert drawn == [arm_of(second) for _ in range(40)]
    assert len(set(drawn)) == 2


def test_a_failing_arm_is_not_mixed_with_another(a, b, ask):
    from tests.fakes import server_error

    a.default = server_error()
    route = split({OpenAIService("m", base_url=a.base_url, max_retries=0): 1})
    with pytest.raises(LLMError) as caught:
        ask(route)
    assert caught.value.category == "api_error"


def test_one_model_with_two_parameters_is_two_arms(a, ask, rows):
    warm, cold = (OpenAIService("m", base_url=a.base_url, temperature=t) for t in (1, 0))
    route = split({warm: 1, cold: 1}, sticky=None, seed=1, name="ab")
    for _ in range(12):
        ask(route)
    sent = Counter(request.json["temperature"] for request in a.requests)
    arm_counts = Counter(tags["arm"] for tags in rows().tags)
    assert set(arm_counts) == {"openai/m", "openai/m #2"}
    assert (arm_counts["openai/m"], arm_counts["openai/m #2"]) == (sent[1], sent[0])
    assert set(rows().model) == {"openai/m"}


@pytest.mark.parametrize("weights", [{}, {"openai/a": 0}, {"openai/a": -1, "openai/b": 2}, {"openai/a": float("nan")}])
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(LLMError, match="weights"):
        split(weights)


def test_a_stickiness_that_does_not_exist_is_refused():
    with pytest.raises(LLMError, match="sticky"):
        split({"openai/a": 1}, sticky="session")


def test_the_repr_of_a_split_names_its_arms_with_their_weights():
    assert "ollama/a: 3" in repr(split({"ollama/a": 3, "ollama/b": 1}))
