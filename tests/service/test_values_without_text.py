"""Values whose ``str()`` raises, and other values where texts are expected: one sentence, and nothing is sent."""

from __future__ import annotations

import pandas as pd
import pytest

from ipyllm import Experiment, LLMError, OpenAIService, llm_map, usage
from tests.fakes import answer


class Silent:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Own(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("no text")


@pytest.fixture
def service(fake):
    return OpenAIService("m", base_url=fake.base_url)


_CALLS = {
    "value of a tag": lambda service: service.chat("Hello", tags={"a": Silent()}),
    "tag": lambda service: service.chat("Hello", tags={Silent(): "a"}),
    "tag of an experiment": lambda service: Experiment(["Hello"], models=service, tags={"a": Silent()}),
    "column of an experiment": lambda service: Experiment(
        pd.DataFrame({"prompt": ["Hello"], Silent(): 1}), models=service
    ),
    "column of a map": lambda service: llm_map(
        pd.DataFrame({"q": ["Hello"], Silent(): 1}), "Say {{ q }}", model=service
    ),
    "series": lambda service: llm_map(pd.Series(["Hello"], name=Silent()), "Say {{ value }}", model=service),
    "filter": lambda _: usage(tags={"a": Silent()}),
}


@pytest.mark.parametrize("what", _CALLS)
def test_a_value_whose_text_raises_is_refused_in_a_sentence(service, fake, what):
    with pytest.raises(LLMError, match=r"must have a text, but str\(\) of a Silent raises RuntimeError\.") as caught:
        _CALLS[what](service)
    assert caught.value.category == "bad_request"
    assert not fake.requests


def test_a_subclass_of_str_is_read_as_the_text_that_it_is(service):
    service.chat("Hello", tags={"a": Own("b")}, user=Own("me"))
    assert list(usage()["tags"]) == [{"a": "b"}]


@pytest.mark.parametrize("value", [Silent(), 1.5, b"\xff", float("nan")], ids=lambda value: type(value).__name__)
def test_what_is_no_text_is_no_system_prompt(service, fake, value):
    with pytest.raises(LLMError, match="system must be a text, not a ") as caught:
        service.chat("Hello", system=value)
    assert caught.value.category == "bad_request"
    assert not fake.requests


@pytest.mark.parametrize("value", [Silent(), 1.5, None], ids=lambda value: type(value).__name__)
def test_what_is_no_text_is_no_prompt(service, value):
    with pytest.raises(LLMError, match="A prompt is a text or a list of messages, not a "):
        service.chat(value)


def test_half_a_character_in_a_label_is_replaced(service, fake):
    fake.on(lambda _: answer("c"))
    labels = ["\ud800", "c"]
    said = llm_map(pd.Series(["Hello"]), "Say {{ value }}", labels=labels, model=service, progress=False)
    assert said.tolist() == ["c"]
