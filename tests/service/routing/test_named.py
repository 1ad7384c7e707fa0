"""Routes defined in the settings."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import TypeAdapter, ValidationError

from ipyllm import LLMError, create_llm_service
from ipyllm.routing.named import named_route
from ipyllm.settings_models import RouteSettings
from ipyllm.text.secrets import value_of

TOML = """
[fast]
fallback = ["openai/gpt-6-luna", "deepseek/deepseek-flash"]
[ab]
split = { "openai/gpt-6-luna" = 0.9, "deepseek/deepseek-flash" = 0.1 }
seed = 7
sticky = "none"
[gpus]
pool = ["http://h1:8000/v1", "http://h2:8000/v1"]
model = "llama"
api_key_env = "LAB_KEY"
"""


def routes(text=TOML):
    return TypeAdapter(dict[str, RouteSettings]).validate_python(tomllib.loads(text))


def made(name, described=None):
    return named_route(name, described or routes(), create_llm_service)


def test_each_kind_is_made_as_described(monkeypatch):
    monkeypatch.setenv("LAB_KEY", "the-labs-own")
    assert repr(made("fast")) == "fast(openai/gpt-6-luna, deepseek/deepseek-flash)"
    assert repr(made("ab")) == "ab(openai/gpt-6-luna: 0.9, deepseek/deepseek-flash: 0.1)"
    gpus = made("gpus")
    assert gpus.full_name == "gpus"
    assert [arm.full_name for arm in gpus._arms()] == ["gpus/llama"] * 2
    assert [value_of(arm.address().api_key) for arm in gpus._arms()] == ["the-labs-own"] * 2


def test_a_route_is_the_same_until_its_settings_change():
    gpus = made("gpus")
    gpus.add("http://h3:8000/v1")
    assert made("gpus") is gpus
    assert len(gpus.with_defaults(temperature=0).endpoints) == 3, "what is shared is not copied"
    changed = made("gpus", routes(TOML.replace("h2", "h4")))
    assert [endpoint.url for endpoint in changed.endpoints] == ["http://h1:8000/v1", "http://h4:8000/v1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[r]\nseed = 1", "one of fallback, split and pool"),
        ('[r]\nfallback = ["openai/a"]\npool = ["openai/a"]', "one of fallback, split and pool"),
        ('[r]\nfallback = ["openai/a"]\nseed = 1', "seed is not an option of a fallback"),
        ('[r]\npool = ["http://h/v1"]\nmodle = "m"', "modle"),
    ],
)
def test_what_does_not_belong_together_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        routes(text)


def test_a_circle_is_refused():
    described = routes('[x]\nfallback = ["y"]\n[y]\nfallback = ["x"]')

    def resolver(name):
        return named_route(name, described, resolver)

    with pytest.raises(LLMError, match="x → y → x"):
        resolver("x")


def test_the_settings_own_routes_may_not_go_in_a_circle(own_settings, monkeypatch):
    config = own_settings / "config.toml"
    config.write_text('[routes.x]\nfallback = ["y"]\n[routes.y]\nfallback = ["x"]\n')
    monkeypatch.setenv("IPYLLM_CONFIG", str(config))
    with pytest.raises(LLMError, match="x → y → x"):
        create_llm_service("x")
