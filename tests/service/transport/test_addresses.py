"""Tests of base URLs: a query stays one, and a wrong path is explained with the right one."""

from __future__ import annotations

import asyncio

import pytest

from ipyllm import LLMError, OpenAIService, create_llm_service, fallback, pool
from ipyllm.registry.discovery import probe
from ipyllm.services.ollama import base_url_of_host
from ipyllm.transport.address import is_url
from ipyllm.transport.base_url_hint import base_url_hint
from tests import fakes
from tests.fakes import answer, error, status

PAGE = status(200, "<!doctype html><title>Welcome</title>", {"content-type": "text/html"})
QUERY = "api-version=2025-04-01-preview&sig=a%2Bb%3D"


# ---- a query ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_query_stays_one_on_every_path(own_settings, fake, api, slash):
    (own_settings / "config.toml").write_text(
        f'[endpoints.lab]\nbase_url = "{fake.base_url}{slash}?{QUERY}"\nmodel = "m"\napi = "{api}"\n'
    )
    service = create_llm_service("lab")
    path = "/responses" if api == "responses" else "/chat/completions"
    fake.reply(answer("one"), fakes.redirect(f"{fake.base_url}{path}?{QUERY}"), answer("two"), answer("three"))
    assert [service.chat("Hello").content for _ in range(3)] == ["one", "two", "three"]
    assert probe(["lab"])[0].models == ("fake-model",)
    assert [request.path for request in fake.requests] == [f"/v1{path}"] * 4 + ["/v1/models"]
    assert len({request.query for request in fake.requests}) == 1
    assert fake.requests[0].query.startswith("api-version=2025-04-01-preview&sig=a%2Bb")


def test_the_query_is_part_of_no_host_and_of_no_row(fake):
    from ipyllm import usage

    service = OpenAIService("m", base_url=f"{fake.base_url}?key=r9Xq2LmT7vB4k8Wd")
    service.chat("Hello")
    fake.default = error(400, "r9Xq2LmT7vB4k8Wd is wrong")
    with pytest.raises(LLMError, match="key hidden"):
        service.chat("Hello")
    assert "r9Xq2LmT7vB4k8Wd" not in usage().to_csv()
    assert service.address().host == fake.url.removeprefix("http://")


def test_an_address_with_a_query_has_no_password_or_query_in_a_message():
    with pytest.raises(LLMError, match=r"not a URL: 'ftp://host/v1'"):
        OpenAIService("m", base_url="ftp://user:pass@host/v1?key=1").chat("Hello")


@pytest.mark.parametrize("user", ["user:pass", "user", ":pass", "user:p@ss", "us%20er:p%zz", "user:pä"])
def test_an_address_with_a_user_is_refused_in_a_sentence_without_it(fake, user):
    with pytest.raises(LLMError, match="has a user name or a password in it") as caught:
        OpenAIService("m", base_url=fake.base_url.replace("//", f"//{user}@")).chat("Hello")
    assert caught.value.category == "bad_request"
    assert "pass@" not in str(caught.value)
    assert not fake.requests


@pytest.mark.parametrize(
    "host",
    [
        "[::1",
        "host:99999",
        "host:0",
        "ex\nample",
        "ex ample",
        "\u202eexample",
        "a" * 300,
        "x..y",
        "%00",
        "a\0b",
        "a|b",
        "",
    ],
)
def test_an_address_that_no_server_can_have_is_refused_in_a_short_sentence(host):
    with pytest.raises(LLMError, match="The address of OpenAI is not a URL: ") as caught:
        OpenAIService("m", base_url=f"http://{host}/v1", api_key="k").chat("Hello")
    assert caught.value.category == "bad_request"
    assert len(str(caught.value)) < 250


def test_a_host_may_have_letters_of_any_language_and_be_a_number():
    for host in ("bücher.example", "例え.jp", "my_box", "10.0.0.1:8000", "[::1]:8000", "[fe80::1%25eth0]"):
        assert is_url(f"http://{host}/v1"), host


