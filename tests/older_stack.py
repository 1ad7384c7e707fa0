"""An environment as hosted notebooks have it: IPython 7.34, ipykernel 6.17, ipywidgets 7.7, anywidget 0.9, psutil 5.9.

It is made once, in a folder under ``build/`` whose name tells what is installed in it, with ipyllm as it stands here.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["PINS", "older_stack"]

PINS = {"ipython": "7.34", "ipykernel": "6.17", "ipywidgets": "7.7", "anywidget": "0.9", "psutil": "5.9"}
_ROOT = Path(__file__).parents[1]


def older_stack():
    """Return the Python of the environment; fail if pip cannot make it."""
    wanted = (_ROOT / "pyproject.toml").read_bytes() + f"{PINS} {sys.version_info[:2]}".encode()
    folder = _ROOT / "build" / f"older-stack-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    # Paths are written into an environment, so it is made where it stays; the mark says that it is complete.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            pins = [f"{name}=={version}.*" for name, version in PINS.items()]
            _run(str(python), "-m", "pip", "install", "--quiet", "--editable", f"{_ROOT}[local,notebook]", *pins)
            (folder / "complete").touch()
    return str(python)


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail(f"The older environment cannot be made: {done.stderr.strip()[-800:]}", pytrace=False)
