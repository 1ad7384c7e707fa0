"""The magics and the service in programs: coroutines, functions, loops, threads, notebooks run unattended."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pexpect
import pytest

from tests.fakes import answer
from tests.magics.commands.test_compare_survival import until_saved


@pytest.fixture
def kernel_is_at(kernel_fake):
    kernel_fake.on(lambda request: answer(f"I am {request.json['model']}."))
    return kernel_fake


@pytest.fixture
def environment(fake, own_settings):
    fake.on(lambda request: answer(f"I am {request.json['model']}."))
    return os.environ | {
        "IPYTHONDIR": str(own_settings),
        "IPYLLM_MODEL": "openai/fake-model",
        "IPYLLM_LEDGER": str(own_settings / "ledger.sqlite"),
        "OPENAI_BASE_URL": fake.base_url,
        "TERM": "dumb",
        "NO_COLOR": "1",
    }


def run(command, environment, **options):
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, **options)


# ---- in a kernel -------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_top_level_await_stands_beside_the_magics(kernel, kernel_is_at):
    code = (
        "import ipyllm\n"
        "service = ipyllm.create_llm_service('openai/a')\n"
        "one = await service.achat('Who?')\n"
        "%llm -m openai/b --quiet Who?\n"
        "both = await ipyllm.Comparison('Who?', ['openai/c', 'openai/d']).start().wait_async()\n"
        "print(one, _llm, [r.content for r in both.responses])"
    )
    ran = kernel.run(code)
    assert ran.stdout == "I am a. I am b. ['I am c.', 'I am d.']\n", ran.traceback


def test_a_cell_that_awaits_can_be_followed_by_a_comparison(kernel, kernel_is_at):
    assert kernel.run("import asyncio\nawait asyncio.sleep(0)").status == "ok"
    ran = kernel.run("%%llm_compare -m openai/a -m openai/b\nWho?")
    assert ran.status == "ok"
    assert "I am b." in ran.text


def test_magics_can_be_called_from_functions_and_loops(kernel, kernel_is_at):
    code = (
        "def ask(model):\n"
        "    get_ipython().run_line_magic('llm', f'-m openai/{model} --quiet Who?')\n"
        "    return _llm.content\n"
        "answers = []\n"
        "for model in 'ab':\n"
        "    answers.append(ask(model))\n"
        "    get_ipython().run_cell_magic('llm_compare', f'-m openai/{model} -m openai/z --quiet -o df', 'Who?')\n"
        "    answers += list(df.response)\n"
        "print(answers)"
    )
    ran = kernel.run(code)
    assert ran.stdout == "['I am a.', 'I am a.', 'I am z.', 'I am b.', 'I am b.', 'I am z.']\n", ran.traceback


def test_magics_and_comparisons_run_in_threads(kernel, kernel_is_at):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import ipyllm\n"
        "shell = get_ipython()\n"
        "def work(n):\n"
        "    shell.run_cell_magic('llm_compare', f'-m openai/a{n} -m openai/b{n} --quiet -o df{n}', 'Who?')\n"
        "    return [r.content for r in ipyllm.compare('Who?', [f'openai/c{n}', f'openai/d{n}']).responses]\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    compared = list(pool.map(work, range(4)))\n"
        "print(compared == [[f'I am c{n}.', f'I am d{n}.'] for n in range(4)])\n"
        "print([list(globals()[f'df{n}'].response) for n in range(4)] == "
        "[[f'I am a{n}.', f'I am b{n}.'] for n in range(4)])"
    )
    ran = kernel.run(code)
    assert ran.stdout == "True\nTrue\n", ran.traceback


def test_a_comparison_shows_itself_where_it_is_the_cells_value(kernel, kernel_is_at):
    ran = kernel.run("import ipyllm\nipyllm.compare('Who?', models=['openai/a', 'openai/b'])")
    assert ran.html.count('<td class="ipyllm-column"') == 2
    assert "── B · b ──" in ran.text


# ---- notebooks run without a person ------------------------------------------------------------------

CELLS = [
    "%load_ext ipyllm",
    "%%llm_compare -m openai/a -m openai/b -o df\nWho?",
    "%llm_vote A",
    "%llm_usage --by model",
    "%llm_history list",
]


def test_a_notebook_run_by_nbclient_reads_well_when_saved(environment, monkeypatch, own_settings):
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    nbformat.validate(notebook)
    head, columns = notebook.cells[1].outputs
    assert "I am a." in columns.data["text/plain"]
    assert "✓ preferred" in columns.data["text/html"], "the vote reached the saved output"
    assert "grid-template-columns" in head.data["text/html"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count('<td class="ipyllm-column"') == 2
    assert "grid-template-columns" in page


@pytest.mark.thorough
def test_papermill_runs_a_comparison_with_parameters(environment, own_settings):
    cell = nbformat.v4.new_code_cell("word = 'x'", metadata={"tags": ["parameters"]})
    body = nbformat.v4.new_code_cell("%load_ext ipyllm")
    ask = nbformat.v4.new_code_cell("%%llm_compare -m openai/a -m openai/b\nSay {{ word }}")
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell, body, ask], metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, own_settings / "in.ipynb")
    done = run([sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-p", "word", "tea", "-k", "python3"],
               environment, cwd=own_settings)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "I am b." in json.dumps(nbformat.read(own_settings / "out.ipynb", 4))


def test_a_cell_that_fails_stops_a_notebook_run_by_nbclient(environment, monkeypatch):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext ipyllm", "%%llm_compare -m openai/a\nx")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with pytest.raises(CellExecutionError, match="There is nothing to compare openai/a with"):
        NotebookClient(notebook, timeout=100, kernel_name="python3").execute()


# ---- without a kernel --------------------------------------------------------------------------------


@pytest.mark.thorough
def test_ipython_minus_c_compares_and_leaves_nothing_running(environment):
    code = (
        "get_ipython().run_line_magic('load_ext', 'ipyllm')\n"
        "get_ipython().run_cell_magic('llm_compare', '-m openai/a -m openai/b -o df', 'Who?')\n"
        "print(list(df.status))"
    )
    done = run([sys.executable, "-m", "IPython", "--no-banner", "-c", code], environment)
    assert done.returncode == 0, done.stderr
    assert "── A · a ──\nI am a.\n" in done.stdout
    assert "── B · b ──\nI am b.\n" in done.stdout
    assert "['ok', 'ok']" in done.stdout
    assert "<div" not in done.stdout


def test_plain_python_compares_in_one_line(environment):
    code = "from ipyllm import compare\nprint(compare('Who?', models=['openai/a', 'openai/b']))"
    done = run([sys.executable, "-W", "error", "-c", code], environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("── A · a ──\nI am a.\n")
    assert done.stderr == ""


@pytest.mark.thorough
def test_plain_python_that_is_interrupted_keeps_every_partial_in_the_ledger(environment, fake, own_settings):
    import signal

    from ipyllm import usage
    from ipyllm.ledger import Ledger
    from tests.fakes import drip

    fake.on(lambda request: drip("word ", every=0.05))
    code = "from ipyllm import compare\ncompare('Go', models=['openai/a', 'openai/b'])"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    until_saved(fake, own_settings / "ledger.sqlite", 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    with Ledger(own_settings / "ledger.sqlite") as ledger:
        rows = usage(kernel=None, ledger=ledger)
    assert rows["status"].tolist() == ["cancelled", "cancelled"]
    assert all("word" in text for text in rows["response"])


@pytest.mark.thorough
def test_in_a_terminal_each_answer_is_a_block_and_ctrl_c_keeps_all(environment, fake, own_settings):
    from tests.fakes import drip

    command = ["--simple-prompt", "--no-banner", "--no-confirm-exit", "--HistoryManager.enabled=False"]
    child = pexpect.spawn(sys.executable, ["-m", "IPython", *command], env=environment, encoding="utf-8", timeout=60)
    try:
        child.expect(r"In \[1\]: ")
        child.sendline("%load_ext ipyllm")
        child.expect(r"In \[2\]: ")
        child.sendline("get_ipython().run_cell_magic('llm_compare', '-m openai/a -m openai/b', 'Who?')")
        child.expect(r"── [AB] · [ab] ──")
        child.expect(r"── [AB] · [ab] ──")
        child.expect("Which is better")
        child.expect(r"In \[3\]: ")
        fake.clear()
        fake.on(lambda request: drip("word ", every=0.02))
        child.sendline("get_ipython().run_cell_magic('llm_compare', '-m openai/a -m openai/b', 'Who?')")
        until_saved(fake, own_settings / "ledger.sqlite", 2)
        child.sendintr()
        child.expect("word word")
        child.expect("interrupted.*: stopped all 2 arms")
        child.expect(r"In \[4\]: ")
        assert "Traceback" not in child.before
    finally:
        child.close(force=True)
