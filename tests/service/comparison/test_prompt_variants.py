"""Prompts as arms of a comparison."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, compare, usage, votes
from tests.fakes import answer


@pytest.fixture(autouse=True)
def model_that_repeats(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-compare-0123456789abcdef")
    fake.on(lambda request: answer(f"{request.json['model']}: {request.prompt}"))


PROMPTS = {"short": "Sum up.", "talk": [{"role": "user", "content": "Sum it up, please."}]}


def test_prompts_by_name_are_arms_beside_models():
    done = compare(PROMPTS, models=["openai/a", "openai/b"])
    table = done.to_dataframe()
    assert table["label"].tolist() == ["a · short", "a · talk", "b · short", "b · talk"]
    assert table["variant"].tolist() == ["short", "talk"] * 2
    assert table["response"].tolist() == [f"{m}: {text}" for m in "ab" for text in ("Sum up.", "Sum it up, please.")]
    assert set(usage(tags={"comparison": done.id})["variant"]) == {"short", "talk"}
    done.vote("a · talk")
    assert votes().iloc[-1]["outcome"] == "openai/a · talk"
    assert compare("Hello", models=["openai/a", "openai/b"]).to_dataframe()["variant"].isna().all()


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"a": "Hi", "b": "Hi"}, "The prompts 'a' and 'b' are the same"),
        ({"role": "user", "content": "Hi"}, "prompt is one message: give a list of messages"),
        ({}, "prompt must be a string"),
        ({"a": "Hi"}, "name a second model, parameter set or prompt"),
    ],
    ids=["equal", "message", "none", "one"],
)
def test_prompts_that_cannot_be_arms_are_refused_before_anything_is_sent(fake, prompts, said):
    with pytest.raises(LLMError) as caught:
        compare(prompts, models="openai/a")
    assert said in str(caught.value)
    assert not fake.requests
