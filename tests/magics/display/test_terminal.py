"""``%%llm`` in terminal IPython and in scripts: plain text, streamed, without control sequences."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pexpect
import pytest

from tests.fakes import answer, drip


@pytest.fixture
def environment(tmp_path):
    return os.environ | {
        "IPYTHONDIR": str(tmp_path),
        "IPYLLM_MODEL": "openai/fake-model",
        "IPYLLM_LEDGER": str(tmp_path / "ledger.sqlite"),
        "TERM": "xterm",
        "NO_COLOR": "1",
    }


@pytest.fixture
def terminal(fake, environment):
    """IPython in a pseudo-terminal, ready for a first line."""
    command = ["--simple-prompt", "--no-banner", "--no-confirm-exit", "--HistoryManager.enabled=False"]
    env = environment | {"OPENAI_BASE_URL": fake.base_url}
    child = pexpect.spawn(sys.executable, ["-m", "IPython", *command], env=env, encoding="utf-8", timeout=60)
    child.expect(r"In \[1\]: ")
    child.sendline("%load_ext ipyllm")
    child.expect(r"In \[2\]: ")
    yield child
    child.close(force=True)


def test_the_answer_is_plain_text_with_one_line_under_it(terminal, fake):
    fake.default = answer("# Title\n\nSome *text*.\x1b]0;owned\x07\x1b[31m red", gap=0.01)
    terminal.sendline("%llm what is this?")
    terminal.expect(r"In \[3\]: ")
    shown = terminal.before
    assert "# Title" in shown
    assert "Some *text*. red" in shown
    assert "\x1b]0" not in shown
    assert "\x1b[31m" not in shown
    assert re.search(r"openai/fake-model · first token .* → \d+ tokens", shown)
    assert "<div" not in shown


def test_ctrl_c_stops_the_answer_and_gives_the_prompt_back(terminal, fake):
    fake.default = drip("word ", every=0.02)
    terminal.sendline("%llm Hello")
    terminal.expect("word word")
    terminal.sendintr()
    terminal.expect("interrupted.*: stopped openai/fake-model")
    terminal.expect(r"In \[3\]: ")
    assert "Traceback" not in terminal.before
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    terminal.sendline("_llm.status")
    terminal.expect("'cancelled'")


def test_a_mistake_is_one_line(terminal):
    terminal.sendline("%llm -m opnai/x Hello")
    terminal.expect(r"In \[3\]: ")
    assert "did you mean 'openai/x'" in terminal.before
    assert "Traceback" not in terminal.before


@pytest.mark.thorough
def test_code_is_written_alone_and_offered_as_the_next_line(terminal, fake):
    fake.default = answer("Like this:\n```python\nx = 6 * 7\n```\nDone.")
    terminal.sendline("%llm -f code How?")
    terminal.expect(r"In \[3\]: ")
    assert "x = 6 * 7" in terminal.before
    assert "Like this" not in terminal.before
    assert "```" not in terminal.before


@pytest.mark.thorough
def test_json_is_written_pretty(terminal, fake):
    fake.default = answer('Here: {"city":"Bern"}')
    terminal.sendline("%llm -f json -o data Give")
    terminal.expect(r"In \[3\]: ")
    assert '{\r\n  "city": "Bern"\r\n}' in terminal.before
    terminal.sendline("data.parsed['city']")
    terminal.expect("'Bern'")


@pytest.mark.thorough
def test_a_tool_call_is_a_line_of_its_own(terminal, fake):
    fake.reply(answer("Let me see.", tool_calls=[("look_up", {"city": "Bern"})]), answer("It rains."))
    terminal.sendline("def look_up(city: str): return city")
    terminal.sendline("")
    terminal.expect(r"In \[3\]: ")
    terminal.sendline("%llm --tools look_up Weather?")
    terminal.expect(r"In \[4\]: ")
    shown = [line.strip() for line in re.sub(r"\x1b\[\d*[mK]", "", terminal.before).splitlines()]
    said = shown.index("Let me see.")
    assert shown[said : said + 4] == ["Let me see.", '→ look_up {"city":"Bern"}', "", "It rains."]


@pytest.mark.thorough
def test_a_dry_run_and_the_help_are_pages_of_text(terminal, fake):
    terminal.sendline("%llm --dry-run Hello there")
    terminal.expect(r"In \[3\]: ")
    assert "Nothing was sent." in terminal.before
    assert "user: Hello there" in terminal.before
    terminal.sendline("%llm --help")
    terminal.expect(r"In \[4\]: ")
    assert "--dry-run" in terminal.before
    assert not fake.requests


@pytest.mark.thorough
def test_a_comparison_is_written_in_the_form_that_is_asked_for(terminal, fake):
    fake.on(lambda request: answer('Here: {"city": "Bern"}' if request.json["model"] == "a" else "No idea."))
    cell = "get_ipython().run_cell_magic('llm_compare', '-m openai/a -m openai/b -f json', 'City?')"
    terminal.sendline(cell)
    terminal.expect(r"In \[3\]: ")
    shown = terminal.before.replace("\r\n", "\n")
    assert '── A · a ──\n{\n  "city": "Bern"\n}\n' in shown
    assert "── B · b ──\nNo idea.\nThe answer contains no JSON" in shown
    assert "Here:" not in shown


def test_tab_completes_in_a_terminal(environment, fake):
    """With IPython's own line editor, where the others use a simple prompt."""
    command = ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--HistoryManager.enabled=False"]
    env = environment | {
        "OPENAI_BASE_URL": fake.base_url,
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "LINES": "24",
        "COLUMNS": "100",
    }
    child = pexpect.spawn(sys.executable, command, env=env, encoding="utf-8", timeout=60, dimensions=(24, 100))
    try:
        child.expect(r"In \[")
        child.send("%load_ext ipyllm\r")
        child.expect(r"2.*\]")
        child.send("%llm --dr\t")
        child.expect("y-run")
    finally:
        child.close(force=True)


