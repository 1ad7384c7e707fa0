"""Tab completion on the line of a magic, by ``complete_request`` to a real kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipyllm_magics.command_line.options import LLM
from ipyllm_magics.completion.matcher import word_at_cursor
from tests.kernels import LiveKernel

CONFIG = """
[aliases]
fast = "openai/gpt-6-luna"
[endpoints.lab]
base_url = "http://127.0.0.1:1/v1"
model = "big:70b"
"""
SETUP = """
%load_ext ipyllm
import io, pathlib
class City: pass
class Country: pass
def weather(city: str) -> str: return city
def water(n: int) -> int: return n
answer_1 = answer_2 = 1
photo = b'...'
page_schema = {'type': 'object'}
pathlib.Path('plot.png').write_bytes(b'')
pathlib.Path('notes.txt').write_bytes(b'')
pathlib.Path('a plot.png').write_bytes(b'')
pathlib.Path('pics').mkdir()
pathlib.Path('pics/cat.jpg').write_bytes(b'')
pathlib.Path('my pictures').mkdir()
pathlib.Path('my pictures/the cat.jpg').write_bytes(b'')
import ipyllm
from ipyllm import conversation
_llm_compare = ipyllm.Comparison("Hi", models=["lab/small", "lab/big:70b"])
_ = conversation('review'), conversation('refactoring')
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    home = tmp_path_factory.mktemp("completion")
    (home / "config.toml").write_text(CONFIG)
    environment = {
        "IPYLLM_CONFIG": str(home / "config.toml"),
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "IPYTHONDIR": str(home),
    }
    with LiveKernel(**environment) as live:
        assert live.run(f"import os; os.chdir({str(home)!r})").status == "ok"
        ran = live.run(SETUP)
        assert ran.status == "ok", ran.traceback
        yield live


def complete(kernel, code):
    """Return the line after each completion, by completion."""
    reply = kernel.client.complete(code, len(code), reply=True, timeout=60)["content"]
    assert reply["status"] == "ok"
    return {code[: reply["cursor_start"]] + match + code[reply["cursor_end"] :] for match in reply["matches"]}


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("%%llm --te", {"%%llm --temperature"}),
        ("%llm --dr", {"%llm --dry-run"}),
        ("%%llm -t 0 --no-", {"%%llm -t 0 --no-history", "%%llm -t 0 --no-cache"}),
        ("%%llm -m fa", {"%%llm -m fast"}),
        ("%%llm -m lab/", {"%%llm -m lab/big:70b"}),
        ("%%llm -m lab/big:7", {"%%llm -m lab/big:70b"}),
        ("%%llm --model=loc", {"%%llm --model=local/smollm2-135m"}),
        ("%%llm -m local/smol", {"%%llm -m local/smollm2-135m"}),
        ("%llm -c re", {"%llm -c review", "%llm -c refactoring"}),
        ("%llm_history show -c rev", {"%llm_history show -c review"}),
        ("%llm_models us", {"%llm_models use"}),
        ("%llm_models use fa", {"%llm_models use fast"}),
        ("%llm_models use lab/", {"%llm_models use lab/big:70b"}),
        ("%llm_models pull smol", {"%llm_models pull smollm2-135m"}),
        ("%llm_models --a", {"%llm_models --all"}),
        ("%llm_history s", {"%llm_history show", "%llm_history save"}),
        ("%llm_history -c review un", {"%llm_history -c review undo"}),
        ("%llm_history load no", {"%llm_history load notes.txt"}),
        ("%llm_history export pi", {"%llm_history export pics/"}),
        ("%llm_config t", {"%llm_config timeout"}),
        ("%llm_config cache ", {"%llm_config cache true", "%llm_config cache false"}),
        ("%llm_config model la", {"%llm_config model lab/big:70b"}),
        ("%llm_config timeout 5 --s", {"%llm_config timeout 5 --save"}),
        ("%llm_vote t", {"%llm_vote tie"}),
        ("%llm_vote ", {"%llm_vote A", "%llm_vote B", "%llm_vote tie", "%llm_vote both_bad"}),
        ("%llm_usage --by mod", {"%llm_usage --by model"}),
        ("%llm_usage --by model,sta", {"%llm_usage --by model,status"}),
        ("%llm_usage --by tag", {"%llm_usage --by tags."}),
        ("%llm_usage --status=err", {"%llm_usage --status=error"}),
        ("%llm_usage --since y", {"%llm_usage --since yesterday"}),
        ("%llm_usage --csv my", {'%llm_usage --csv "my pictures/'}),
        ("%llm_history -c rev", {"%llm_history -c review"}),
        ("%llm_usage --b", {"%llm_usage --by"}),
        ("%%llm -f j", {"%%llm -f json"}),
        ("%%llm -f ", {f"%%llm -f {name}" for name in ("markdown", "text", "code", "json", "html", "tokens")}),
        ("%%llm -o answ", {"%%llm -o answer_1", "%%llm -o answer_2"}),
        ("%%llm --schema C", {"%%llm --schema City", "%%llm --schema Country"}),
        ("%%llm --schema page", {"%%llm --schema page_schema"}),
        ("%%llm --tools wea", {"%%llm --tools weather"}),
        ("%%llm --tools water,wea", {"%%llm --tools water,weather"}),
        ("%%llm --image ph", {"%%llm --image photo"}),
        ("%%llm --image pl", {"%%llm --image plot.png"}),
        ("%%llm --image pics/", {"%%llm --image pics/cat.jpg"}),
        ("%%llm --image a", {'%%llm --image "a plot.png"'}),
        ('%%llm --image "a', {'%%llm --image "a plot.png"'}),
        ("%%llm --image 'a pl", {"%%llm --image 'a plot.png'"}),
        ("%%llm --image='a pl", {"%%llm --image='a plot.png'"}),
        ("%%llm --image my", {'%%llm --image "my pictures/'}),
        ('%%llm --image "my pictures/', {'%%llm --image "my pictures/the cat.jpg"'}),
        ("%%llm -m=fa", {"%%llm -m=fast"}),
        (
            "%%llm -m openai/gpt-6-luna --effort m",
            {f"%%llm -m openai/gpt-6-luna --effort {e}" for e in ("max", "medium")},
        ),
        ("%%llm --model=deepseek/deepseek-flash --effort=l", {"%%llm --model=deepseek/deepseek-flash --effort=low"}),
        ("%%llm -m openai/gpt-6-luna --verbosity h", {"%%llm -m openai/gpt-6-luna --verbosity high"}),
        ("%%llm -p reas", {"%%llm -p reasoning_effort="}),
        ("%%llm -s 'Be -m' -f h", {"%%llm -s 'Be -m' -f html"}),
    ],
)
def test_tab_offers_what_fits(kernel, typed, whole):
    assert complete(kernel, typed) == whole


