"""The wheel contains the widgets' modules, and installing builds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LENGTHS = """
import json, shutil
import ipyllm, ipyllm_widgets
from ipyllm import ChatWidget, CompareWidget, UsageDashboard
widgets = ChatWidget(), CompareWidget(["openai/a", "openai/b"]), UsageDashboard()
print(json.dumps({
    "from": [ipyllm.__file__, ipyllm_widgets.__file__],
    "node": shutil.which("node"),
    "texts": {type(widget).__name__: [str(widget._esm), str(widget._css)] for widget in widgets},
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built and unpacked, which is all that installing a pure one does."""
    home = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(home)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "site")
    return home / "site"


def test_the_wheel_shows_widgets_without_node(installed, tmp_path):
    environment = {
        "PYTHONPATH": str(installed),
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "IPYLLM_LEDGER": str(tmp_path / "ledger.sqlite"),
        "IPYLLM_CONFIG": str(tmp_path / "config.toml"),
    }
    command = [sys.executable, "-c", LENGTHS]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=100
    )
    found = json.loads(done.stdout)
    assert all(Path(path).is_relative_to(installed) for path in found["from"]), "the wheel's, not this checkout's"
    assert found["node"] is None
    assert set(found["texts"]) == {"ChatWidget", "CompareWidget", "UsageDashboard"}
    for esm, css in found["texts"].values():
        assert "\nexport default { render" in esm
        assert "\nimport " not in esm
        assert "var(--vscode-" in css


def test_the_wheel_has_every_static_file_and_nothing_of_the_tests(installed):
    static = Path("ipyllm_widgets", "static")
    assert files_below(installed / static) == files_below(ROOT / "widgets" / static)
    assert not [path for path in installed.rglob("*") if "node_modules" in path.parts or path.name == "package.json"]


def files_below(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
