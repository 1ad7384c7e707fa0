"""Other processes, for tests of what is shared with them or survives them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def python(tmp_path_factory):
    """Start a script in a process of its own; those still alive at the end are killed.

    It stands in a file, because the workers of a process pool import it again. A warning is an error, unless
    ``warnings`` says otherwise.
    """
    folder = tmp_path_factory.mktemp("scripts")
    started = []

    def start(script, *arguments, warnings="error", **options):
        path = folder / f"script_{len(started)}.py"
        path.write_text(textwrap.dedent(script), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-W", warnings, str(path), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": ""},
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
