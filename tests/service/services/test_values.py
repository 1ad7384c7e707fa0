"""Values of notebooks as parameters and messages: each is accepted, or refused in one sentence, before sending."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction

import numpy as np
import pytest
from pydantic import BaseModel

from ipyllm import LLMError, OllamaService, Timeout, create_llm_service


class City(BaseModel):
    name: str


class Tier(Enum):
    FLEX = "flex"


@pytest.fixture
def service(fake, own_settings):
    """Return a service of which nothing is known, so that it takes every parameter."""
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n')
    return create_llm_service("lab/m", max_retries=0)


ACCEPTED = {
    "temperature": [(np.float32(0.5), 0.5), (np.float64(0.25), 0.25), (Decimal("0.5"), 0.5), (Fraction(1, 2), 0.5)],
    "top_p": [(np.array(0.5), 0.5), (np.int8(1), 1)],
    "max_tokens": [(np.int64(5), 5), (np.uint8(5), 5), (Decimal(5), 5), (Decimal("5.0"), 5)],
    "seed": [(np.int32(-1), -1), (Decimal(2), 2)],
    "top_logprobs": [(np.int64(3), 3)],
    "n": [(np.int64(1), 1)],
    "top_k": [(np.int64(3), 3), (Decimal(3), 3)],
    "min_p": [(np.float32(0.5), 0.5)],
    "logprobs": [(np.True_, True)],
    "presence_penalty": [(np.float16(0.5), 0.5)],
    "frequency_penalty": [(Decimal("-0.5"), -0.5)],
    "stop": [({"b", "a"}, ["a", "b"]), (("a",), ["a"]), (np.array(["a", "b"]), ["a", "b"]), (np.str_("a"), "a")],
    "logit_bias": [({50256: np.int64(-100)}, {"50256": -100}), ({np.int64(7): Decimal("1.5")}, {"7": 1.5})],
    "service_tier": [(Tier.FLEX, "flex")],
    "metadata": [({"run": {"b", "a"}}, {"run": ["a", "b"]}), (City(name="Bern"), {"name": "Bern"})],
    "user": [("a\ud83d", "a\ufffd"), ("a\ud83d\ude00", "a\N{GRINNING FACE}")],
    "response_format": [({"type": "json_object"}, {"type": "json_object"})],
    "unknown_to_us": [(np.arange(2), [0, 1]), (frozenset({2, 1}), [1, 2])],
}


@pytest.mark.parametrize(
    ("name", "value", "sent"), [(name, *pair) for name, pairs in ACCEPTED.items() for pair in pairs]
)
def test_a_value_is_sent_as_json(service, fake, name, value, sent):
    service.chat("Hello", **{name: value})
    got = fake.requests[-1].json[name]
    assert (got, type(got)) == (sent, type(sent))


def test_values_in_extra_body_are_sent_as_json(service, fake):
    service.chat("Hello", extra_body={"options": {"num_ctx": np.int64(8), "ids": {3, 1}}})
    assert fake.requests[-1].json["options"] == {"num_ctx": 8, "ids": [1, 3]}


def test_a_pydantic_class_as_response_format_is_its_json_schema(service, fake):
    service.chat("Hello", response_format=City)
    sent = fake.requests[-1].json["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "City")
    assert sent["json_schema"]["schema"]["properties"] == {"name": {"type": "string"}}


@dataclass
class Plain:
    x: int


LOOP: list = []
LOOP.append(LOOP)

REFUSED = {
    "temperature": [
        np.float64("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("Infinity"),
        1j,
        "0.5",
        [0.5],
        np.arange(3),
    ],
    "max_tokens": [np.float64(5.5), Decimal("5.5"), b"5", np.True_],
    "stop": [b"a", object(), {1, 2}, City],
    "user": [b"a", object(), lambda: 1, Plain(1)],
    "metadata": [{"run": object()}, {(1, 2): 3}, {None: 1}, LOOP, {"x": float("nan")}],
    "response_format": [Plain(1), lambda: 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_a_value_without_a_form_in_json_is_refused_in_one_sentence(service, fake, name, value):
    with pytest.raises(LLMError, match=name) as caught:
        service.chat("Hello", **{name: value})
    assert (caught.value.category, len(fake.requests)) == ("bad_request", 0)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_taken_as_options_of_a_call(service):
    options = {"max_retries": np.int64(1), "tool_rounds": np.int64(2), "repairs": Decimal(1)}
    request = service.request("Hello", timeout=Decimal("2.5"), max_cost_usd=Decimal("0.5"), **options)
    assert (request.timeout, request.max_cost_usd) == (Timeout.of(2.5).limits(300), 0.5)
    assert (request.max_retries, request.tool_rounds, request.repairs) == (1, 2, 1)
    assert [type(value) for value in (request.timeout.connect, request.max_retries)] == [float, int]
    assert Timeout(connect=np.int64(3)).connect == 3


def test_messages_of_the_openai_client_are_taken(service, fake):
    from openai.types.chat import ChatCompletionMessage

    said = ChatCompletionMessage.model_validate(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
        }
    )
    result = {"role": "tool", "tool_call_id": "a", "content": "noon"}
    service.chat([{"role": "user", "content": "When?"}, said, result], conversation_history=[said, result])
    sent = fake.requests[-1].json["messages"]
    assert [message["role"] for message in sent] == ["assistant", "tool", "user", "assistant", "tool"]
    assert sent[0] == sent[3]
    assert sent[0]["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
    assert "refusal" not in sent[0]


def test_values_in_messages_are_sent_as_json_or_refused_in_one_sentence(service, fake):
    service.chat([{"role": "user", "content": ({"type": "text", "text": "a\ud83d", "weight": np.int64(2)},)}])
    content = fake.requests[-1].json["messages"][0]["content"]
    assert content == [{"type": "text", "text": "a\ufffd", "weight": 2}]
    for wrong in ({"role": "user", "content": b"a"}, {"role": "user", "content": LOOP}, City(name="Bern"), "text"):
        with pytest.raises(LLMError, match="message") as caught:
            service.chat([wrong])
        assert caught.value.category == "bad_request"


def test_half_a_character_in_a_model_s_name_is_refused_in_one_sentence(fake):
    for make in (
        lambda: OllamaService("m\ud83d", base_url=fake.base_url),
        lambda: create_llm_service("ollama/m\ud83d"),
    ):
        with pytest.raises(LLMError, match="half a character") as caught:
            make()
        assert caught.value.category == "bad_request"
        str(caught.value).encode()


def test_half_a_character_in_a_prompt_or_system_message_is_replaced(service, fake):
    service.chat("a\ud83d", system="b\ude00")
    assert [message["content"] for message in fake.requests[-1].json["messages"]] == ["b\ufffd", "a\ufffd"]


@pytest.mark.parametrize("value", ["x", 3, ["a"], [{"a": 1}], True])
@pytest.mark.parametrize("name", ["extra_body", "logit_bias", "metadata", "response_format"])
def test_what_must_be_an_object_is_refused_in_one_sentence_if_it_is_none(service, fake, name, value):
    with pytest.raises(LLMError, match=f"^{name} must be a dict, not ") as caught:
        service.chat("Hello", **{name: value})
    assert caught.value.category == "bad_request"
    assert fake.requests == []


def test_one_tool_need_not_be_a_list_and_what_is_none_is_refused_in_one_sentence(service, fake):
    def now() -> str:
        return "noon"

    service.chat("Hello", tools=now)
    assert fake.requests[0].json["tools"][0]["function"]["name"] == "now"
    for wrong in (3, True, "now", [3]):
        with pytest.raises(LLMError, match="A tool is a function, not ") as caught:
            service.chat("Hello", tools=wrong)
        assert caught.value.category == "bad_request"
