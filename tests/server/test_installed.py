"""The wheel has the server and the file that enables it in Jupyter."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from ipyllm_server import ChatServer, _jupyter_server_extension_points

ROOT = Path(__file__).parents[2]
CONFIG = "data/etc/jupyter/jupyter_server_config.d/ipyllm_server.json"


def test_the_wheel_enables_the_extension(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (config,) = [name for name in names if name.endswith(CONFIG)]
        enabled = json.loads(files.read(config))
    assert enabled == {"ServerApp": {"jpserver_extensions": {"ipyllm_server": True}}}
    assert "ipyllm_server/app.py" in names


def test_jupyter_finds_the_extension_in_the_package():
    assert _jupyter_server_extension_points() == [{"module": "ipyllm_server.app", "app": ChatServer}]