@pytest.mark.thorough
def test_ipython_c_and_plain_python_exit_by_themselves(fake, environment):
    env = environment | {"OPENAI_BASE_URL": fake.base_url}
    magic = "get_ipython().run_line_magic('load_ext', 'ipyllm'); get_ipython().run_line_magic('llm', 'Hello')"
    plain = "from ipyllm import create_llm_service; print(create_llm_service().chat('Hello').content)"
    for command in (["-m", "IPython", "--no-banner", "-c", magic], ["-c", plain]):
        done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Hello from the fake." in done.stdout


def test_a_process_that_ends_in_mid_answer_leaves_a_finished_row(fake, environment):
    fake.default = drip("word ", every=0.02)
    env = environment | {"OPENAI_BASE_URL": fake.base_url}
    code = (
        "import threading; from ipyllm import create_llm_service; s = create_llm_service();"
        "begun = threading.Event();"
        "call = s.call(s.request('Hello'), lambda event: getattr(event, 'text', '') and begun.set());"
        "assert begun.wait(60)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    fake.wait_for(lambda: fake.requests[-1].closed_by_client)
    from ipyllm import usage
    from ipyllm.ledger import Ledger

    with Ledger(environment["IPYLLM_LEDGER"]) as ledger:
        row = usage(kernel=None, ledger=ledger).iloc[-1]
    assert row.status == "interrupted"
    assert row.response.startswith("word ")


def test_load_ext_imports_nothing_heavy(environment):
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "assert s.run_cell('%load_ext ipyllm').success;"
        "heavy = {'openai', 'pandas', 'sqlalchemy', 'pydantic', 'jinja2', 'matplotlib', 'markdown_it', 'nh3',"
        " 'genai_prices', 'ipywidgets', 'tenacity', 'aiohttp', 'httpx', 'xllamacpp'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.thorough
def test_a_fork_can_call_too(fake, environment):
    env = environment | {"OPENAI_BASE_URL": fake.base_url}
    code = (
        "import os, sys; from ipyllm import create_llm_service, usage; s = create_llm_service(); s.chat('parent');"
        "pid = os.fork();\n"
        "if pid == 0:\n    print(s.chat('child').content, flush=True); sys.exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0; s.chat('parent again'); print(sorted(usage(kernel=None).prompt))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "['child', 'parent', 'parent again']" in done.stdout


def test_a_process_that_ends_before_its_call_was_sent_leaves_a_finished_row_too(fake, environment):
    env = environment | {"OPENAI_BASE_URL": fake.base_url}
    code = "from ipyllm import create_llm_service; s = create_llm_service(); s.call(s.request('Hello'))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    from ipyllm import usage
    from ipyllm.ledger import Ledger

    with Ledger(environment["IPYLLM_LEDGER"]) as ledger:
        assert list(usage(kernel=None, ledger=ledger).status) == ["interrupted"]
