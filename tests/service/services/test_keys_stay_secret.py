"""No key reaches an error, a row, a log or a repr."""

from __future__ import annotations

import pytest

from ipyllm import (
    DeepSeekService,
    LLMError,
    OllamaService,
    OpenAIService,
)
from tests import fakes
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
