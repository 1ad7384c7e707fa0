"""``%%llm_compare --vary prompt=…``: prompts side by side, from texts or from variables that hold templates."""

from __future__ import annotations

import json

import pytest

from tests.fakes import answer

TABLE = "print(df[['label', 'model', 'variant', 'response']].to_json(orient='records'))"


@pytest.fixture
def fake(kernel_fake, kernel):
    """Every model says what it was asked."""
    kernel_fake.on(lambda request: answer(f"{request.json['model']}: {request.prompt}"))
    kernel.run("article = 'Bern {{ secret }}'; secret = 'no'; short = 'Sum up: {{ article }}'; long = 'At length:'")
    return kernel_fake


def rows(kernel):
    return json.loads(kernel.run(TABLE).stdout)


def test_texts_stand_for_the_prompt_in_the_body_with_every_model(kernel, fake):
    line = """%%llm_compare -m openai/a -m openai/b --vary 'prompt="Sum up:","List, with dots:"' -o df"""
    assert kernel.run(f"{line}\n{{{{ prompt }}}} {{{{ article }}}}").status == "ok"
    assert [row["label"] for row in rows(kernel)] == ["a · v1", "a · v2", "b · v1", "b · v2"]
    assert [row["response"] for row in rows(kernel)] == [
        f"{model}: {text} Bern {{{{ secret }}}}" for model in "ab" for text in ("Sum up:", "List, with dots:")
    ]
    ask = "import ipyllm; print(sorted(ipyllm.usage(tags={'comparison': _llm_compare.id}).variant))"
    assert kernel.run(ask).stdout == "['v1', 'v1', 'v2', 'v2']\n"


def test_variables_hold_templates_and_name_the_arms(kernel, fake):
    ran = kernel.run("%%llm_compare -m openai/a --vary prompt=short,long --vary temperature=0,1 -o df\n{{ prompt }}!")
    assert ran.status == "ok"
    assert {(row["label"], row["response"]) for row in rows(kernel)} == {
        (f"a · temperature={temperature} · {name}", f"a: {text}!")
        for temperature in (0, 1)
        for name, text in {"short": "Sum up: Bern {{ secret }}", "long": "At length:"}.items()
    }
    assert "a · temperature=0 · short" in ran.html


def test_a_dry_run_shows_each_prompt_and_sends_none(kernel, fake):
    ran = kernel.run("%%llm_compare -m openai/a --vary prompt=short,long --dry-run\n{{ prompt }}!")
    assert "── to A ──\n\nuser: Sum up: Bern {{ secret }}!" in ran.stdout
    assert "── to B ──\n\nuser: At length:!" in ran.stdout
    assert not fake.requests


def test_votes_on_the_same_prompts_are_on_one_prompt_though_blind_columns_are_shuffled(kernel, fake):
    for _ in range(6):
        kernel.run("%%llm_compare --blind -m openai/a --vary prompt=short,long\n{{ prompt }}!")
        assert kernel.run("%llm_vote A").status == "ok"
    ask = "import ipyllm; print(ipyllm.votes().tail(6).prompt.unique().tolist())"
    assert kernel.run(ask).stdout == "['At length:!\\n\\nSum up: Bern {{ secret }}!']\n"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%llm_compare --vary prompt=short,long\nHello", "Write {{ prompt }} in the body"),
        ("%%llm_compare --vary prompt=short,long --raw\n{{ prompt }}", "--raw fills in nothing"),
        ("%%llm_compare --vary prompt=short\n{{ prompt }}", "--vary needs NAME=VALUE,VALUE"),
        ("%%llm_compare --vary prompt=a,b --vary prompt=c,d\n{{ prompt }}", "was given --vary prompt twice"),
    ],
)
def test_prompts_that_cannot_be_varied_are_refused_in_one_sentence(kernel, fake, cell, said):
    assert said in kernel.run(cell).error
    assert not fake.requests
