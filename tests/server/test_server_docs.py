"""docs/server.md: its commands are answered, its tables are those of the code."""

import os
import re
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


def test_every_route_is_described():
    routes = [pattern.partition("(")[0].rstrip("/") for pattern, _ in ChatServer.routes() if "*" not in pattern]
    assert len(routes) > 8
    for route in routes:
        assert f"{route}`" in PAGE or f"{route}/NAME`" in PAGE, route


def test_every_option_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.partition("## Limits")[2], re.MULTILINE))
    own = ChatServer.class_own_traits(config=True)
    assert rows.keys() == own.keys()
    for name, trait in own.items():
        if isinstance(trait.default_value, int | float):
            assert float(rows[name].replace(",", "")) == trait.default_value, name