def test_the_address_of_a_resource_and_of_ollama_keep_their_query(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://my.openai.azure.com/?api-version=1")
    assert create_llm_service("azure/m").base_url() == "https://my.openai.azure.com/openai/v1?api-version=1"
    assert base_url_of_host("https://box/ollama/?team=a") == "https://box:443/ollama/v1?team=a"


def test_a_pool_knows_an_endpoint_by_its_address_with_the_query(fake):
    gpus = pool(f"{fake.base_url}/?a=1", model="m")
    assert [endpoint.url for endpoint in gpus.endpoints] == [f"{fake.base_url}?a=1"]
    gpus.chat("Hello")
    gpus.drain(f"{fake.base_url}?a=1")
    assert not gpus.endpoints
    assert fake.requests[-1].query == "a=1"


# ---- a wrong path --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["404", "405", "page", "page with 404"])
def nothing(request, fake):
    """Have all other paths than the right ones answer as different servers do."""
    script = {
        "404": error(404, "Invalid URL"),
        "405": status(405, {"detail": "Method Not Allowed"}),
        "page": PAGE,
        "page with 404": status(404, "<html>Not Found</html>", {"content-type": "text/html"}),
    }[request.param]
    for path in ("/chat/completions", "/models", "/responses", "/v1/chat/completions/chat/completions"):
        fake.serve(path, script)
    fake.serve("/v1/responses/chat/completions", script)
    fake.serve("/v1/chat/completions/models", script)
    return script


@pytest.mark.parametrize(
    ("ending", "problem"),
    [
        ("", "the address has no /v1"),
        ("/v1/chat/completions", "the address ends in /chat/completions, which ipyllm adds itself"),
        ("/v1/responses/", "the address ends in /responses, which ipyllm adds itself"),
    ],
)
def test_an_address_with_a_wrong_path_is_explained_and_the_right_one_named(fake, nothing, ending, problem):
    service = OpenAIService("m", base_url=f"{fake.url}{ending}", api_key="sk-0123456789", max_retries=2)
    for _ in range(2):
        with pytest.raises(LLMError, match=problem) as caught:
            service.chat("Hello")
        assert f"the server lists its models at {fake.base_url}, so set base_url to {fake.base_url}." in str(
            caught.value
        )
        assert caught.value.category == "not_found"
        assert caught.value.attempts == 1
    assert [request.path for request in fake.requests].count("/v1/models") == 1  # it is tried once
    assert len(fake.requests) == 3


def test_it_is_tried_once_by_many_calls_at_a_time(fake, nothing):
    service = OpenAIService("m", base_url=fake.url)

    async def ask():
        return await asyncio.gather(*(service.achat("Hello") for _ in range(20)), return_exceptions=True)

    assert {error.category for error in asyncio.run(ask())} == {"not_found"}
    assert [request.path for request in fake.requests].count("/v1/models") == 1


def test_where_no_model_server_answers_the_usual_address_is_said(fake, nothing):
    fake.serve("/v1/models", error(404, "Not Found"))
    with pytest.raises(LLMError, match=f"an address usually ends in /v1: set base_url to {fake.base_url}\\."):
        OpenAIService("m", base_url=fake.url).chat("Hello")


def test_the_hint_keeps_the_query_and_shows_neither_it_nor_a_password(fake, nothing):
    with pytest.raises(LLMError, match="the server lists its models") as caught:
        OpenAIService("m", base_url=f"{fake.url}?key=abc").chat("Hello")
    assert fake.requests[-1].query == "key=abc"
    assert "abc" not in str(caught.value)


def test_the_list_of_models_explains_it_too(own_settings, fake, nothing):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.url}"\nmodel = "m"\n')
    (result,) = probe(["lab"])
    assert f"set base_url to {fake.base_url}." in str(result.error)
    (own_settings / "config.toml").write_text(
        f'[endpoints.lab]\nbase_url = "{fake.base_url}/chat/completions"\nmodel = "m"\n'
    )
    (result,) = probe(["lab"])
    assert f"set base_url to {fake.base_url}." in str(result.error)


def test_the_responses_api_is_explained_alike(own_settings, fake, nothing):
    (own_settings / "config.toml").write_text('[profiles."openai/m"]\napi = "responses"\n')
    with pytest.raises(LLMError, match="the server lists its models") as caught:
        OpenAIService("m", base_url=fake.url).chat("Hello")
    assert "no Responses API" not in str(caught.value)


def test_a_fallback_goes_on_from_a_wrong_address(fake, nothing):
    arms = [OpenAIService("m", base_url=url) for url in (fake.url, fake.base_url)]
    assert fallback(*arms).chat("Hello").content == "Hello from the fake."


def test_an_unknown_model_is_no_wrong_address(fake):
    fake.serve("/chat/completions", fakes.model_not_found("m"))
    with pytest.raises(LLMError, match="check the model's name"):
        OpenAIService("m", base_url=fake.url).chat("Hello")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("script", [error(404, "Invalid URL"), error(500, "Oops"), error(401, "No")])
def test_an_address_that_looks_right_gets_no_further_request(fake, script):
    fake.default = script
    with pytest.raises(LLMError) as caught:
        OpenAIService("m", base_url=fake.base_url, max_retries=0).chat("Hello")
    assert "base_url to" not in str(caught.value)
    assert len(fake.requests) == 1


def test_an_address_without_v1_that_works_gets_no_further_request(fake):
    fake.serve("/chat/completions", answer("Hi"))
    assert OpenAIService("m", base_url=fake.url).chat("Hello").status == "ok"
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("base_url", "meant"),
    [
        ("http://h", "http://h/v1"),
        ("http://h/api", "http://h/api/v1"),
        ("https://v1.example.com", "https://v1.example.com/v1"),
        ("http://h/v1/models", "http://h/v1"),
        ("http://h/v1/completions", "http://h/v1"),
        ("http://h/chat/completions", "http://h/v1"),
        ("https://h/v1beta/openai/chat/completions", "https://h/v1beta/openai"),
        ("https://h/v1beta/openai", None),
        ("https://h/api/paas/v4", None),
        ("http://h/v1", None),
    ],
)
def test_what_is_probably_meant(base_url, meant):
    hint = base_url_hint(base_url)
    assert (hint.meant if hint is not None else None) == meant