def test_tab_after_the_magic_offers_every_option(kernel):
    assert complete(kernel, "%%llm -") == {f"%%llm {flag}" for option in LLM for flag in option.flags}


def test_tab_in_a_prompt_or_a_body_is_pythons(kernel):
    assert "%llm tell me about {{ answer_1" in complete(kernel, "%llm tell me about {{ answer_")
    assert "%%llm -t 0\nanswer_1" in complete(kernel, "%%llm -t 0\nanswer_")
    assert "x = answer_1" in complete(kernel, "x = answer_")


def test_tab_on_an_indented_line_within_code_works(kernel):
    assert complete(kernel, "if True:\n    %llm -m fas") == {"if True:\n    %llm -m fast"}


def test_tab_with_broken_settings_offers_nothing_and_says_nothing(kernel):
    kernel.run("os.environ['IPYLLM_ALIASES'] = 'notjson'")
    try:
        assert complete(kernel, "%%llm -m fa") == set()
    finally:
        kernel.run("del os.environ['IPYLLM_ALIASES']")


def test_tab_goes_away_with_the_extension(kernel):
    kernel.run("%unload_ext ipyllm")
    try:
        assert "%%llm --temperature" not in complete(kernel, "%%llm --te")
    finally:
        kernel.run("%load_ext ipyllm")
    assert complete(kernel, "%%llm --te") == {"%%llm --temperature"}


def test_what_is_typed_is_told_from_what_stands_before():
    assert word_at_cursor("--model=ope", LLM).typed == "ope"
    assert word_at_cursor("", LLM) == (None, "", ())
    assert word_at_cursor("'quoted prompt", LLM) == (None, "'quoted prompt", ())
    assert word_at_cursor("-- -t", LLM).before == ("--",)


def test_tab_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "assert s.run_cell('%load_ext ipyllm').success;"
        "from IPython.core.completer import provisionalcompleter as p\n"
        "values = [f'%%llm {option} ' for option in ('--te', '-m', '-c', '--image', '-p', '--tools', '-o')]\n"
        "words = ['usage --by', 'models', 'models use', 'models pull', 'history load', 'config', 'vote']\n"
        "for line in (*values, *(f'%llm_{each} ' for each in words)):\n"
        "    with p(): list(s.Completer.completions(line, len(line)))\n"
        "heavy = {'openai', 'pandas', 'sqlalchemy', 'matplotlib', 'markdown_it', 'nh3', 'genai_prices', 'ipywidgets',"
        " 'aiohttp', 'xllamacpp', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr
