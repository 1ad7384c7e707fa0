"""Every example runs, against servers that are as strict as the providers of the models that it names.

Pages with `>>>` are run by `pytest docs`, docs/magics.md by tests/magics/test_docs.py in a real kernel: both ask strict
servers too. What is left is here: cells and Python of the pages, their settings, the examples in the help of the
magics, and each model that is named anywhere.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from ipyllm import LLMError, create_llm_service
from ipyllm.services.service_rows import service_rows
from ipyllm.settings import get_settings
from ipyllm_magics.command_line.options import TABLES
from tests.fakes.services import StrictServices

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("magics/**/*.py"), *ROOT.glob("widgets/**/*.py")])
_FENCE = re.compile(r"^```(\S*)\n(.*?)\n?```$", re.DOTALL | re.MULTILINE)

RUN_ELSEWHERE = {
    "docs/magics.md": "tests/magics/test_docs.py runs its cells in order, and compares what they show",
    "docs/server.md": "tests/server/test_server_docs.py runs its programs and commands",
}
NOT_RUN = {
    "console": "commands of a shell: `make` runs them, and CI does from a fresh clone",
    "{eval-rst}": "no example: the list of documented modules",
    "{toctree}": "no example: the table of contents",
    "export IPYLLM_LEDGER=": "a command of a shell, for a database server",
    "pip install 'ipyllm[postgres]'": "a command of a shell, for a database server",
    "from dask.distributed import Client": "needs a cluster; tests/service/experiment/test_clusters.py has one",
    "with LocalCluster(": "likewise",
    "import ray": "likewise",
    "javascript": "tests/server/test_server_docs.py runs it with Node",
    '"""Echo:': "a package, which tests/service/services/test_example_package.py installs and uses",
    "[project.entry-points": "part of that package",
    "class OpenAIService:": "what was written by hand, before ipyllm",
    "import json\n\nfrom tornado": "tests/server/test_migration_guide.py runs it",
}
"""Languages and beginnings of blocks that are not run, and why."""

PRELUDES = {
    "README.md": """
import pandas as pd, pydantic
class Order(pydantic.BaseModel):
    cups: int
df = pd.DataFrame({"text": ["A joy.", "Two hours, gone."], "label": ["positive", "negative"]})
def multiply(a: int, b: int) -> int:
    return a * b
""",
    "docs/scaling.md": 'from ipyllm import Experiment, OpenAIService\nprompts = ["Two and two?"]',
    "docs/widgets.md": """
from pathlib import Path
from matplotlib.figure import Figure
from PIL import Image
Image.new("RGB", (2, 2)).save("plot.png")
Path("results.csv").write_text("a,b\\n1,2\\n")
figure = Figure()
figure.text(0.1, 0.1, "A short paper.")
figure.savefig("paper.pdf")
""",
}
"""What readers have already when they come to an example."""

_SERVERS_OF_READERS = re.compile(r"http://(?:gpu-box|gpu\d|h\d):8000/v1")


@pytest.fixture
def services(monkeypatch):
    with StrictServices() as strict:
        strict.replace_all(monkeypatch)
        yield strict


@pytest.fixture
def shell(services, own_settings, monkeypatch):
    """A shell of IPython, within this process."""
    monkeypatch.setenv("IPYTHONDIR", str(own_settings / "ipython"))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_cell("%load_ext ipyllm\n%llm_history clear").raise_error()
    yield shell
    shell.run_cell("%unload_ext ipyllm")
    shell.reset(new_session=False)
    InteractiveShell.clear_instance()


def relative(path):
    return str(path.relative_to(ROOT))


def blocks(path):
    """Yield the language and the text of each block of a page."""
    return [fence.groups() for fence in _FENCE.finditer(path.read_text(encoding="utf-8"))]


def reason_not_to_run(language, text):
    begins = (mark for mark in NOT_RUN if text.startswith(mark) or language == mark)
    return next((NOT_RUN[mark] for mark in begins), None)


def cells(path):
    """Return the cells and the Python of a page."""
    return [
        text
        for language, text in blocks(path)
        if language in {"", "python"} and ">>>" not in text and reason_not_to_run(language, text) is None
    ]


def run(shell, cell):
    with capture_output() as shown:
        ran = shell.run_cell(cell)
    assert ran.success, f"{cell}\n{shown.stdout}\n{ran.error_before_exec or ran.error_in_exec}"


def at_our_servers(text, services):
    return _SERVERS_OF_READERS.sub(services["vllm"].base_url, text)


WITH_CELLS = [path for path in PAGES if relative(path) not in RUN_ELSEWHERE and cells(path)]


