"""Templates as arms of an experiment: their calls, their names, and the rows by which they are paired."""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from ipyllm import Experiment, LLMError, usage
from ipyllm.comparison.arms import make_arms
from ipyllm.comparison.votes import cast_vote
from ipyllm.experiment.grid import Grid
from ipyllm.experiment.prompts import read_prompts
from ipyllm.ledger import current_ledger
from tests.fakes import answer

ROWS = [{"text": f"text {n}", "label": "yes" if n % 3 else "no"} for n in range(12)]
TEMPLATES = {"terse": "Say it: {{ text }}", "long": "Think first, then say it: {{ text }}"}


def says_it(response, row):
    return row["text"].upper() in response.content and response.content.startswith("THINK") == (row["label"] == "yes")


@pytest.fixture
def results(model):
    return Experiment(
        ROWS, TEMPLATES, models=[model("b"), model("a")], scorers=[says_it], repeats=2, warmup=0, name="v"
    ).run(progress=False)


def test_templates_are_arms_beside_models_in_the_order_given(results, asked):
    labels = ["b · terse", "b · long", "a · terse", "a · long"]
    calls = results.calls
    assert len(asked()) == len(calls) == 4 * 12 * 2
    assert list(calls["arm"].cat.categories) == labels
    assert calls.groupby("arm")["variant"].unique().map(list).to_dict() == dict(
        zip(labels, [["terse"], ["long"]] * 2, strict=True)
    )
    said = calls["arm"].astype(str).str.contains("long").map({True: "Think first, then say it: ", False: "Say it: "})
    assert (calls["prompt"] == said + calls["text"]).all()
    assert list(results.summary().index) == labels
    assert results.rows["arm"].tolist()[::2] == labels * 12
    assert results.state == "96 of 96 calls have an answer."


def test_templates_are_paired_on_the_rows_whatever_text_they_make(results):
    table = results.paired(metrics="says_it")
    assert set(table["baseline"]) == {"b · terse"}
    assert table["n_pairs"].tolist() == [12, 12, 12]
    right = sum(row["label"] == "yes" for row in ROWS) / 12
    assert table["difference"].tolist() == pytest.approx([2 * right - 1, 0, 2 * right - 1])
    assert results.summary()["prompts"].tolist() == [12] * 4
    for _, of_row in results.calls.groupby("row"):
        assert len(set(of_row["prompt_id"])) == 1


def test_the_ledger_names_the_template_and_the_row(results):
    rows = usage(kernel=None, experiment="v")
    assert rows.groupby("variant")["prompt_id"].nunique().to_dict() == {"terse": 12, "long": 12}
    assert rows["prompt_id"].nunique() == 12


def test_workers_name_the_template_too(model):
    with ThreadPoolExecutor(2) as threads:
        Experiment(ROWS, TEMPLATES, models=model(), warmup=0, name="w").run(threads, progress=False)
    rows = usage(kernel=None, experiment="w")
    assert rows.groupby("variant")["prompt_id"].nunique().to_dict() == {"terse": 12, "long": 12}
    assert rows.groupby("prompt_id").size().eq(2).all()


def test_a_list_of_templates_has_numbers_and_none_is_the_column_itself(model):
    questions = ["so", "la"]
    experiment = Experiment(questions, [None, "{{ prompt }}, please"], models=model(), warmup=0)
    assert [arm.label for arm in experiment.grid.arms] == ["a · v1", "a · v2"]
    calls = experiment.run(progress=False).calls
    assert set(zip(calls["variant"], calls["prompt"], strict=True)) == {
        ("v1", "so"), ("v1", "la"), ("v2", "so, please"), ("v2", "la, please"),
    }  # fmt: skip
    assert Experiment(questions, ["{{ prompt }}!"], models=model()).grid.arms[0].label == "a"


