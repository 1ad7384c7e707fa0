"""Routes as the settings describe them."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import TypeAdapter, ValidationError

from ipyllm import LLMError
from ipyllm.routing.named import RouteSettings, named_route

TOML = """
[fast]
fallback = ["openai/gpt-5-mini", "deepseek/deepseek-chat"]
[ab]
split = { "openai/gpt-5-mini" = 0.9, "deepseek/deepseek-chat" = 0.1 }
seed = 7
sticky = "none"
[gpus]
pool = ["http://h1:8000/v1", "http://h2:8000/v1"]
model = "llama"
api_key_env = "LAB_KEY"
"""


def routes(text=TOML):
    return TypeAdapter(dict[str, RouteSettings]).validate_python(tomllib.loads(text))


def test_each_kind_is_made_as_described(monkeypatch):
    monkeypatch.setenv("LAB_KEY", "the-labs-own")
    assert repr(named_route("fast", routes())) == "fast(openai/gpt-5-mini, deepseek/deepseek-chat)"
    assert repr(named_route("ab", routes())) == "ab(openai/gpt-5-mini: 0.9, deepseek/deepseek-chat: 0.1)"
    gpus = named_route("gpus", routes())
    assert gpus.full_name == "gpus"
    assert [arm.full_name for arm in gpus._arms()] == ["gpus/llama"] * 2
    assert [arm.address().api_key for arm in gpus._arms()] == ["the-labs-own"] * 2


def test_a_route_is_the_same_until_its_settings_change():
    gpus = named_route("gpus", routes())
    gpus.add("http://h3:8000/v1")
    assert named_route("gpus", routes()) is gpus
    assert len(gpus.with_defaults(temperature=0).endpoints) == 3, "what is shared is not copied"
    changed = named_route("gpus", routes(TOML.replace("h2", "h4")))
    assert [endpoint.url for endpoint in changed.endpoints] == ["http://h1:8000/v1", "http://h4:8000/v1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[r]\nseed = 1", "one of fallback, split and pool"),
        ('[r]\nfallback = ["openai/a"]\npool = ["openai/a"]', "one of fallback, split and pool"),
        ('[r]\nfallback = ["openai/a"]\nseed = 1', "seed does not belong to a fallback"),
        ('[r]\npool = ["http://h/v1"]\nmodle = "m"', "modle"),
    ],
)
def test_what_does_not_belong_together_is_refused(text, told):
    with pytest.raises(ValidationError, match=told):
        routes(text)


def test_a_circle_is_refused(monkeypatch):
    described = routes('[x]\nfallback = ["y"]\n[y]\nfallback = ["x"]')

    def create(name):
        return named_route(name, described)

    # Names of routes are looked up by `create_llm_service`, which knows the settings' own only.
    monkeypatch.setattr("ipyllm.routing.route.create_llm_service", create)
    with pytest.raises(LLMError, match="x → y → x"):
        named_route("x", described)
