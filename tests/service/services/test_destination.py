"""A ``.env`` file that comes with a folder cannot send the user's keys elsewhere."""

from __future__ import annotations

import json
import warnings

import pytest

from ipyllm import LLMError, OllamaService, OpenAIService, create_llm_service
from ipyllm.settings import SettingsError, get_settings
from ipyllm.text.secrets import value_of

KEY = "sk-own-a9Xq2LmT7vB4zP0w"
ELSEWHERE = "https://llm.elsewhere.example/v1"


def refused(service):
    with pytest.raises(LLMError) as caught:
        service.address()
    sentence = str(caught.value)
    assert caught.value.category == "authentication"
    assert KEY not in sentence
    assert len(sentence.splitlines()) == 1
    return sentence


@pytest.fixture
def dotenv(own_settings):
    def write(**variables):
        lines = (f"{name}='{value}'\n" for name, value in variables.items())
        (own_settings / ".env").write_text("".join(lines))

    return write


@pytest.fixture
def config(own_settings):
    return (own_settings / "config.toml").write_text


def test_an_address_in_dotenv_gets_no_key_of_the_environment(dotenv, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    dotenv(OPENAI_BASE_URL=ELSEWHERE)
    sentence = refused(OpenAIService("m"))
    assert sentence == (
        "The key of OpenAI is not sent to llm.elsewhere.example, because its address comes from .env and the key from "
        "the environment: to allow it, pass base_url=…, or set IPYLLM_ALLOW_KEYS_TO=llm.elsewhere.example in the "
        "environment or in config.toml."
    )


def test_nothing_is_sent_there_not_even_the_question_for_models(dotenv, monkeypatch, fake):
    from ipyllm.registry.discovery import probe

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("ipyllm.transport.address._is_loopback", lambda _url: False)
    dotenv(OPENAI_BASE_URL=fake.base_url)
    with pytest.raises(LLMError, match=r"not sent to 127\.0\.0\.1"):
        OpenAIService("m", max_retries=0).chat("Hello")
    [result] = probe(["openai"])
    assert "is not sent to 127.0.0.1" in str(result.error)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("environment", "in_dotenv", "options"),
    [
        ({"OPENAI_BASE_URL": ELSEWHERE}, {"OPENAI_API_KEY": KEY}, {}),
        ({}, {"OPENAI_BASE_URL": ELSEWHERE}, {"api_key": KEY}),
        ({"OPENAI_API_KEY": KEY}, {"OPENAI_BASE_URL": "http://api.openai.com/v1"}, {}),
        ({"OPENAI_API_KEY": KEY}, {"openai_base_url": "https://api.openai.com.elsewhere.example/v1"}, {}),
    ],
    ids=["the reverse", "an argument", "no TLS", "a longer name"],
)
def test_other_mixtures_are_refused_too(dotenv, monkeypatch, environment, in_dotenv, options):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    dotenv(**in_dotenv)
    assert "comes from" in refused(OpenAIService("m", **options))


def test_an_address_that_looks_like_the_providers_by_a_users_name_is_refused_as_it_stands(dotenv, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    dotenv(OPENAI_BASE_URL="https://api.openai.com@elsewhere.example/v1")
    with pytest.raises(LLMError) as caught:
        OpenAIService("m").address()
    assert caught.value.category == "bad_request"
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "in_dotenv", "options"),
    [
        ({}, {"OPENAI_BASE_URL": ELSEWHERE, "OPENAI_API_KEY": KEY}, {}),
        ({"OPENAI_BASE_URL": ELSEWHERE, "OPENAI_API_KEY": KEY}, {}, {}),
        ({"OPENAI_BASE_URL": ELSEWHERE, "OPENAI_API_KEY": KEY}, {"OPENAI_BASE_URL": "https://other.example"}, {}),
        ({}, {"OPENAI_API_KEY": KEY}, {"base_url": ELSEWHERE}),
        ({"OPENAI_API_KEY": KEY}, {}, {"base_url": ELSEWHERE}),
        ({"OPENAI_BASE_URL": ELSEWHERE}, {}, {"api_key": KEY}),
        ({}, {"OPENAI_BASE_URL": "https://other.example"}, {"api_key": KEY, "base_url": ELSEWHERE}),
    ],
    ids=["dotenv", "environment", "environment first", "address given", "base_url", "api_key", "both given"],
)
def test_what_comes_from_one_place_or_is_asked_for_is_sent(dotenv, monkeypatch, environment, in_dotenv, options):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    dotenv(**in_dotenv)
    address = OpenAIService("m", **options).address()
    assert (address.base_url, value_of(address.api_key)) == (ELSEWHERE, KEY)


@pytest.mark.parametrize(
    "address", ["https://api.openai.com/v1", "http://127.0.0.1:1234/v1", "http://localhost:1234/v1"]
)
def test_the_providers_own_host_and_this_machine_get_the_key(dotenv, monkeypatch, address):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    dotenv(OPENAI_BASE_URL=address)
    assert OpenAIService("m").address().base_url == address


def test_without_a_key_there_is_nothing_to_keep(dotenv):
    dotenv(OLLAMA_HOST="http://gpu-box:11434")
    assert OllamaService("m").address().base_url == "http://gpu-box:11434/v1"
    assert "comes from .env" in refused(OllamaService("m", api_key=KEY))


def test_the_address_of_a_resource_and_its_key_belong_together(dotenv, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    dotenv(AZURE_OPENAI_ENDPOINT="https://elsewhere.westus.cloudapp.azure.com")
    assert "Azure OpenAI" in refused(create_llm_service("azure/m"))
    dotenv(AZURE_OPENAI_ENDPOINT="https://mine.openai.azure.com", AZURE_OPENAI_API_KEY=KEY)
    monkeypatch.delenv("AZURE_OPENAI_API_KEY")
    assert value_of(create_llm_service("azure/m").address().api_key) == KEY


def test_a_named_service_with_its_key_in_dotenv_is_asked_at_its_own_host(dotenv):
    dotenv(GROQ_API_KEY=KEY)
    assert value_of(create_llm_service("groq").address().api_key) == KEY


LAB = '[endpoints.lab]\nbase_url = "https://lab.example/v1"\n'


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_the_users_settings_may_name_a_variable_wherever_it_is(config, dotenv, monkeypatch, where):
    config(LAB + 'api_key_env = "LAB_KEY"\n')
    if where == "environment":
        monkeypatch.setenv("LAB_KEY", KEY)
    else:
        dotenv(LAB_KEY=KEY)
    assert value_of(create_llm_service("lab/m").address().api_key) == KEY


@pytest.mark.parametrize(
    "endpoint",
    [
        {"base_url": ELSEWHERE, "api_key_env": "OPENAI_API_KEY"},
        {"base_url": ELSEWHERE},
        {"api_key_env": "OPENAI_API_KEY"},
    ],
    ids=["both", "the address", "the variable"],
)
def test_a_dotenv_file_cannot_lead_an_endpoint_elsewhere(config, dotenv, monkeypatch, endpoint):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config(LAB + ('api_key_env = "OPENAI_API_KEY"\n' if "api_key_env" not in endpoint else ""))
    dotenv(IPYLLM_ENDPOINTS=json.dumps({"lab": endpoint}))
    assert "The key of Endpoint 'lab'" in refused(create_llm_service("lab/m"))


@pytest.mark.parametrize("given", ["settings", "argument"])
def test_a_key_in_a_header_is_kept_likewise(config, dotenv, given):
    config(LAB + (f'headers = {{ "x-api-key" = "{KEY}" }}\n' if given == "settings" else ""))
    options = {"default_headers": {"x-api-key": KEY}} if given == "argument" else {}
    assert create_llm_service("lab/m", **options).address().headers.hold_a_key
    dotenv(IPYLLM_ENDPOINTS=json.dumps({"lab": {"base_url": ELSEWHERE}}))
    assert "The key of Endpoint 'lab'" in refused(create_llm_service("lab/m", **options))


@pytest.mark.parametrize("where", ["dotenv", "settings"])
@pytest.mark.parametrize("name", ["Authorization", "x-authtoken", "X-Team"])
def test_so_is_a_key_in_a_header_of_one_call(config, dotenv, fake, monkeypatch, where, name):
    monkeypatch.setattr("ipyllm.transport.address._is_loopback", lambda _url: False)
    if where == "dotenv":
        dotenv(IPYLLM_ENDPOINTS=json.dumps({"lab": {"base_url": fake.base_url}}))
    else:
        config(LAB.replace("https://lab.example/v1", fake.base_url))
    service = create_llm_service("lab/m")
    if where == "settings" or name == "X-Team":
        assert service.chat("Hello", extra_headers={name: KEY}).status == "ok"
        assert fake.requests[0].headers[name.lower()] == KEY
        return
    with pytest.raises(LLMError, match=r"not sent to 127\.0\.0\.1, because its address comes from \.env") as caught:
        service.chat("Hello", extra_headers={name: KEY})
    assert (caught.value.category, fake.requests) == ("authentication", [])


def test_a_dotenv_file_with_its_own_endpoint_and_key_works(dotenv):
    dotenv(IPYLLM_ENDPOINTS=json.dumps({"lab": {"base_url": ELSEWHERE, "api_key_env": "LAB_KEY"}}), LAB_KEY=KEY)
    assert value_of(create_llm_service("lab/m").address().api_key) == KEY


def test_a_dotenv_file_cannot_make_a_pool_with_the_users_key(config, dotenv, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    pool = {"pool": [ELSEWHERE], "model": "m", "api_key_env": "OPENAI_API_KEY"}
    dotenv(IPYLLM_ROUTES=json.dumps({"gpus": pool}))
    with pytest.raises(LLMError, match=r"the pool 'gpus' is not sent to llm\.elsewhere\.example"):
        create_llm_service("gpus")
    dotenv(IPYLLM_ROUTES=json.dumps({"gpus": pool | {"api_key_env": "LAB_KEY"}}), LAB_KEY=KEY)
    assert create_llm_service("gpus").endpoints[0].url == ELSEWHERE


@pytest.mark.parametrize("hosts", ["llm.elsewhere.example", "other.example, LLM.elsewhere.example:443"])
def test_a_host_can_be_allowed_in_the_environment(dotenv, monkeypatch, hosts):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("IPYLLM_ALLOW_KEYS_TO", hosts)
    dotenv(OPENAI_BASE_URL="https://llm.elsewhere.example:443/v1")
    assert value_of(OpenAIService("m").address().api_key) == KEY


def test_a_dotenv_file_cannot_allow_itself(config, dotenv, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config('allow_keys_to = "lab.example"\n')
    dotenv(OPENAI_BASE_URL=ELSEWHERE, IPYLLM_ALLOW_KEYS_TO="llm.elsewhere.example")
    with pytest.raises(SettingsError, match=r"IPYLLM_ALLOW_KEYS_TO in \.env does not count"):
        get_settings()
    dotenv(OPENAI_BASE_URL="https://lab.example/v1")
    assert value_of(OpenAIService("m").address().api_key) == KEY


def test_a_weak_key_is_not_masked_and_that_is_said_once(monkeypatch):
    monkeypatch.setattr("ipyllm.services.address_and_key._weak_key_was_noted", False)
    here = OpenAIService("m", base_url="http://127.0.0.1:1/v1", api_key="lm-studio")
    there = [OpenAIService("m", base_url=ELSEWHERE, api_key="password") for _ in range(2)]
    here.request("Hello")
    with pytest.warns(UserWarning, match="The key of OpenAI is short, or made of words: it is not masked"):
        there[0].request("Hello")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there[1].request("Hello")
        OpenAIService("m", base_url=ELSEWHERE, api_key=KEY).request("Hello")