def test_another_template_is_asked_alone_and_the_first_may_get_a_name(model, asked):
    def run(template):
        return Experiment(ROWS, template, models=model(), warmup=0, name="x").run(progress=False)

    run(TEMPLATES["terse"])
    with pytest.warns(UserWarning, match=r"New: arm 'a · long'\. 12 of 24 calls are already done"):
        both = run(TEMPLATES)
    assert len(asked()) == 24
    assert both.calls.groupby("arm")["response"].count().to_dict() == {"a · terse": 12, "a · long": 12}
    with pytest.warns(UserWarning, match="24 of 36 calls are already done"):
        turned = run({"other name": TEMPLATES["long"], "terse": TEMPLATES["terse"], "third": "{{ text }}"})
    assert len(asked()) == 36
    assert list(turned.summary().index) == ["a · other name", "a · terse", "a · third"]


def test_templates_that_make_the_same_text_have_an_answer_each(model, server, asked):
    numbers = iter(range(100))
    server.on(lambda _: answer(str(next(numbers))))
    rows = [{"text": "so", "hint": "loud"}, {"text": "la", "hint": None}]
    with_hint = "{{ text }}{% if hint is defined %} ({{ hint }}){% endif %}"

    def run():
        return Experiment(rows, {"plain": "{{ text }}", "hint": with_hint}, models=model(), warmup=0, name="s").run(
            progress=False
        )

    calls = run().calls
    assert sorted(prompt for _, prompt in asked()) == ["la", "la", "so", "so (loud)"]
    assert calls["response"].nunique() == 4
    assert set(zip(calls["arm"], calls["text"], strict=True)) == {
        ("a · plain", "so"), ("a · plain", "la"), ("a · hint", "so"), ("a · hint", "la"),
    }  # fmt: skip
    assert len(asked()) == len(run().calls) == 4


def test_votes_between_templates_belong_to_their_row(results):
    calls = results.calls.astype({"arm": str})
    for text, of_text in calls[calls["repeat"] == 0].groupby("text"):
        by_arm = of_text.set_index("arm")
        arms = by_arm.loc[["b · terse", "b · long"], "call_id"].to_dict()
        # The prompt is that of one of the arms, or of neither.
        cast_vote(arms, "b · long", prompt=str(by_arm["prompt"].iloc[0]) if text < "text 5" else "", comparison=text)
    current_ledger().flush()
    ranking = results.ranking()
    assert ranking["votes"].to_dict() == {"b · long": 12, "b · terse": 12}
    assert ranking["prompts"].to_dict() == {"b · long": 12, "b · terse": 12}
    assert "b · long is preferred" in ranking.conclusion


def test_two_votes_on_one_row_are_one_prompt(results):
    calls = results.calls.astype({"arm": str})
    first = calls[calls["text"] == "text 1"]
    for repeat, of_repeat in first.groupby("repeat"):
        arms = of_repeat.set_index("arm")["call_id"].to_dict()
        prompt = of_repeat["prompt"].iloc[int(repeat)]
        cast_vote(arms, "a · long", prompt=prompt, comparison=f"vote {repeat}")
    current_ledger().flush()
    assert results.ranking()["prompts"].tolist() == [1] * 4


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"a": "{{ text }}", "b": "{{ text }}"}, "The templates 'a' and 'b' are the same: remove one"),
        (["{{ text }}", "{{ text }}"], "The templates 'v1' and 'v2' are the same"),
        ({"": "{{ text }}", "b": "x"}, "The name of a template must be a line of text, not ''"),
        ({1: "{{ text }}", "1": "x {{ text }}"}, "There are two templates with the name '1'"),
        ({"a": 7}, "template must be a string, or a list of strings"),
        ([], "template must be a string, or a list of strings"),
        ({"a": "{{ text }}", "b": "{{ txt }}"}, "did you mean 'text'?"),
        ({"a": "{{ text }}", "b": "{{ hint }}"}, "1 of the 2 prompts of the template 'b' have no value in 'hint'"),
        ({"a": "{{ text }}", "b": "{{ hint | default('') }}"}, "1 of the 2 prompts of the template 'b' are empty"),
    ],
)
def test_templates_that_cannot_be_are_refused_in_one_sentence(template, said):
    rows = [{"text": "so", "hint": "loud"}, {"text": "la", "hint": None}]
    with pytest.raises(LLMError) as caught:
        Experiment(rows, template, models="openai/any-model")
    assert said in str(caught.value)


