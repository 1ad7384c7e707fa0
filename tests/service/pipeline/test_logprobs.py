"""Log probabilities: asked for, read from both APIs, streamed, kept, and refused where there are none."""

import asyncio
import json
from dataclasses import replace

import pytest

from ipyllm import LLMError, OllamaService, OpenAIService, create_llm_service, usage
from ipyllm.events import Finished, TextDelta
from ipyllm.ledger import current_ledger
from ipyllm.ledger.packed import unpack
from ipyllm.ledger.query import Query
from ipyllm.logprobs import from_plain, read_logprobs
from tests.fakes import FakeLLM, answer


def stored():
    current_ledger().flush()
    query = Query(packed=True)
    value = current_ledger().read(query)[-1][query.columns.index("logprobs")]
    return None if value is None else from_plain(unpack(value))


@pytest.fixture
def chat(fake):
    return OpenAIService("gpt-4.1-fake", base_url=fake.base_url)


@pytest.fixture
def luna(fake):
    return OpenAIService("gpt-6-luna", base_url=fake.base_url, effort="none")


@pytest.mark.parametrize("model", ["chat", "luna"])
def test_a_response_has_each_token_with_its_alternatives(model, fake, request):
    fake.default = answer("A café here")
    response = request.getfixturevalue(model).chat("Hi", logprobs=2)
    assert [token.text for token in response.logprobs] == ["A", " café", " here"]
    assert b"".join(token.bytes for token in response.logprobs).decode() == response.content
    token = response.logprobs[1]
    assert (token.logprob, token.probability) == (-0.5, pytest.approx(0.6065, abs=1e-4))
    assert [(choice.text, choice.logprob) for choice in token.alternatives] == [(" café", -0.5), (" a", -1.5)]
    sent = fake.requests[0].json
    assert sent["top_logprobs"] == 2
    assert json.loads(json.dumps(dict(response)))["logprobs"][0]["bytes"] == [65]


@pytest.mark.parametrize("model", ["chat", "luna"])
def test_events_carry_them_with_their_text(model, fake, request):
    fake.default = answer("one two", gap=0.01)
    service = request.getfixturevalue(model)

    async def listen():
        return [event async for event in service.events("Hi", logprobs=1)]

    events = asyncio.run(listen())
    texts = [event for event in events if isinstance(event, TextDelta)]
    assert [(event.text, [token.text for token in event.logprobs]) for event in texts] == [
        ("one", ["one"]),
        (" two", [" two"]),
    ]
    assert isinstance(events[-1], Finished)
    assert len(events[-1].response.logprobs) == 2


@pytest.mark.parametrize("model", ["chat", "luna"])
def test_a_call_that_asks_for_none_has_none(model, fake, request):
    script = answer("one two")
    zeros = [[{"token": delta["content"], "logprob": 0.0, "top_logprobs": []}] for delta in script.deltas]
    fake.default = replace(script, logprobs=tuple(zeros))
    response = request.getfixturevalue(model).chat("Hi")
    assert response.logprobs == ()
    assert "logprobs" not in fake.requests[0].json
    assert usage()["perplexity"].isna().all()
    assert stored() is None


def test_zeros_that_nobody_asked_for_are_no_probabilities(chat, fake):
    script = answer("one two", chunks=["one", " two"])
    fake.default = script.edited(
        lambda events: [
            event._replace(payload=_with_zeros(event.payload)) if event.kind == "token" else event for event in events
        ]
    )
    assert chat.chat("Hi").logprobs == ()


def _with_zeros(payload):
    [choice] = payload["choices"]
    zeros = {"content": [{"token": "x", "logprob": 0.0, "bytes": [120], "top_logprobs": []}]}
    return payload | {"choices": [choice | {"logprobs": zeros}]}


def test_an_unstreamed_answer_has_them_too(chat, fake):
    fake.default = replace(answer("one two"), streams=False)
    assert [token.text for token in chat.chat("Hi", logprobs=True).logprobs] == ["one", " two"]


def test_tokens_of_reasoning_are_left_out(fake):
    fake.default = answer("<think>hm</think>yes", chunks=["<think>", "hm", "</think>", "yes"])
    response = OllamaService("qwen3", base_url=fake.base_url).chat("Hi", logprobs=1)
    assert (response.reasoning, [token.text for token in response.logprobs]) == ("hm", ["yes"])


def test_the_ledger_keeps_them_and_their_mean(chat, fake):
    fake.default = answer("one two")
    response = chat.chat("Hi", logprobs=2)
    row = usage().iloc[-1]
    assert (row.mean_logprob, row.perplexity) == (-0.5, pytest.approx(1.6487, abs=1e-4))
    assert row.params == {"logprobs": True, "top_logprobs": 2}
    assert stored() == response.logprobs


def test_a_ledger_without_texts_keeps_the_mean_only(chat, fake, monkeypatch):
    monkeypatch.setenv("IPYLLM_STORE_TEXT", "0")
    chat.chat("Hi", logprobs=2)
    assert usage().iloc[-1].mean_logprob == -0.5
    assert stored() is None


def test_tokens_that_spell_a_key_are_not_kept(chat, fake):
    fake.default = answer("Use sk-proj-abcdefghijklmnopqrstuvwxyz123456 now", chunks=20)
    chat.chat("Hi", logprobs=2)
    assert usage().iloc[-1].mean_logprob == -0.5
    assert stored() is None