@pytest.mark.parametrize("path", WITH_CELLS, ids=relative)
def test_each_cell_and_each_block_of_python_of_a_page_runs(path, shell, services, own_settings):
    page = path.read_text(encoding="utf-8")
    config = re.search(r"```toml\n(# config\.toml.*?)```", page, re.DOTALL)
    if config is not None:
        (own_settings / "config.toml").write_text(at_our_servers(config[1], services))
    run(shell, PRELUDES.get(relative(path), ""))
    for cell in cells(path):
        run(shell, cell)
    assert services.refused() == []


@pytest.mark.filterwarnings("ignore:openai/gpt-3.5-turbo was retired")
@pytest.mark.parametrize(
    ("cell", "is_sent"),
    [
        ("%llm -m openai/gpt-3.5-turbo Hello", True),
        ("%llm -m openai/gpt-7-luna Hello", True),
        ("%llm -m openai/gpt-6-luna -t 0 Hello", False),
        (
            "service = create_llm_service('groq/openai/gpt-oss-20b')\nservice.chat('Hi', extra_body={'store': True})",
            True,
        ),
    ],
)
def test_an_example_that_cannot_run_is_found(cell, is_sent, shell, services):
    run(shell, "from ipyllm import create_llm_service")
    with pytest.raises(AssertionError):
        run(shell, cell)
    assert [request.status in {400, 404} for _, request in services.refused()] == [True] * is_sent


def test_the_pages_with_cells_are_found():
    pages = [relative(path) for path in WITH_CELLS]
    assert pages == ["README.md", "docs/index.md", "docs/install.md", "docs/scaling.md", "docs/widgets.md"]


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_each_block_of_a_page_is_run_or_says_why_not(path):
    for language, text in blocks(path):
        is_run = (
            ">>>" in text
            or (language == "toml" and (relative(path), text) in {(page, text) for page, _, text in SETTINGS})
            or (language in {"", "python", "text"} and relative(path) in RUN_ELSEWHERE)
            or text in cells(path)
        )
        assert is_run != (reason_not_to_run(language, text) is not None), f"{language}: {text[:60]}"


def test_each_reason_is_still_needed():
    everything = [block for path in PAGES for block in blocks(path)]
    for mark in NOT_RUN:
        assert any(language == mark or text.startswith(mark) for language, text in everything), mark


SETTINGS = [
    (relative(path), number, text)
    for path in PAGES
    for number, (language, text) in enumerate(blocks(path))
    if language == "toml" and reason_not_to_run(language, text) is None
]


@pytest.mark.parametrize("text", [text for *_, text in SETTINGS], ids=[f"{page}-{n}" for page, n, _ in SETTINGS])
def test_settings_of_a_page_are_valid_and_what_they_name_answers(text, services, own_settings, monkeypatch):
    (own_settings / "config.toml").write_text(at_our_servers(text, services))
    monkeypatch.setenv("LAB_KEY", "no-key-needed")
    settings = get_settings()
    named = [*settings.aliases, *settings.routes, *(n for n, e in settings.endpoints.items() if e.model)]
    named += [name for name in settings.prices if "*" not in name]
    for name in named:
        assert create_llm_service(name).chat("Hello").status == "ok"
    assert services.refused() == []
    assert tomllib.loads(text)


# ---- notebooks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_notebooks_ask_embedded_models_only(path):
    """So `pytest --nbval` runs them as they are, without a server."""
    sources = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [name for source in sources for name in names_in(source) if not name.startswith("local/")] == []


_OF_ONE_MACHINE = re.compile(
    r"/(?:root|home|Users|tmp|work|usr)/|[A-Z]:\\\\|\b20\d\d-\d\d-\d\d[ T]\d\d:|\bsk-\w|\b01[0-9A-HJKMNP-TV-Z]{24}\b|://(?!github\.com|www\.w3\.org)"
)
"""A path, a time of day, a key, a call's id, an address."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_saved_outputs_read_without_a_kernel_and_say_nothing_of_a_machine(path):
    first, *others = json.loads(path.read_text())["cells"]
    assert "colab.research.google.com/github/ipyllm/ipyllm/blob/main/notebooks/" + path.name in "".join(first["source"])
    cells = [cell for cell in others if cell["cell_type"] == "code"]
    assert path.stat().st_size < 200_000
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)], "run `make outputs`"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    for output in outputs:
        kinds = output.get("data", {"text/plain": output.get("text", "")})
        assert "application/vnd.jupyter.widget-view+json" not in kinds
        for kind, lines in kinds.items():
            text = "".join(lines)
            assert "<script" not in text
            found = None if kind.startswith("image/") else _OF_ONE_MACHINE.search(text)
            assert found is None, text[max(0, found.start() - 60) : found.end() + 60]


# ---- help ----------------------------------------------------------------------------------------------

HELP_PRELUDE = """
import pandas as pd, pydantic
from PIL import Image
df = pd.DataFrame({"city": ["Bern", "Oslo"], "cups": [3, 5]})
Image.new("RGB", (2, 2)).save("plot.png")
class City(pydantic.BaseModel):
    name: str
