"""No key reaches an error, a row, a log or a repr."""

from __future__ import annotations

import asyncio

import pytest

from ipyllm import (
    DeepSeekService,
    LLMError,
    OllamaService,
    OpenAIService,
)
from tests import fakes
from tests.fakes import answer
from tests.ledger_rows import rows

SECRET = "sk-test-0123456789abcdefghijklmnop"


def test_no_key_reaches_an_error_a_row_a_log_or_a_repr(fake, caplog):
    import logging
    import pickle
    import traceback

    caplog.set_level(logging.DEBUG)
    fake.default = fakes.unauthorized(SECRET)
    service = OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=0)
    with pytest.raises(LLMError) as caught:
        service.chat(f"My key is {SECRET}")
    everything = [
        str(caught.value),
        repr(caught.value.partial),
        "".join(traceback.format_exception(caught.value)),
        repr(service),
        caplog.text,
        rows().to_csv(),
        pickle.dumps(caught.value).decode("latin-1"),
    ]
    assert not [text for text in everything if SECRET in text]
    assert fake.requests[-1].headers["authorization"] == f"Bearer {SECRET}"


def test_a_missing_key_is_said_before_anything_is_sent():
    with pytest.raises(LLMError, match="DEEPSEEK_API_KEY") as caught:
        DeepSeekService().chat("Hello")
    assert caught.value.category == "authentication"


def test_a_dead_server_is_named(fake):
    address = fake.base_url
    fake.close()
    with pytest.raises(LLMError, match=r"127\.0\.0\.1") as caught:
        OllamaService("llama3.2", base_url=address, max_retries=0).chat("Hello")
    assert caught.value.category == "connection"


def chain_of(exc):
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


@pytest.mark.parametrize("script", [fakes.unauthorized("x"), fakes.reset("one two", after=1), fakes.refuse()])
def test_the_clients_exception_which_holds_the_key_is_not_chained(fake, script):
    fake.default = script
    with pytest.raises(LLMError) as caught:
        OpenAIService("m", base_url=fake.base_url, api_key=SECRET, max_retries=1).chat("Hello")
    assert [type(exc) for exc in chain_of(caught.value) if not isinstance(exc, LLMError)] == []


def test_a_pickled_service_holds_no_key():
    import pickle

    service = OpenAIService("m", api_key=SECRET, temperature=0)
    again = pickle.loads(pickle.dumps(service))
    assert SECRET.encode() not in pickle.dumps(service)
    assert (again.model, again.params) == ("m", {"temperature": 0})


@pytest.mark.parametrize("key", ["sk-with-0123456789\nbreak", "sk-naïve-key-0123456789"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key):
    with pytest.raises(LLMError, match="contains invalid characters") as caught:
        OpenAIService("m", api_key=key).chat("Hello")
    assert "sk-" not in str(caught.value)


def test_a_line_end_after_a_key_is_forgiven(fake):
    OpenAIService("m", base_url=fake.base_url, api_key=SECRET + "\n").chat("Hello")
    assert fake.requests[-1].headers["authorization"] == f"Bearer {SECRET}"


def test_a_service_whose_reading_of_usage_fails_still_answers_and_its_row_is_finished(fake):
    class Broken(OllamaService):
        def read_usage(self, raw):
            raise ZeroDivisionError

    response = Broken("m", base_url=fake.base_url).chat("Hello")
    assert (response.content, response.usage.source) == ("Hello from the fake.", "estimated")
    assert list(rows().status) == ["ok"]


def test_two_hundred_without_an_answer_is_no_answer(service, fake):
    for body, says in (({"greeting": "hello"}, "empty response"), ({"detail": "hello"}, '"hello"')):
        fake.default = fakes.status(200, body)
        with pytest.raises(LLMError, match=says) as caught:
            service.chat("Hello")
        assert caught.value.category == "api_error"


def test_a_retry_that_ends_otherwise_tells_how_it_ended(fake):
    fake.reply(fakes.unavailable(), fakes.truncated("one two three", after=2))
    with pytest.raises(LLMError) as caught:
        OllamaService("m", base_url=fake.base_url, max_retries=1).chat("Hello", retry_after_text=False)
    assert (caught.value.category, caught.value.partial.status) == ("truncated", "truncated")


def test_leaving_the_loop_over_a_named_stream_closes_the_connection_too(service, fake):
    fake.default = fakes.drip("word ", every=0.02)
    stream = service.stream("Hello")
    for _ in stream:
        break
    fake.wait_for(lambda: fake.requests[-1].closed_by_client, timeout=2)

    async def read_one():
        named = service.chat_stream("Hello")
        async for _ in named:
            break
        await asyncio.to_thread(fake.wait_for, lambda: fake.requests[-1].closed_by_client, 2)

    asyncio.run(read_one())
    assert stream.response.status == "cancelled"


def test_control_sequences_of_a_servers_error_reach_no_terminal(service, fake):
    fake.default = fakes.error(400, "bad \x1b]0;owned\x07\x1b[2J request")
    with pytest.raises(LLMError) as caught:
        service.chat("Hello")
    assert "\x1b" not in str(caught.value)


def test_an_answer_in_a_table_is_neither_obeyed_nor_typeset(service, fake):
    fake.default = answer("\x1b]0;owned\x07 $\\href{javascript:alert(1)}{x}$")
    service.chat("Hello")
    frame = rows()[["model", "response"]]
    assert "\x1b" not in repr(frame)
    assert "mathjax_ignore" in frame._repr_html_()
