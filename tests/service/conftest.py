"""Fixtures: a ledger in a file, rows for it, and other Python processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime
from itertools import count

import pytest

from ipyllm.ledger import Ledger

_numbers = count(1)


@pytest.fixture
def python(tmp_path_factory):
    """Start a script in another process; kill it after the test if it still runs.

    The script is a file, because workers of a process pool import it again. Warnings are errors by default.
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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger(path) as ledger:
        yield ledger


@pytest.fixture
def call():
    """Make a row as the pipeline does at the start of a call; keywords replace columns."""

    def make(**columns):
        row = {
            "call_id": f"{next(_numbers):026}",
            "started_at": datetime.now(UTC),
            "kernel_id": "kernel-a",
            "origin": "api",
            "service": "openai",
            "model": "openai/gpt",
            "params": {"temperature": 0},
            "tags": {"arm": "a"},
            "status": "running",
            "prompt": "What is a ledger?",
        }
        return row | columns

    return make


@pytest.fixture
def sql(path):
    """Run an SQL statement on the file, as another program would."""

    def ask(statement, *arguments):
        with closing(sqlite3.connect(path, timeout=5)) as connection, connection:
            return connection.execute(statement, arguments).fetchall()

    return ask


@pytest.fixture
def run_script(python):
    """Run a script to its end and return its output."""

    def run(script, *arguments, **options):
        process = python(script, *arguments, **options)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    return run
