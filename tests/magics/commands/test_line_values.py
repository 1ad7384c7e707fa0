"""Values on the lines of magics: the default model, types as ``--schema``, days as ``--since``, images for models."""

from __future__ import annotations

import pytest

from tests.fakes import answer


@pytest.mark.parametrize("name", ["local/nothing", "opnai/x", "nonsense", "local/nowhere.gguf"])
def test_the_default_model_is_checked_alike_by_all_that_set_it(kernel, kernel_fake, name):
    refused = kernel.run(f"%llm_models use {name}")
    assert refused.status == "error"
    assert kernel.run(f"%llm_config model {name}").error == refused.error
    default = kernel.run(f"%config LLMMagics.model = {name!r}")
    assert refused.error in default.stderr + default.error + "".join(default.traceback)
    kernel.run("%llm Hello")
    assert kernel_fake.requests[-1].json["model"] == "fake-model"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("temperature", "%config LLMMagics.temperature = …"),
        ("temperature 0.2", "%config LLMMagics.temperature = 0.2"),
        ("system Be brief.", "%config LLMMagics.system = 'Be brief.'"),
        ("--unset seed", "%config LLMMagics.seed = …"),
        ("Format", "%config LLMMagics.format = …"),
    ],
)
def test_a_default_of_the_notebook_is_told_from_a_setting(kernel, line, meant):
    ran = kernel.run(f"%llm_config {line}")
    name = meant.partition("LLMMagics.")[2].partition(" ")[0]
    assert ran.error == f"{name} is not a setting but a default of this notebook: {meant}"
    assert "Did you mean 'timeout'?" in kernel.run("%llm_config timeuot 3").error


TYPES = {
    "list[str]": ('["a"]', "['a']"),
    "dict[str, int]": ('{"a": 1}', "{'a': 1}"),
    "str | None": ('"a"', "a"),
    "list[City]": ('[{"name": "Bern"}]', "[City(name='Bern')]"),
    "Literal['good', 'bad']": ('"good"', "good"),
    "Optional[int]": ("3", "3"),
    "tuple[int, str]": ('[1, "a"]', "(1, 'a')"),
    "towns.City": ('{"name": "Bern"}', "name='Bern'"),
}


@pytest.mark.parametrize("text", TYPES)
def test_a_schema_may_be_a_type(prepared, kernel_fake, text):
    prepared.run("import types\ntowns = types.SimpleNamespace(City=City)")
    reply, value = TYPES[text]
    kernel_fake.default = answer(reply)
    ran = prepared.run(f'%llm --no-history --quiet --schema "{text}" -o found Which?\nprint(found.parsed)')
    assert ran.status == "ok", ran.traceback
    assert ran.stdout == f"{value}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("list[Ctiy]", "There is no variable 'Ctiy' for --schema. Did you mean 'City'?"),
        ("open('x')", "--schema needs a type, such as City or list[City], not \"open('x')\"."),
        ("list[", "--schema needs a type, such as City or list[City], not 'list['."),
        ("City.nothing", "--schema City.nothing is not a type: "),
        ("int[str]", "--schema int[str] is not a type: "),
    ],
)
def test_a_schema_that_is_no_type_is_one_sentence(prepared, kernel_fake, text, sentence):
    ran = prepared.run(f'%llm --schema "{text}" Which?')
    assert len(ran.traceback) == 1, ran.traceback
    assert sentence in ran.error
    assert not kernel_fake.requests


@pytest.mark.parametrize("since", ["2h", "today", "yesterday", "7d"])
def test_calls_since_a_day_or_a_duration(kernel, kernel_fake, since):
    kernel.run(f"%llm --no-history --tag case={since} Hello")
    assert kernel.run(f"%llm_usage --tag case={since} --since {since}").stdout.startswith("1 call")
    assert kernel.run(f"%llm_usage --tag case={since} --until {since}").stdout.startswith("No calls.")


BLIND = '%llm_config profiles.openai/blind* {"images": false}'


@pytest.mark.parametrize("model", ["openai/blind", "openai/blind-1", "local/smollm2-135m"])
def test_an_image_for_a_model_that_reads_none_is_refused_before_anything_is_sent(prepared, kernel_fake, model):
    assert prepared.run(BLIND).status == "ok"
    try:
        for code in (
            f"%llm -m {model} --image plot.png What is it?",
            f"%llm -m {model} --image plot.png --dry-run What is it?",
            f"%%llm_compare -m openai/sees -m {model} --image plot.png\nWhat is it?",
        ):
            ran = prepared.run(code)
            assert ran.traceback == [f"bad request: {model} reads no images; use a model that does."]
        assert not kernel_fake.requests
        assert prepared.run("%llm --no-history -m openai/sees --image plot.png What is it?").status == "ok"
    finally:
        prepared.run("%llm_config --unset profiles")
