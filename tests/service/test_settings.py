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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[endpoints.lab]\nbase_url = "http://gpu:1/v1"\nheader = { x-team = "blue" }',
            "There is no setting endpoints.lab.header. Did you mean 'headers'?",
        ),
        (
            '[prices."openai/m"]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\ncache_usd_per_mtok = 1',
            "There is no setting prices.openai/m.cache_usd_per_mtok. Did you mean 'cached_usd_per_mtok'?",
        ),
        ('[routes.r]\nfalback = ["a/b"]', "There is no setting routes.r.falback. Did you mean 'fallback'?"),
        ('[endpoints.lab]\nmodel = "m"', "The setting endpoints.lab.base_url is missing."),
        (
            '[endpoints.lab]\nbase_url = "http://gpu:1/v1"\nheaders = ["x-team"]',
            "Invalid value for the setting endpoints.lab.headers: it should be a table, such as { name = value }.",
        ),
        ("aliases = 3", "Invalid value for the setting aliases: it should be a table, such as { name = value }."),
        (
            'endpoints = { lab = "http://gpu:1/v1" }',
            "Invalid value for the setting endpoints.lab: it should be a table, such as { name = value }.",
        ),
        (
            'prices = { "openai/m" = 1 }',
            "Invalid value for the setting prices.openai/m: it should be a table, such as { name = value }.",
        ),
        (
            '[endpoints.lab]\nbase_url = "http://gpu:1/v1"\nheaders = { "x team" = "blue" }',
            (
                "Invalid value for the setting endpoints.lab.headers: 'x team' is not a name of a header: it has "
                "letters, digits and hyphens, as in 'x-team'."
            ),
        ),
        (
            '[endpoints.lab]\nbase_ulr = "http://gpu:1/v1"',
            "There is no setting endpoints.lab.base_ulr. Did you mean 'base_url'?",
        ),
        ("timeout = []", "Invalid value [] for the setting timeout: input should be a valid number."),
    ],
)
def test_what_is_wrong_with_a_part_of_a_setting_is_said_in_the_words_of_the_file(own_settings, text, sentence):
    (own_settings / "config.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    assert str(caught.value) == sentence


def test_an_unknown_part_of_a_variable_is_told_like_one_of_the_file(monkeypatch):
    monkeypatch.setenv("IPYLLM_ENDPOINTS", '{"lab": {"base_url": "http://gpu:1/v1", "header": {}}}')
    with pytest.raises(SettingsError, match=r"^There is no setting .*lab\.header\. Did you mean 'headers'\?$"):
        get_settings()


def test_an_endpoint_whose_address_is_no_url_is_named(own_settings):
    from ipyllm import LLMError, create_llm_service

    (own_settings / "config.toml").write_text('[endpoints.lab]\nbase_url = "127.0.0.1:8000/v1"\n')
    with pytest.raises(LLMError, match=r"^The address of Endpoint 'lab' is not a URL: '127\.0\.0\.1:8000/v1'"):
        create_llm_service("lab/m").chat("Hello")


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
