"""Builds a kernel of ipykernel 6, once, in a small venv under ``build/``.

The venv has ipykernel 6 and its dependencies; everything else, ipyllm too, comes from the environment of the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

__all__ = ["CannotBuildError", "older_kernel"]

NAME = "ipyllm-ipykernel6"
_HOME = Path(__file__).parents[2] / "build" / "kernels"


class CannotBuildError(RuntimeError):
    """No package index can be reached."""


def older_kernel() -> Path:
    """Return a folder of kernel specs that has :data:`NAME`; build it if it does not exist.

    Raises
    ------
    CannotBuildError
        pip failed; the message is pip's.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = _HOME / f"ipykernel6-py{version}"
    specs = home / "kernels"
    if not (specs / NAME / "kernel.json").exists():
        _build(home)
    return specs


def _build(home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    # Under a temporary name until it is complete: several workers may build at once, and the first one wins. A venv
    # may be moved if only its python is used.
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=home.parent))
    venv.create(draft, with_pip=False, symlinks=True)
    python = draft / "bin" / "python"
    site = next((draft / "lib").glob("python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, "--target", str(site), "ipykernel<7"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        raise CannotBuildError(done.stderr.strip()[-500:])
    # After the venv's packages, so that ipykernel is the older one. `addsitedir` also reads ipyllm's editable install.
    main = sysconfig.get_paths()["purelib"]
    (site / "zz-environment.pth").write_text(f"import site; site.addsitedir({main!r})\n")
    spec = draft / "kernels" / NAME
    spec.mkdir(parents=True)
    argv = [str(home / "bin" / python.name), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": NAME, "language": "python"}))
    try:
        os.rename(draft, home)  # noqa: PTH104 - fails if another worker was first
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
