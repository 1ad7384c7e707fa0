"""Precedence of the sources of settings, and errors for wrong ones."""

from __future__ import annotations

import pytest

from ipyllm import DeepSeekService, OllamaService, OpenAIService
from ipyllm.settings import DEFAULT_MODEL, SettingsError, get_settings
from ipyllm.text.secrets import value_of


def test_environment_before_dotenv_before_file_before_default(own_settings, monkeypatch):
    assert (get_settings().model, get_settings().timeout) == (DEFAULT_MODEL, None)
    (own_settings / "config.toml").write_text('model = "file/x"\ntimeout = 5\nmax_retries = 7\n')
    (own_settings / ".env").write_text("IPYLLM_MODEL=dotenv/x\nIPYLLM_TIMEOUT=6\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("IPYLLM_MODEL", "env/x")
    settings = get_settings()
    assert (settings.model, settings.timeout, settings.max_retries) == ("env/x", 6.0, 7)


def test_a_key_set_in_a_cell_counts_at_once(monkeypatch):
    assert OpenAIService().api_key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-set-in-a-cell-000")
    assert value_of(OpenAIService().address().api_key) == "sk-set-in-a-cell-000"
    assert "sk-set" not in repr(get_settings())
    assert "sk-set" not in repr(OpenAIService().address())


def test_the_providers_own_variables_are_read(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("DEEPSEEK_BASE_URL", "http://127.0.0.1:2/v1")
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:3")
    bases = [made().address().base_url for made in (OpenAIService, DeepSeekService, OllamaService)]
    assert bases == ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", "http://127.0.0.1:3/v1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('modell = "x"', "did you mean 'model'"),
        ("timeout = -1", "timeout"),
        ("timeout = [", "cannot be read"),
        ('[endpoints.lab]\nbase_ulr = "x"', "endpoints.lab"),
    ],
)
def test_a_wrong_setting_is_named(own_settings, text, said):
    (own_settings / "config.toml").write_text(text)
    with pytest.raises(SettingsError, match=f"(?i){said}") as caught:
        get_settings()
    assert "\n" not in str(caught.value)


def test_a_wrong_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("IPYLLM_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match="Invalid value 'soon' for the setting timeout"):
        get_settings()


def test_an_endpoint_reads_its_key_from_the_variable_it_names(own_settings, monkeypatch):
    from ipyllm import create_llm_service

    (own_settings / "config.toml").write_text(
        '[endpoints.lab]\nbase_url = "http://gpu:1/v1"\napi_key_env = "LAB_KEY"\n'
    )
    monkeypatch.setenv("LAB_KEY", "lab-secret-key")
    assert value_of(create_llm_service("lab/m").address().api_key) == "lab-secret-key"


@pytest.mark.parametrize(
    "text",
    [
        '[endpoints.lab]\napi_key = "my-very-secret-key"',
        '[endpoints.lab]\nbase_url = "x"\ntoken = "my-very-secret-key"',
    ],
)
def test_no_key_in_a_wrong_setting_is_shown(own_settings, text):
    (own_settings / "config.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert "secret" not in str(caught.value)


def test_an_endpoint_whose_key_is_missing_says_which_variable(own_settings):
    from ipyllm import LLMError, create_llm_service

    (own_settings / "config.toml").write_text(
        '[endpoints.lab]\nbase_url = "http://gpu:1/v1"\napi_key_env = "LAB_KEY"\n'
    )
    with pytest.raises(LLMError, match="LAB_KEY"):
        create_llm_service("lab/m").address()
    (own_settings / ".env").write_text("LAB_KEY=from-dotenv-file\n")
    assert value_of(create_llm_service("lab/m").address().api_key) == "from-dotenv-file"


def test_a_password_in_an_address_is_not_shown(own_settings):
    from ipyllm import LLMError

    with pytest.raises(LLMError) as caught:
        OpenAIService("m", base_url="htp://user:hunter2pw@host/v1").chat("Hello")
    assert "hunter2pw" not in str(caught.value)


def test_an_environment_variable_that_should_be_json_and_is_not_is_named(monkeypatch):
    monkeypatch.setenv("IPYLLM_ALIASES", "fast: openai/gpt")
    with pytest.raises(SettingsError, match=r"aliases.*The value must be JSON\.$"):
        get_settings()
