"""The chat on ipykernel 6, whose one shell a running cell holds: answers go on, clicks wait, and the chat says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.chat import Chat, environment
from tests.browser.lab import Lab, needs_chromium
from tests.fakes import FakeLLM, answer

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.timeout(300)]

OLDER = Path(__file__).parents[2] / "build" / "ipykernel-6"


@pytest.fixture(scope="module")
def older():
    """A folder that holds ipykernel 6 and stands before the installed one."""
    done = OLDER / "done"
    if not done.exists():
        wanted = ["ipykernel<7", "nest-asyncio"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--upgrade",
            "--target",
            str(OLDER),
            *wanted,
        ]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=200)
        if installed.returncode:
            pytest.skip(f"NO IPYKERNEL 6: the chat was not tried on it ({installed.stderr.strip()[-200:]})")
        done.touch()
    return OLDER


def test_answers_go_on_beside_a_busy_cell_and_clicks_wait_for_its_end(older, tmp_path):
    with FakeLLM() as fake:
        path = os.pathsep.join([str(older), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        env = environment(fake, tmp_path) | {"PYTHONPATH": path}
        with Lab(tmp_path, env=env) as lab:
            notebook = lab.open(
                [
                    "from ipyllm import ChatWidget\nchat = ChatWidget()\nchat",
                    "import ipykernel\nprint('version', ipykernel.__version__)",
                    "import time\nfor _ in range(60_000): time.sleep(0.01)",
                ]
            )
            chat = Chat(notebook.run(0))
            assert "version 6." in notebook.run(1).inner_text()
            fake.default = answer(" ".join(f"w{n}" for n in range(120)), gap=0.05)
            chat.type("Slowly")
            chat.log.get_by_text("w3").wait_for()
            notebook.run(2, wait=False)
            notebook.cell(2).get_by_text("[*]:").wait_for()
            chat.log.get_by_text("w119").wait_for()
            chat.wait_until_rest()
            assert notebook.cell(2).locator(".jp-InputPrompt").first.inner_text() == "[*]:"
            before = len(fake.requests)
            fake.default = answer("After the cell.")
            chat.type("And now?")
            chat.hint.get_by_text("Waiting for the running cell").wait_for()
            assert "And now?" in chat.text(), "the question is shown at once"
            assert len(fake.requests) == before
            lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
            chat.log.get_by_text("After the cell.").wait_for()
            assert chat.hint.is_hidden()
            assert lab.errors == []
