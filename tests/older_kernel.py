"""Installs ipykernel 6, which is still common, once, into a folder under ``build/``.

Only ipykernel itself comes from there: a kernel that has the folder first in ``PYTHONPATH`` runs on ipykernel 6, with
everything else, ipyllm too, from the environment of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

__all__ = ["older_kernel"]

_FOLDER = Path(__file__).parents[1] / "build" / "ipykernel-6"


def older_kernel():
    """Return the environment of a kernel on ipykernel 6; fail if pip cannot fetch it."""
    if not _FOLDER.exists():
        _install()
    path = [str(_FOLDER), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path).rstrip(os.pathsep)}


def _install():
    _FOLDER.parent.mkdir(exist_ok=True)
    # Under a temporary name until it is complete: several workers may install at once, and the first one wins.
    draft = Path(tempfile.mkdtemp(prefix="ipykernel-6-", dir=_FOLDER.parent))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(draft)]
    installed = subprocess.run([*command, "ipykernel<7", "nest-asyncio"], capture_output=True, text=True, timeout=300)
    if installed.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        pytest.fail(f"ipykernel 6 cannot be installed: {installed.stderr.strip()[-500:]}", pytrace=False)
    try:
        draft.rename(_FOLDER)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
