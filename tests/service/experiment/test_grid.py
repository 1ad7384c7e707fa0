"""Arms and their labels, trials and their keys, and the order of the calls."""

from __future__ import annotations

from collections import Counter

import pytest

from ipyllm import Comparison, LLMError, OpenAIService
from ipyllm.comparison.arms import make_arms
from ipyllm.experiment.grid import Grid
from ipyllm.experiment.prompts import read_prompts
from ipyllm.experiment.schedule import schedule_trials

ONE, TWO = "openai/any-model", "ollama/llama3.2"


def labels(*arguments, **options):
    return [arm.label for arm in make_arms(*arguments, **options)]


def grid(prompts=10, repeats=1, **options):
    return Grid(
        make_arms(**{"models": [ONE, TWO]} | options), read_prompts([f"{n}?" for n in range(prompts)])[0], repeats
    )


def test_the_first_rows_of_a_grid_have_the_trials_of_the_whole_grid():
    prompts = read_prompts(["a", "b", "a b"], {"one": "{{ prompt }}", "two": "{{ prompt|reverse }}", "three": "b"})[0]
    whole = Grid(make_arms([ONE, TWO], variants=("one", "two", "three")), prompts, 2)
    first = whole.first(2)
    asked = {id(trial) for trial in whole.trials.values() if trial.prompt.row < 2}
    assert {id(trial) for trial in first.trials.values()} == asked
    assert len(first) == len(first.trials) == len(asked) == 24
    assert [prompt.text for prompt in first.all_prompts] == ["a", "b", "a", "b", "b", "b"]
    assert {trial.prompt.row for trials in first.earlier_keys.values() for trial in trials} == {0, 1}
    assert len(whole.prompts) == 3


def test_an_arm_is_called_by_what_tells_it_from_the_others():
    assert labels([ONE, TWO]) == ["any-model", "llama3.2"]
    assert labels(ONE, params={"temperature": 0}) == ["any-model"]
    assert labels(ONE, params=[{"temperature": 0, "seed": 1}, {"temperature": 1, "seed": 1}]) == [
        "any-model · temperature=0",
        "any-model · temperature=1",
    ]
    assert labels(ONE, params=[{}, {"temperature": 1}]) == ["any-model · default", "any-model · temperature=1"]
    assert labels(ONE, system=[None, "Be brief."]) == ["any-model · no system", "any-model · system 1"]


def test_names_of_the_users_own_are_used():
    params = {"cold": {"temperature": 0}, "hot": {"temperature": 1}}
    assert labels(ONE, params=params, system={"terse": "Be brief."}) == [
        "any-model · cold · terse",
        "any-model · hot · terse",
    ]


def test_models_of_one_name_at_two_services_or_servers_are_told_apart():
    assert labels(["openai/m", "ollama/m"]) == ["openai/m", "ollama/m"]
    both = [OpenAIService("m", base_url=f"http://h{n}:8000/v1", api_key="sk-test-Vq3nXw8Lr2Tz6Kd9") for n in (1, 2)]
    assert labels(both) == ["m @ h1:8000", "m @ h2:8000"]


def test_labels_are_unique_whatever_the_parameters_look_like():
    long = [{"stop": ["x" * 40, str(n)]} for n in range(3)]
    assert len(set(labels(ONE, params=long))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": []}, "There is no model to ask"),
        ({"models": [7]}, "not int"),
        ({"models": ["olama/llama3.2"]}, "did you mean 'ollama/llama3.2'"),
        ({"models": [ONE, ONE]}, "Two arms are the same: openai/any-model"),
        ({"models": ONE, "params": [{"temprature": 0}]}, "did you mean 'temperature'"),
        ({"models": ONE, "params": "hot"}, "params must be a dict"),
        ({"models": ONE, "system": [1]}, "system must be a string"),
    ],
)
def test_arms_that_cannot_be_are_refused_in_one_sentence(options, said):
    with pytest.raises(LLMError) as caught:
        make_arms(**options)
    assert said in str(caught.value)


def test_a_trial_is_known_by_all_that_is_sent_and_by_nothing_else():
    keys = set(grid().trials)
    assert len(keys) == 20
    assert keys == set(grid().trials)
    assert keys < set(grid(repeats=2).trials)
    assert keys < set(grid(prompts=11).trials)
    assert keys > set(grid(models=[ONE]).trials)
    assert not keys & set(grid(params={"temperature": 0}).trials)
    assert not keys & set(grid(system="Be brief.").trials)


def test_one_seed_is_one_order_and_another_another():
    trials = list(grid().trials.values())
    assert schedule_trials(trials, 1) == schedule_trials(reversed(trials), 1) != schedule_trials(trials, 2)
    assert Counter(trial.key for trial in schedule_trials(trials, 1)) == Counter(trial.key for trial in trials)


def test_the_arms_of_a_prompt_are_asked_next_to_one_another_in_no_fixed_order():
    asked = schedule_trials(grid(prompts=40, repeats=3).trials.values(), 0)
    pairs = [asked[n : n + 2] for n in range(0, len(asked), 2)]
    assert all(a.prompt is b.prompt and a.repeat == b.repeat for a, b in pairs)
    assert {pair[0].arm.label for pair in pairs} == {"any-model", "llama3.2"}
    assert [trial.repeat for trial in asked] == sorted(trial.repeat for trial in asked)
    rows = [pair[0].prompt.row for pair in pairs[:40]]
    assert rows != sorted(rows)


def test_by_model_one_model_comes_after_the_other():
    asked = schedule_trials(grid(repeats=2).trials.values(), 0, "by_model")
    models = [trial.arm.model for trial in asked]
    assert models in ([ONE] * 20 + [TWO] * 20, [TWO] * 20 + [ONE] * 20)


def test_compare_labels_its_arms_like_an_experiment_and_a_vote_has_the_full_name():
    models, params = ["openai/m", "ollama/n"], [{"temperature": 0}, {"temperature": 1}]
    compared = Comparison("Go", models=["local/smollm2-135m", "ollama/n"], params=params)
    assert [arm.label for arm in compared.arms] == labels(["local/smollm2-135m", "ollama/n"], params=params)
    first = make_arms(models, params)[0]
    assert (first.label, first.full_label) == ("m · temperature=0", "openai/m · temperature=0")


def test_services_of_one_name_are_told_apart_by_their_own_parameters():
    both = [OpenAIService("m", temperature=temperature) for temperature in (0, 1)]
    assert labels(both) == ["m · temperature=0", "m · temperature=1"]