def test_the_cache_answers_with_them(chat, fake):
    fake.default = answer("one two")
    first = chat.chat("Hi", logprobs=2, cache=True, temperature=0)
    again = chat.chat("Hi", logprobs=2, cache=True, temperature=0)
    without = chat.chat("Hi", cache=True, temperature=0)
    assert (again.cache_hit, again.logprobs) == (True, first.logprobs)
    assert (without.cache_hit, without.logprobs) == (False, ())


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"logprobs": 5}, (True, 5)),
        ({"logprobs": 0}, (True, 0)),
        ({"logprobs": True}, (True, None)),
        ({"logprobs": True, "top_logprobs": 3}, (True, 3)),
        ({"top_logprobs": 3}, (True, 3)),
        ({"logprobs": False}, (None, None)),
    ],
)
def test_what_is_asked_for_is_sent_in_the_words_of_the_protocol(given, sent, chat, fake):
    chat.chat("Hi", **given)
    body = fake.requests[0].json
    assert (body.get("logprobs"), body.get("top_logprobs")) == sent


def test_a_call_can_do_without_what_its_service_asks_for(fake):
    service = OpenAIService("gpt-4.1-fake", base_url=fake.base_url, logprobs=5)
    assert service.chat("Hi", logprobs=False).logprobs == ()
    assert not {"logprobs", "top_logprobs"} & fake.requests[0].json.keys()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"logprobs": 21}, "logprobs must be a whole number between 0 and 20, not 21: alternatives of each token."),
        (
            {"logprobs": "all"},
            "logprobs must be a whole number between 0 and 20, not 'all': alternatives of each token.",
        ),
        ({"logprobs": 2, "top_logprobs": 3}, "logprobs=N and top_logprobs=N are the same parameter; give one of them."),
    ],
)
def test_bad_values_are_one_sentence(given, problem, chat, fake):
    with pytest.raises(LLMError) as error:
        chat.chat("Hi", **given)
    assert str(error.value) == problem
    assert not fake.requests


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("anthropic/claude-sonnet-5-5", "anthropic/claude-sonnet-5-5 ignores logprobs; leave it out."),
        ("gemini/gemini-3-flash", "gemini/gemini-3-flash takes no logprobs; leave it out."),
        ("mistral/mistral-small-latest", "mistral/mistral-small-latest takes no logprobs; leave it out."),
        ("groq/qwen3-32b", "groq/qwen3-32b takes no logprobs; leave it out."),
        ("openai/gpt-6.1-sol", "openai/gpt-6.1-sol takes no logprobs; leave it out."),
        (
            "openai/gpt-6-luna",
            "openai/gpt-6-luna takes no logprobs while it reasons; effort='none' allows it, or leave it out.",
        ),
    ],
)
def test_a_model_that_gives_none_is_refused_before_sending(name, problem):
    with pytest.raises(LLMError) as error:
        create_llm_service(name).request("Hi", logprobs=5)
    assert (error.value.category, str(error.value)) == ("bad_request", problem)


def test_the_fake_of_openai_takes_them_where_the_profile_says_so():
    with FakeLLM() as fake:
        fake.speak_as("openai")
        service = OpenAIService("gpt-6-luna", base_url=fake.base_url)
        assert service.chat("Hi", effort="none", logprobs=3).logprobs


def test_half_a_character_is_shown_by_its_bytes(chat, fake):
    halves = [
        {"token": "bytes:\\xf0\\x9f", "logprob": -0.1, "top_logprobs": []},
        {"token": "\ufffd", "bytes": [0xA5, 0xA6], "logprob": -0.2, "top_logprobs": []},
    ]
    fake.default = replace(answer("🥦", chunks=1), logprobs=(halves,))
    tokens = chat.chat("Hi", logprobs=1).logprobs
    assert [(token.text, token.bytes) for token in tokens] == [("\\xf0\\x9f", b"\xf0\x9f"), ("\\xa5\\xa6", b"\xa5\xa6")]


def test_bytes_without_a_probability_are_separated_from_those_with_one():
    # llama.cpp: the probability of the last byte's token, with the bytes of all
    own = {"id": 116, "token": "\ufffd", "bytes": [0xA6], "logprob": -0.1}
    item = {"id": 116, "token": "🥦", "bytes": list("🥦".encode()), "logprob": -0.1, "top_logprobs": [own]}
    first, last = read_logprobs([item])
    assert (first.bytes, first.logprob, last.bytes, last.logprob) == (b"\xf0\x9f\xa5", None, b"\xa6", -0.1)


@pytest.mark.parametrize(
    "beside",
    [
        None, [], "x", 7, {"content": "x"}, {"content": [None, 7, {}, {"token": 7}]}, {"content": {"a": 1}},
        {"content": [{"token": "x", "logprob": "nan", "bytes": [999, -1], "top_logprobs": "x"}]},
        {"content": [{"token": "x", "logprob": float("nan"), "bytes": "x", "top_logprobs": [None, {"token": None}]}]},
        {"content": [{"token": "x", "logprob": -9999.0}]},
    ],
)  # fmt: skip
def test_what_is_no_probability_is_none(beside, chat, fake):
    def edit(events):
        return [
            event._replace(payload=event.payload | {"choices": [event.payload["choices"][0] | {"logprobs": beside}]})
            if event.kind == "token"
            else event
            for event in events
        ]

    fake.default = answer("one", chunks=1).edited(edit)
    response = chat.chat("Hi", logprobs=1)
    assert response.content == "one"
    assert all(token.logprob is None for token in response.logprobs)
    assert usage()["mean_logprob"].isna().all()
