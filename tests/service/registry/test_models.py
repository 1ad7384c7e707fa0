"""Model names: resolution, and suggestions for unknown names."""

from __future__ import annotations

import pytest

from ipyllm import LLMError, create_llm_service
from ipyllm.registry import models


def write_config(home, text):
    (home / "config.toml").write_text(text)


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("openai/gpt-6-luna", ("openai", "gpt-6-luna")),
        ("ollama/llama3.2:1b", ("ollama", "llama3.2:1b")),
        ("local//tmp/model.gguf", ("local", "/tmp/model.gguf")),
        ("./model.gguf", ("local", "./model.gguf")),
        ("deepseek", ("deepseek", None)),
        (None, ("local", "smollm2-135m")),
    ],
)
def test_a_name_is_split_into_service_and_model(name, resolved):
    assert models.resolve(name) == resolved


def test_aliases_lead_to_models_and_endpoints_are_services(own_settings):
    write_config(
        own_settings,
        """
        model = "fast"
        [aliases]
        fast = "quick"
        quick = "lab/big-model"
        [endpoints.lab]
        base_url = "http://gpu-box:8000/v1"
        """,
    )
    service = create_llm_service(temperature=0)
    assert service.full_name == "lab/big-model"
    assert service.base_url() == "http://gpu-box:8000/v1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opnai/gpt-6-luna", "did you mean 'openai/gpt-6-luna'"),
        ("dead/m", "To add a server, write .endpoints.dead. with its base_url into config.toml."),
        ("x.y z/m", "To add a server, write .endpoints.NAME. with its base_url into config.toml."),
        ("gpt-6-lna", "did you mean 'openai/gpt-6-luna'"),
        ("fsat", "did you mean 'fast'"),
        ("zzz", "with a service of: anthropic, azure, .*, openai, openrouter,"),
        ("openai/", "names a service but no model"),
        ("", "is empty"),
        ("round", "in a circle: round → trip → round"),
    ],
)
def test_a_wrong_name_says_what_was_meant(own_settings, name, said):
    write_config(own_settings, '[aliases]\nfast = "openai/gpt-6-luna"\nround = "trip"\ntrip = "round"\n')
    with pytest.raises(LLMError, match=said) as caught:
        create_llm_service(name)
    assert caught.value.category == "not_found"


def test_a_default_chosen_in_the_session_is_used():
    models.set_default_model("ollama/llama3.2")
    assert create_llm_service().full_name == "ollama/llama3.2"
    with pytest.raises(LLMError):
        models.set_default_model("olama/llama3.2")


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(LLMError, match=r"A model's name is a string like 'openai/gpt-6-sol', not int\."):
        create_llm_service(5)


def test_an_endpoint_of_several_models_needs_one_named(own_settings):
    (own_settings / "config.toml").write_text('[endpoints.lab]\nbase_url = "http://127.0.0.1:1/v1"\n')
    with pytest.raises(LLMError, match="'lab' serves several models: write lab/<model>") as caught:
        create_llm_service("lab")
    assert caught.value.category == "not_found"