def weather(city: str) -> str:
    return "rain in " + city
def add(a: int, b: int) -> int:
    return a + b
"""
LINES = {
    "llm": "%llm {model} {example} Write a program that says hello.",
    "llm_compare": "%%llm_compare {model} {example}\nWrite a program that says hello.",
    "llm_explain": "%llm_explain {model} {example}",
}
"""A line with the example of an option; for other magics there is nothing besides."""
MODELS = {"--verbosity": ("openai/gpt-6-luna", "openai/gpt-6-sol"), None: ("ollama/llama3.2", "ollama/qwen3")}
"""Models that take the examples of the options: of one option, and of all others."""
OBJECTS = {
    ("llm_history", "--replace"): "save talk.json",
    ("llm_config", "--save"): "timeout 60",
    ("llm_config", "--unset"): "timeout",
}
"""What an option is about, where it is of no use alone."""
OPTIONS = [(magic, option) for magic, table in TABLES.items() for option in table]


@pytest.fixture
def prepared(shell):
    run(shell, HELP_PRELUDE)
    run(shell, "%llm -m ollama/llama3.2 -c review Hello")
    with capture_output():
        shell.run_cell("1 / 0")  # for %llm_explain
    return shell


def help_of(shell, magic):
    with capture_output() as shown:
        shell.run_cell(f"{'%%' if magic == 'llm_compare' else '%'}{magic} --help").raise_error()
    return shown.stdout


def test_the_example_of_each_option_runs(prepared, services):
    for magic, option in OPTIONS:
        flag = option.flags[-1]
        models = MODELS.get(flag, MODELS[None])[: 2 if magic == "llm_compare" else 1]
        model = "" if flag == "--model" or "--vary" in option.flags else " ".join(f"-m {name}" for name in models)
        model = f"-m {models[0]}" if "--vary" in option.flags else model
        line = LINES.get(magic, f"%{magic} {{example}} {OBJECTS.get((magic, flag), '')}")
        run(prepared, line.format(model=model, example=option.example))
    assert services.refused() == []


def test_the_examples_in_each_help_run(prepared, services):
    found = []
    for magic in TABLES:
        found += help_examples(help_of(prepared, magic))
    assert len(found) > 3
    for cell in found:
        run(prepared, cell)
    assert services.refused() == []


def help_examples(text):
    """Return the cells in a help page: `%config …`, and the indented ones, with the prompt below each."""
    columns = [re.split(r" {3,}", line[4:]) for line in text.splitlines() if re.match(r" {4}\S", line)]
    yield from re.findall(r"%config LLMMagics(?:\.\w+ = \S+)?", text)
    for number, begin in enumerate(columns[0] if columns else ()):
        below = [line[number] for line in columns[1:] if number < len(line)] if begin.startswith("%%") else []
        yield "\n".join([begin, *below])


# ---- names ---------------------------------------------------------------------------------------------

_SERVICES = "|".join(["openai", "deepseek", "ollama", *service_rows()])
_NAME = re.compile(rf"(?<![\w./-])(?:{_SERVICES})/[A-Za-z0-9](?:[\w.:/-]*[A-Za-z0-9])?+(?![\w*{{<…-])")
NO_NAMES = {
    *("gemini/m", "openai/m", "openai/openai.go"),  # of no model
    "openai/gpt-4o-mini",  # in the docstring about models that retire
    *("openai/gpt-oss-20b", "openai/gpt-oss-20b:cheapest", "openai/gpt-oss-120b"),  # of models at other services
}
"""Words that look like full names of models."""


def names_in(text):
    return sorted(set(_NAME.findall(text)) - NO_NAMES)


def test_each_model_that_is_named_anywhere_answers(services, own_settings):
    texts = [path.read_text(encoding="utf-8") for path in [*PAGES, *NOTEBOOKS, *SOURCES]]
    names = sorted({name for text in texts for name in names_in(text)})
    assert len(names) > 15
    wrong = {}
    for name in names:
        try:
            create_llm_service(name, max_retries=0).chat("Hello", max_tokens=5)
        except (LLMError, UserWarning) as error:
            wrong[name] = str(error)
    assert wrong == {}