# ---- ids of rows ---------------------------------------------------------------------------------------


def ids(source, template=None):
    return [prompt.prompt_id for prompt in read_prompts(source, template)[0]]


def test_the_id_of_a_row_is_the_same_for_all_templates_and_in_every_run(tmp_path):
    assert ids(ROWS, TEMPLATES) == ids(ROWS, "{{ text }}") * 2
    assert len(set(ids(ROWS, "{{ text }}"))) == 12
    assert ids([{"text": "so", "stars": 3}], "{{ text }}") == ["bcda76478124"]
    frame = pd.DataFrame([*ROWS, {"text": "so", "stars": 3}, {"text": "la", "stars": None}])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    from_list = ids([*ROWS, {"stars": 3, "text": "so"}, {"text": "la"}], "{{ text }}")
    for source in (frame, frame.iloc[:, ::-1], tmp_path / "rows.csv", tmp_path / "rows.jsonl"):
        assert ids(source, "{{ text }}") == from_list


def test_a_row_has_its_own_id_where_there_is_one():
    rows = [{"prompt_id": 7, "text": "so"}, {"prompt_id": None, "text": "la"}]
    own, hashed = ids(rows, "{{ text }}")
    assert own == "7"
    assert [hashed] == ids([{"text": "la"}], "{{ text }}")


def test_rows_are_equal_only_if_all_that_they_hold_is():
    class Plain:
        pass

    shared, picture = Plain(), np.zeros((40, 40))
    other = picture.copy()
    other[20, 20] = 1
    values = [
        b"a",
        b"b",
        picture,
        other,
        [1, [2]],
        [1, [3]],
        {"a": 1},
        pd.Timestamp("2026-01-01"),
        Plain(),
        shared,
        True,
        "1",
    ]
    rows = [{"text": "so", "value": value} for value in [*values, shared, b"a", picture.copy(), [1.0, (2,)]]]
    prompts, notes = read_prompts(rows, "{{ text }}")
    assert [prompt.rows for prompt in prompts if len(prompt.rows) > 1] == [(0, 13), (2, 14), (4, 15), (9, 12)]
    assert len(prompts) == len({prompt.prompt_id for prompt in prompts}) == len(values)
    assert notes[0].startswith("4 of the 16 prompts are duplicates")


# ---- ledgers of version 4 ------------------------------------------------------------------------------


def test_trials_and_names_are_those_of_earlier_versions():
    rows = [{"prompt": "so", "label": 1}, {"prompt": "so", "label": 2}, {"prompt": "la", "label": None}]
    grid = Grid(make_arms("openai/any-model", {"temperature": 0}, "Be brief."), read_prompts(rows)[0], 1)
    assert list(grid.earlier_keys) == [
        "3ef34991fec3d42d53335a88",
        "69cb234e777cb888e3ad4901",
        "0e238bba81244b99808374b5",
    ]
    assert grid.name == "experiment-aadff461"
    assert {"a1d9890884c1", "a1d9890884c1-2", "b737ca7ee563"} < grid.prompt_ids


def test_an_experiment_begun_with_ids_of_texts_goes_on(model, asked):
    def run(**options):
        return Experiment(ROWS, "{{ text }}", models=model(**options), warmup=0, name="old").run(progress=False)

    run()
    ledger = current_ledger()
    for call_id, prompt in usage(kernel=None, experiment="old")[["call_id", "prompt"]].itertuples(index=False):
        ledger.put({"call_id": call_id, "prompt_id": hashlib.sha256(prompt.encode()).hexdigest()[:12]})
    assert ledger.flush()
    with warnings.catch_warnings(action="error"):
        again = run()
    assert len(asked()) == 12
    assert sorted(again.calls["prompt_id"]) == sorted(ids(ROWS, "{{ text }}"))
    with pytest.warns(UserWarning, match="left out of the results: calls of arm 'a' with other parameters"):
        run(temperature=1)
