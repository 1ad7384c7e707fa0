"""docs/service.md agrees with the code: settings, errors, names, and the `openai` client.

Its `>>>` examples are run by `pytest docs`, see docs/conftest.py.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import re
import types
import typing
from pathlib import Path

import pytest

import ipyllm
from ipyllm import BaseLLMService, LLMError, OpenAIService, create_llm_service
from ipyllm.pipeline.retry import is_retryable
from ipyllm.response import Category
from ipyllm.settings import Settings, get_settings
from ipyllm.text.secrets import value_of
from tests.fakes import answer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def table(*header):
    """Rows of the table with this header, each a list of cells; `\\|` in a cell is a bar."""
    _, found, rest = PAGE.partition(f"| {' | '.join(header)} |\n")
    assert found, f"There is no table {header}."
    lines = rest.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell):
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def shown(kind):
    """Write a type as the page does."""
    if typing.get_origin(kind) is typing.Annotated:
        return shown(typing.get_args(kind)[0])
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return " | ".join(shown(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is dict:
        return f"dict[{', '.join(shown(part) for part in typing.get_args(kind))}]"
    return "None" if kind is types.NoneType else kind.__name__


def variable(name, field):
    """Return the variable that sets a field: its own, or ours."""
    return field.validation_alias.choices[0] if field.validation_alias else f"IPYLLM_{name.upper()}"


def test_the_settings_table_is_the_settings():
    rows = table("setting", "variable", "type", "default", "meaning")
    documented = {code(name)[0]: (code(var)[0], code(kind)[0]) for name, var, kind, *_ in rows}
    assert documented == {
        name: (variable(name, field), shown(field.annotation)) for name, field in Settings.model_fields.items()
    }


def test_the_defaults_in_the_table_are_the_defaults():
    for name, _, _, default, meaning in table("setting", "variable", "type", "default", "meaning"):
        held = getattr(get_settings_without_environment(), code(name)[0])
        if isinstance(held, Path) or code(name) == ["ledger"]:
            assert Path(held).name == code(default)[0]
        else:
            assert str(held) == code(default)[0]
        assert meaning


def get_settings_without_environment():
    fields = Settings.model_fields.items()
    return Settings.model_construct(**{name: field.get_default(call_default_factory=True) for name, field in fields})


def test_the_category_table_has_every_category_and_says_what_is_retried():
    rows = table("category", "means", "retried", "what to do")
    assert tuple(code(row[0])[0] for row in rows) == typing.get_args(Category)
    for (category,), retried in ((code(row[0]), row[2]) for row in rows):
        error = LLMError("It failed.", category=category)
        assert retried.startswith("yes") == is_retryable(error, after_text=True), category


def test_the_reference_has_every_public_name_and_option():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    words = set(re.findall(r"\w+", " ".join(code(prose))))
    assert set(ipyllm.__all__) <= words
    for function in (BaseLLMService.__init__, BaseLLMService.request):
        assert set(inspect.signature(function).parameters) <= words | {"self"}
    for data in (ipyllm.ChatResponse, ipyllm.Usage, ipyllm.Timing, ipyllm.Timeout):
        assert {field.name for field in dataclasses.fields(data)} <= words, data


def test_the_methods_said_to_be_overridden_are_there():
    for row in table("override", "when"):
        for name in code(row[0]):
            assert hasattr(BaseLLMService, name.partition("(")[0]), name


def test_the_config_file_is_one(own_settings, monkeypatch):
    (own_settings / "config.toml").write_text(re.search(r"```toml\n(# config\.toml\n.*?)```", PAGE, re.DOTALL)[1])
    monkeypatch.setenv("LAB_KEY", "lab-key-000000")
    assert create_llm_service().full_name == "openai/gpt-6-luna"
    lab = create_llm_service("lab")
    assert (lab.full_name, value_of(lab.address().api_key)) == ("lab/llama-3.1-8b", "lab-key-000000")
    routes = {name: create_llm_service(name) for name in get_settings().routes}
    assert {name: type(route).__name__ for name, route in routes.items()} == {
        "safe": "Fallback",
        "ab": "Split",
        "gpus": "Pool",
    }


def test_the_example_on_the_page_is_the_package_that_is_tested():
    package = ROOT / "tests" / "service" / "services" / "example_package"
    assert f"```python\n{(package / 'ipyllm_echo.py').read_text()}```" in PAGE
    entry = re.search(r'```toml\n(\[project\.entry-points\."ipyllm\.services"\]\n.*?)```', PAGE, re.DOTALL)[1]
    assert entry in (package / "pyproject.toml").read_text()


def test_the_table_of_services_is_that_of_the_data():
    from docs.service_table import replace_table

    assert "<!-- services -->" in PAGE
    assert replace_table(PAGE) == PAGE, "run: python docs/service_table.py docs/service.md"


@pytest.mark.parametrize("row", table("before", "after"), ids=lambda row: code(row[1])[0])
def test_before_and_after_do_the_same(fake, row):
    from openai import AsyncOpenAI, OpenAI

    fake.speak_as("openai")
    fake.default = answer("The same.")
    at = {"base_url": fake.base_url, "api_key": "no-key-needed"}
    names = {"m": [{"role": "user", "content": "Hello"}], "OpenAI": OpenAI, "OpenAIService": OpenAIService}

    async def both():
        with OpenAI(**at) as client:
            async with AsyncOpenAI(**at) as aclient:
                was = await evaluated(row[0], {**names, "client": client, "aclient": aclient})
        return was, await evaluated(row[1], {**names, "service": OpenAIService("gpt-6-luna", **at)})

    was, now = asyncio.run(both())
    if isinstance(was, OpenAI):
        with was:
            assert str(was.base_url).rstrip("/") == now.base_url()
        return
    assert was == now if isinstance(was, str | int) else was.output_text == now.content
    ours = {"stream", "stream_options", "store", "include"}
    before, after = ({k: v for k, v in sent.json.items() if k not in ours} for sent in fake.requests)
    assert before == after


def weather(city: str) -> str:
    """Say what the weather is like."""
    return f"sunny in {city}"


def values_at(body, path):
    """Return the value at ``a.b[0].c``."""
    for name, index in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
        body = body[name] if not index else body[name][int(index)]
    return body


@pytest.mark.parametrize("row", table("you write", "chat completions", "Responses"), ids=lambda row: code(row[0])[0])
def test_what_is_written_has_the_place_on_each_api_that_the_table_says(fake, own_settings, row):
    fake.speak_as("openai")
    fake.default = answer('{"value": ["Bern"]}')
    names = {"weather": weather, "NAMED": {"type": "function", "function": {"name": "weather"}}}
    options = eval(f"dict({code(row[0])[0]})", names)
    if "tool_choice" in options:
        options["tools"] = [weather]
    if {"tools", "logprobs"} & options.keys():
        options["effort"] = "none"
    found = []
    for api, cell in zip(("chat", "responses"), row[1:], strict=True):
        (own_settings / "config.toml").write_text(f'[profiles."openai/*"]\napi = "{api}"\n')
        OpenAIService("gpt-6-luna", base_url=fake.base_url, max_retries=0).chat("Hello", **options)
        assert fake.requests[-1].path.endswith("/chat/completions" if api == "chat" else "/responses")
        found.append(values_at(fake.requests[-1].json, code(cell)[0]))
    assert found[0] == found[1] or found == [True, "message.output_text.logprobs"]


async def evaluated(cell, names):
    """Evaluate what stands in a cell, which may say ``await``."""
    value = eval(compile(code(cell)[0], "service.md", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    return await value if inspect.iscoroutine(value) else value
