"""docs/magics.md is correct: the outputs of its cells, its error messages and its options are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import option_tables
from ipyllm_magics.command_line.options import TABLES
from ipyllm_magics.commands.family import HISTORY_VERBS, MODELS_VERBS
from tests.fakes import answer
from tests.fakes.services import StrictServices
from tests.kernels import LiveKernel
from tests.magics.conftest import environment

PAGE = Path(__file__).parents[2] / "docs" / "magics.md"
TEXT = PAGE.read_text(encoding="utf-8")
_FENCE = re.compile(r"^```(\w*)\n(.*?)\n?```$", re.DOTALL | re.MULTILINE)
_MISTAKE = re.compile(r"^\| `(%.+?)` \| (.+) \|$", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

ANSWERS = {
    "What is a language model?": "A program that continues text.",
    "Name one thing to look for.": "Names that lie.",
    "Why?": "Because everybody believes them.",
    "Is Bern the capital of Switzerland?": "Yes.",
    "Two cities, as a JSON list.": '["Bern", "Oslo"]',
    "Which city is the capital of Switzerland?": '{"name": "Bern", "people": 134591}',
}


def reply(request):
    last = request.messages[-1]
    if last.get("type") == "function_call_output":
        return answer(f"It is {last['output']}.")
    if request.json.get("tools"):
        return answer("", tool_calls=[("weather", {"city": "Bern"})])
    if "ZeroDivisionError" in request.prompt:
        return answer("You divided by the number of people, which is 0.")
    return answer(ANSWERS[request.prompt])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    with StrictServices(reply) as services:
        settings = environment(services["openai"], home) | services.environment()
        with LiveKernel(**settings | {"IPYLLM_MODEL": "openai/gpt-6-luna"}) as live:
            live.services = services
            yield live


def steps():
    """Cells of the page, each with the output below it, or None."""
    found: list[tuple[str, str | None]] = []
    end = None
    for fence in _FENCE.finditer(TEXT):
        language, body = fence.groups()
        if language == "text":
            assert end is not None, f"below no cell: {body!r}"
            assert not TEXT[end : fence.start()].strip(), f"below no cell: {body!r}"
            found[-1] = found[-1][0], body
        else:
            assert language in {"", "python"}, language
            found.append((body, None))
        end = fence.end()
    return found


def shown(ran):
    shown = _ANSI.sub("", ran.traceback[-1]) if ran.status == "error" else ran.stdout + ran.text
    return "\n".join(line.rstrip() for line in shown.strip().splitlines())


def matches(expected, actual):
    return re.fullmatch(".*?".join(map(re.escape, expected.split("…"))), actual, re.DOTALL) is not None


def test_every_cell_shows_what_stands_below_it(kernel):
    cells = steps()
    assert len(cells) > 20
    wrong = []
    for cell, expected in cells:
        ran = kernel.run(cell)
        actual = shown(ran)
        if expected is None:
            ok = (ran.status, actual) == ("ok", "")
        else:
            ok = matches(expected, actual) and (ran.status == "ok" or "Error" in expected)
        if not ok:
            wrong.append(f"{cell}\n--- is said to show\n{expected}\n--- and shows\n{actual}")
    assert not wrong, "\n\n=====\n".join(wrong)
    assert kernel.services.refused() == []


def test_the_mistakes_are_what_you_read(kernel):
    for cell, _ in steps():
        if cell.startswith(("import", "class", "from", "def weather", "%load_ext")):
            kernel.run(cell)
    mistakes = _MISTAKE.findall(TEXT.partition("## Mistakes")[2])
    assert len(mistakes) == 13
    kernel.services.clear()
    for cell, sentence in mistakes:
        ran = kernel.run(cell)
        assert (ran.status, shown(ran)) == ("error", sentence), cell
    assert list(kernel.services.requests()) == []


def test_its_tables_of_options_are_those_of_the_code():
    assert option_tables.replace_tables(TEXT) == TEXT, "run: python docs/option_tables.py docs/magics.md"


@pytest.mark.parametrize("magic", TABLES)
def test_every_option_of_every_magic_is_named_in_the_magics_own_table(magic):
    mark = "<!-- options -->" if magic == "llm" else f"<!-- options of %{'%' * (magic == 'llm_compare')}{magic} -->"
    assert TEXT.count(mark) == 1
    own = TEXT.partition(mark)[2].partition("<!-- /options -->")[0]
    for option in TABLES[magic]:
        for flag in option.flags:
            assert f"`{flag}`" in own, (magic, flag)


def test_every_magic_and_every_verb_is_explained(kernel):
    kernel.run("%load_ext ipyllm")
    ask = "sorted({n for kind in get_ipython().magics_manager.magics.values() for n in kind if n.startswith('llm')})"
    assert kernel.run(f"print(*{ask})").stdout.split() == sorted(TABLES)
    prose = TEXT.partition("## All options")[0]
    for magic in TABLES:
        assert f"%{magic}" in prose
    for verb in (*HISTORY_VERBS, *MODELS_VERBS):
        assert re.search(rf"`{verb}\b|%llm_(?:history|models) {verb}\b|`%llm_models` lists", prose), verb
