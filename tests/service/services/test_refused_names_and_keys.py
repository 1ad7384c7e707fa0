"""What is said of a model that the server does not have, and of a key that it refuses."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, OpenAIService, create_llm_service
from tests import fakes
from tests.fakes.services import StrictServices

KEY = "sk-wrong-0123456789abcdef"


def error_of(service):
    with pytest.raises(LLMError) as caught:
        service.chat("Hello", max_retries=0)
    return caught.value


@pytest.fixture
def providers(monkeypatch):
    with StrictServices() as services:
        services.replace_all(monkeypatch)
        yield services


# ---- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("openai/gpt-6-lunna", "openai/gpt-6-luna"),
        ("anthropic/claude-hiaku-5-5", "anthropic/claude-haiku-5-5"),
        ("groq/openai/gpt-oss-20", "groq/openai/gpt-oss-20b"),
    ],
)
def test_a_wrong_name_of_a_providers_model_suggests_the_right_one(providers, wrong, meant):
    error = error_of(create_llm_service(wrong))
    assert (error.category, error.status_code, error.model) == ("not_found", 404, wrong)
    assert str(error).endswith(f" Did you mean '{meant}'?")


def test_at_another_address_only_models_that_its_server_listed_are_suggested(fake, own_settings):
    (own_settings / "config.toml").write_text(f'[endpoints.lab]\nbase_url = "{fake.base_url}"\n')
    fake.default = fakes.model_not_found("fake-modle")
    assert "Did you mean" not in str(error_of(OpenAIService("gpt-6-lunna", base_url=fake.base_url)))
    lab = create_llm_service("lab/fake-modle")
    assert "Did you mean" not in str(error_of(lab))
    lab.context_window()  # asks for the list
    assert str(error_of(lab)).endswith(" Did you mean 'lab/fake-model'?")
    assert "Did you mean" not in str(error_of(create_llm_service("lab/fake-model")))


@pytest.mark.filterwarnings("ignore:.*was retired on")
def test_a_retired_model_names_its_successor_each_time(providers):
    for _ in range(2):
        said = str(error_of(create_llm_service("openai/gpt-4")))
        assert said.endswith(" openai/gpt-4 was retired on 2026-10-23; use openai/gpt-6-luna.")


# ---- keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(own_settings):
    with fakes.FakeLLM(api_key="sk-right-0123456789abcdef") as server:
        (own_settings / "config.toml").write_text(
            f'[endpoints.lab]\nbase_url = "{server.base_url}"\napi_key_env = "LAB_KEY"\n'
            f'[endpoints.fixed]\nbase_url = "{server.base_url}"\napi_key = "{KEY}"\napi_key_env = "LAB_KEY"\n'
            f'[endpoints.open]\nbase_url = "{server.base_url}"\n'
        )
        yield server


def said_of_key(service):
    error = error_of(service)
    assert (error.category, error.status_code) == ("authentication", 401)
    assert KEY not in str(error)
    return str(error).partition("check the key and its permissions.")[2].strip()


def test_a_refused_key_names_the_variable_that_it_came_from(locked, monkeypatch):
    monkeypatch.setenv("LAB_KEY", KEY)
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    assert said_of_key(create_llm_service("lab/m")) == "The key came from LAB_KEY."
    gemini = create_llm_service("gemini", base_url=locked.base_url)
    assert said_of_key(gemini) == "The key came from GOOGLE_API_KEY."


def test_a_refused_key_from_elsewhere_names_no_variable(locked, monkeypatch):
    monkeypatch.setenv("LAB_KEY", "another-key-0123456789")
    assert said_of_key(create_llm_service("fixed/m")) == ""
    assert said_of_key(create_llm_service("lab/m", api_key=KEY)) == ""
    assert said_of_key(create_llm_service("lab/m", default_headers={"Authorization": f"Bearer {KEY}"})) == ""


def test_a_server_that_wants_a_key_where_none_is_set_says_how_to_give_one(locked):
    assert said_of_key(create_llm_service("open/m")) == "No key was sent: pass api_key=…."
    vllm = create_llm_service("vllm/m", base_url=locked.base_url)
    how = (
        "set VLLM_API_KEY in the environment or in .env, pass api_key=…, or type it in a cell: "
        '`import getpass, os; os.environ["VLLM_API_KEY"] = getpass.getpass()`.'
    )
    assert said_of_key(vllm) == f"No key was sent: {how}"
