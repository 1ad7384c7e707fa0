"""The quickstart, the core tests of ``%%llm`` and the widgets' Python side on the versions of hosted notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.fakes import answer
from tests.kernels import LiveKernel
from tests.magics.commands import test_llm
from tests.magics.conftest import environment
from tests.older_stack import PINS, older_stack

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1200)]  # the first one makes the environment

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"
VERSIONS = "from importlib.metadata import version\nprint({name: version(name) for name in %r})"

globals().update({name: value for name, value in vars(test_llm).items() if name.startswith("test_")})
fake = test_llm.fake


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("older")
    with LiveKernel(older_stack(), **environment(server, home)) as live:
        assert live.run("%load_ext ipyllm").status == "ok"
        yield live


def test_these_are_the_versions(kernel):
    found = kernel.run(VERSIONS % list(PINS)).stdout
    assert all(f"'{name}': '{version}." in found for name, version in PINS.items()), found


@pytest.mark.local_model
def test_the_quickstart_runs():
    notebook = nbformat.read(QUICKSTART, as_version=4)
    with LiveKernel(older_stack()) as live:
        ran = [live.run(cell.source, timeout=600) for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.status for cell in ran] == ["ok"] * len(ran), [cell.error for cell in ran]
    assert any("local/smollm2-135m · first token" in cell.text for cell in ran)
    assert "".join(cell.stderr for cell in ran) == ""


def test_a_chat_answers_python_and_its_page(kernel, kernel_fake):
    kernel_fake.default = answer("Four.")
    shown = kernel.run("from ipyllm import *\nchat = ChatWidget(conversation='older')\nchat")
    models = [message["content"] for message in shown.messages if message["msg_type"] == "comm_open"]
    opened = next(model for model in models if "snapshot" in model["data"]["state"])
    assert "export default" in opened["data"]["state"]["_esm"]
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in shown.outputs)
    assert kernel.run("print(chat.send('What is 2 + 2?').wait().content)").stdout == "Four.\n"
    comm_id = opened["comm_id"]
    assert click(kernel, comm_id, "send", text="And then?") is None
    kernel.run("while chat.running: pass")
    assert len(kernel.run("for m in chat.messages: print(m['role'])").stdout.split()) == 4
    assert "unknown command" in click(kernel, comm_id, "sned", text="Hello")


def click(kernel, comm_id, command, **fields):
    """Send a command as the page does, and return the error in the widget's acknowledgement."""
    content = {"command": command, "nonce": "n", **fields}
    data = {"comm_id": comm_id, "data": {"method": "custom", "content": content}}
    message = kernel.client.session.msg("comm_msg", data)
    kernel.client.shell_channel.send(message)
    while True:
        told = kernel.client.get_iopub_msg(timeout=60)
        sent = told["content"].get("data", {}).get("content", {}) if told["msg_type"] == "comm_msg" else {}
        if sent.get("kind") == "ack":
            return sent["error"]


def test_a_comparison_and_a_dashboard_show_what_was_asked(kernel, kernel_fake):
    kernel_fake.default = answer("Four.")
    kernel.run("from ipyllm import *\ncompare = CompareWidget(models=['openai/a', 'openai/b'])\ncompare")
    assert kernel.run("compare.ask('What is 2 + 2?').wait()").status == "ok"
    assert kernel.run("compare.vote('A')\ncompare.ranking()").status == "ok"
    shown = kernel.run("dashboard = UsageDashboard()\ndashboard")
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in shown.outputs)
    assert int(kernel.run("print(len(dashboard.frame()))").stdout) >= 2
