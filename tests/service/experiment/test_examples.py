"""Few-shot examples before each prompt, and options of chat for all calls."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

from ipyllm import Experiment, LLMError
from ipyllm.experiment.examples import Examples
from ipyllm.ledger import current_ledger

ROWS = pd.DataFrame({"text": ["joy", "gone", "odd"], "label": ["good", "bad", "good"]})
TEMPLATE = "Classify: {{ text }}"
FIRST = [{"role": "user", "content": "Classify: joy"}, {"role": "assistant", "content": "good"}]


def sent(server):
    return [request.json["messages"] for request in server.requests]


def run(*arguments, **options):
    with warnings.catch_warnings(action="ignore"):
        return Experiment(*arguments, **{"warmup": 0, **options}).run(progress=False)


GIVEN = {
    "rows": {"examples": ROWS.head(1), "example_answer": "label"},
    "a template of the answer": {"examples": ROWS.head(1), "example_answer": "{{ label }}"},
    "dicts": {"examples": [{"text": "joy", "label": "good"}], "example_answer": "label"},
    "pairs": {"examples": [("Classify: joy", "good")]},
    "messages": {"examples": FIRST},
    "history": {"conversation_history": FIRST},
}


@pytest.mark.parametrize("name", GIVEN)
def test_examples_come_before_each_prompt(model, server, name):
    run(ROWS.tail(1), TEMPLATE, models=model(), system="Be brief.", **GIVEN[name])
    system, question = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Classify: odd"}
    assert sent(server) == [[system, *FIRST, question]]


def test_rows_that_are_examples_are_not_asked_about(model, server):
    with pytest.warns(UserWarning, match=r"^1 of the 3 rows is an example, and not asked about\.$"):
        made = Experiment(ROWS, TEMPLATE, models=model(), examples=ROWS.head(1), example_answer="label", warmup=0)
    results = made.run(progress=False)
    assert sorted(messages[-1]["content"] for messages in sent(server)) == ["Classify: gone", "Classify: odd"]
    assert results.rows["text"].tolist() == ["gone", "odd"]
    with pytest.raises(LLMError, match="All rows are examples"):
        Experiment(ROWS, TEMPLATE, models=model(), examples=ROWS, example_answer="label")


def test_other_examples_are_asked_anew_and_the_same_are_not(model, server):
    for examples in (FIRST, FIRST, [*FIRST[:1], {"role": "assistant", "content": "bad"}], []):
        run(ROWS.tail(1), TEMPLATE, models=model(), examples=examples, name="shots")
    assert len(server.requests) == 3


def test_examples_can_be_varied_as_history(model, server):
    sets = {"none": {}, "one": {"conversation_history": FIRST}}
    results = run(ROWS.tail(1), TEMPLATE, models=model(), params=sets)
    assert sorted(map(len, sent(server))) == [1, 3]
    assert set(results.calls["arm"]) == {"a · none", "a · one"}
    made = Experiment(ROWS, TEMPLATE, models=model(), params=list(sets.values()))
    assert [arm.label for arm in made.grid.arms] == ["a · default", "a · conversation_history=2 messages"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"examples": ROWS}, "They have the columns text, label: name one, as in example_answer='label'"),
        ({"examples": ROWS, "example_answer": "lable"}, "no column 'lable' with their answers. Did you mean 'label'?"),
        ({"examples": 3}, "examples must be rows, such as df.sample(3, random_state=0), not 3."),
        ({"examples": FIRST[:1]}, "must end with an answer"),
        ({"examples": [{"role": "system", "content": "Be brief."}, *FIRST]}, "give it as system=…"),
        ({"examples": FIRST, "example_answer": "label"}, "leave example_answer out"),
        ({"example_answer": "label"}, "give examples=…, too"),
        ({"examples": [{"text": None, "label": "good"}], "example_answer": "label"}, "no value in 'text'"),
    ],
    ids=["no answer", "typo", "number", "no end", "system", "both", "no examples", "missing"],
)
def test_mistakes_with_examples_are_one_sentence(model, options, said):
    with pytest.raises(LLMError) as caught:
        Experiment([{"text": "odd", "label": "good"}], TEMPLATE, models=model(), **options)
    assert said in str(caught.value)


def test_no_examples_are_none():
    assert Examples.of(None).messages(TEMPLATE) == Examples.of([]).messages(TEMPLATE) == ()


def test_options_of_chat_hold_for_all_calls_and_params_vary_them(model, server):
    run(["so"], models=model(), effort="low", max_tokens=5, extra_headers={"x-team": "songs"})
    (request,) = server.requests
    assert (request.json["reasoning_effort"], request.headers["x-team"]) == ("low", "songs")
    server.clear()
    run(["so"], models=model(), effort="low", params=[{"effort": "high"}, {}], name="efforts")
    assert sorted(request.json["reasoning_effort"] for request in server.requests) == ["high", "low"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeat": 3}, "An experiment has no option 'repeat'; did you mean 'repeats'?"),
        ({"temprature": 0}, "There is no parameter 'temprature'; did you mean 'temperature'?"),
        ({"provenance": None}, "An experiment takes no provenance"),
        ({"effort": ["low", "high"]}, "to compare several, give params=[{'effort': 'low'}, …]"),
    ],
    ids=["repeat", "temprature", "provenance", "efforts"],
)
def test_options_of_nobody_are_refused(model, options, said):
    with pytest.raises(LLMError) as caught:
        Experiment(["so"], models=model(), **options)
    assert said in str(caught.value)


def test_answers_of_earlier_versions_are_not_those_to_prompts_with_examples(model, server):
    """Earlier versions left examples, tools and schemas out of a trial's key."""
    plain = Experiment(["so"], models=model(), warmup=0, name="songs")
    ((key, (trial,)),) = plain.grid.earlier_keys.items()
    row = {"call_id": "0" * 26, "experiment": "songs", "arm": "a", "prompt_id": trial.prompt.prompt_id, "repeat": 0}
    tags = {"cell": key, "grid": plain.grid.earlier_signature}
    endpoint = server.base_url.removeprefix("http://").partition("/")[0]
    current_ledger().put({**row, "status": "ok", "response": "SO", "warmup": False, "tags": tags, "endpoint": endpoint})
    assert plain.results().undone == 0
    for options in ({"examples": FIRST}, {"schema": list[str]}, {"tools": [len_of]}):
        assert Experiment(["so"], models=model(), warmup=0, name="songs", **options).results().undone == 1


def len_of(text: str) -> int:
    """The length of a text."""
    return len(text)
