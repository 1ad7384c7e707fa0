"""docs/server.md: its commands are answered, its tables are those of the code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ipyllm_server.app import ChatServer
from tests.fakes import answer
from tests.server.classroom import TOKENS

pytestmark = pytest.mark.timeout(400)  # the first test starts a server

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
COMMANDS = [code for code in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) if "$URL" in code]


@pytest.mark.parametrize("command", COMMANDS, ids=["curl", "openai"])
def test_commands_are_answered(command, server, model):
    model.reply(answer("Four."))
    command = command.replace("local/smollm2-135m", "lab/tiny").replace("python -c", f"{sys.executable} -c")
    variables = {**os.environ, "URL": server.url, "TOKEN": TOKENS["ana"]}
    ended = subprocess.run(["sh", "-c", command], env=variables, capture_output=True, text=True, check=False)
    assert "Four." in ended.stdout, ended.stderr


def blocks(language):
    """Programs of the page that ask the server; local/smollm2-135m stands for the test's model."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [code.replace("local/smollm2-135m", "lab/tiny") for code in found if "/ipyllm/" in code]


def run(command, server):
    variables = {**os.environ, "URL": server.url, "TOKEN": TOKENS["ana"]}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=100)
    assert ended.stdout.strip() == "Two and two are four.", ended.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    "program",
    [code for code in blocks("python") if "jupyterhub" not in code and "c.Spawner" not in code],
    ids=["http", "websocket"],
)
def test_programs_in_python_print_the_answer(program, server, model):
    model.reply(answer("Two and two are four.", gap=0.01))
    run([sys.executable, "-c", program], server)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("node") is None, reason="NO NODE FOUND: the example in JavaScript was not run")
def test_the_program_in_javascript_prints_the_answer(server, model):
    model.reply(answer("Two and two are four.", gap=0.01))
    run(["node", "--input-type=module", "-e", blocks("javascript")[0]], server)


def test_every_route_is_described():
    routes = [
        pattern.partition("(")[0].rstrip("/").replace("\\", "")
        for pattern, _ in ChatServer.routes()
        if "*" not in pattern
    ]
    assert len(routes) > 8
    for route in routes:
        assert any(f"{route}{end}`" in PAGE for end in ("", "/", "/NAME", "/FILE")), route


def test_every_option_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.partition("## Limits")[2], re.MULTILINE))
    own = ChatServer.class_own_traits(config=True)
    assert rows.keys() == own.keys()
    for name, trait in own.items():
        if isinstance(trait.default_value, int | float) and not isinstance(trait.default_value, bool):
            assert float(rows[name].replace(",", "")) == trait.default_value, name
