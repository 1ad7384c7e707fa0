"""``%config LLMMagics.…``: defaults of a notebook, between those of a service and the settings."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture
def config(kernel, kernel_fake):
    """Set defaults for one test."""
    touched = []

    def set_(name, value):
        touched.append(name)
        return kernel.run(f"%config LLMMagics.{name} = {value}")

    yield set_
    for name in touched:
        kernel.run(
            "from ipyllm_magics.commands.llm import LLMMagics as M\n"
            "_m = [c for c in get_ipython().configurables if type(c) is M][0]\n"
            f"_m.set_trait({name!r}, M.class_traits()[{name!r}].default())"
        )


def sent(fake):
    return fake.requests[-1].json


PARAMETERS = {"temperature": (0.25, 0.5), "max_tokens": (9, 10), "top_p": (0.5, 0.75), "seed": (1, 2)}
FLAG = {"temperature": "-t", "max_tokens": "--max-tokens", "top_p": "--top-p", "seed": "--seed"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_default_holds_until_an_option_says_otherwise(name, kernel, kernel_fake, config):
    default, option = PARAMETERS[name]
    config(name, default)
    kernel.run("%llm Hello")
    assert sent(kernel_fake)[name] == default
    kernel.run(f"%llm {FLAG[name]} {option} Hello")
    assert sent(kernel_fake)[name] == option


SERVICE = """
from ipyllm import OpenAIService

class Careful(OpenAIService):
    name = "careful"
    def __init__(self, model=None, **options):
        super().__init__(model, **{"base_url": %r, "temperature": 0.25, **options})
"""
FORGET_INSTALLED = "from ipyllm.registry import models\nmodels._registered.cache_clear()"


def test_the_default_of_a_service_comes_before_the_notebooks(kernel, kernel_fake, config, tmp_path):
    (tmp_path / "careful.py").write_text(SERVICE % kernel_fake.base_url)
    installed = tmp_path / "careful-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: careful\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ipyllm.services]\ncareful = careful:Careful\n")
    kernel.run(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{FORGET_INSTALLED}")
    config("temperature", 0.75)
    config("seed", 3)
    for line in ("%llm -m careful/x Hello", "%%llm_compare -m careful/x -m careful/y\nHello"):
        assert kernel.run(line).status == "ok"
        assert {name: sent(kernel_fake).get(name) for name in ("temperature", "seed")} == {
            "temperature": 0.25,
            "seed": 3,
        }
    kernel.run("%llm -m careful/x -t 0.5 Hello")
    assert sent(kernel_fake)["temperature"] == 0.5
    kernel.run(f"sys.path.pop(0)\n{FORGET_INSTALLED}")


def test_the_model_is_the_same_as_with_llm_models_use(kernel, kernel_fake, config):
    config("model", "'openai/configured'")
    kernel.run("%llm Hello")
    assert sent(kernel_fake)["model"] == "configured"
    kernel.run("%llm -m openai/said Hello")
    assert sent(kernel_fake)["model"] == "said"
    kernel.run("%llm_models use openai/used")
    kernel.run("%llm Hello")
    assert sent(kernel_fake)["model"] == "used"
    config("model", "None")
    kernel.run("%llm_models use openai/fake-model")


def test_the_system_message_is_for_conversations_that_have_none(kernel, kernel_fake, config):
    config("system", "'Be brief.'")
    kernel.run("%llm Hello")
    assert sent(kernel_fake)["messages"][0] == {"role": "system", "content": "Be brief."}
    kernel.run("%llm --new -s Rhyme. Hello")
    kernel.run("%llm Hello again")
    systems = [message["content"] for message in sent(kernel_fake)["messages"] if message["role"] == "system"]
    assert systems == ["Rhyme."]
    kernel.run("%llm --no-history Hello")
    assert sent(kernel_fake)["messages"][0]["content"] == "Be brief."


def test_conversation_format_parameters_tags_timeout_and_cache_have_defaults_too(kernel, kernel_fake, config):
    config("conversation", "'essay'")
    config("format", "'text'")
    config("params", "{'top_k': 5}")
    config("tags", "{'arm': 'a', 'lab': 'x'}")
    config("timeout", "77")
    config("cache", "True")
    ran = kernel.run("%llm --tag arm=b -p min_p=0.1 --dry-run Hello")
    assert "conversation 'essay'" in ran.stdout
    assert "shown as text" in ran.stdout
    assert "top_k 5, min_p 0.1" in ran.stdout
    assert "arm=b, lab=x" in ran.stdout
    assert "77 s to the first token, 77 s without new data" in ran.stdout
    assert "may answer" in ran.stdout
    assert "may answer" not in kernel.run("%llm --no-cache --dry-run Hello").stdout
    kernel.run("%llm Hello")
    assert (
        "essay"
        in kernel.run("from ipyllm.conversations.history import conversations\nprint(list(conversations()))").stdout
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model", "'opnai/x'", "did you mean 'openai/x'?"),
        (
            "format",
            "'jsn'",
            "format must be one of markdown, text, code, json, html, tokens, not 'jsn'. Did you mean 'json'?",
        ),
        ("temperature", "'hot'", "temperature"),
        ("modle", "'x'", "Did you mean `model`?"),
    ],
)
def test_a_wrong_default_is_said_at_once_and_not_taken(name, value, sentence, kernel, kernel_fake):
    ran = kernel.run(f"%config LLMMagics.{name} = {value}")
    assert sentence in ran.stdout + ran.stderr + ran.error + "".join(ran.traceback)
    assert len(ran.traceback) <= 1
    kernel.run("%llm Hello")
    assert sent(kernel_fake)["model"] == "fake-model"


def test_the_defaults_are_listed(kernel):
    shown = kernel.run("%config LLMMagics").stdout
    for name in ("model", "temperature", "value_tokens", "code_in_next_cell"):
        assert f"LLMMagics.{name}=" in shown


def test_ipythons_own_configuration_file_sets_them_too(tmp_path, monkeypatch):
    profile = tmp_path / "profile_default"
    profile.mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
    (profile / "ipython_config.py").write_text(
        "c.LLMMagics.model = 'openai/from-file'\nc.LLMMagics.temperature = 0.5\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", f"--ipython-dir={tmp_path}", "-c",
         "get_ipython().run_line_magic('load_ext', 'ipyllm'); get_ipython().run_line_magic('llm', '--dry-run Hi')"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "openai/from-file" in done.stdout, done.stdout + done.stderr
    assert "temperature 0.5" in done.stdout
