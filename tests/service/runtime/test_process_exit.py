"""A process that exits while its daemon threads make calls: they are cancelled, and print no traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes import answer

BEGIN = """
import sys, threading
from ipyllm import OpenAIService
service, started = OpenAIService(model="fake-model"), threading.Event()

def stream():
    for text in service.stream("Hello"):
        started.set()

def tell():
    try:
        stream()
    except Exception as exc:
        raise RuntimeError("a thread of the user failed") from exc

def magic():
    shell.run_line_magic("llm", "--no-history Hello")

def other():
    started.set()
    threading.Event().wait(0.1)
    raise ValueError("not ours")

def begin(function, n=8, daemon=True):
    for _ in range(n):
        threading.Thread(target=function, daemon=daemon).start()
    assert started.wait(60)
"""
SHELL = (
    "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
    "shell.run_cell('%load_ext ipyllm')\n"
    "from ipyllm_magics.display.terminal import TerminalRenderer\n"
    "draw = TerminalRenderer.draw\n"
    "TerminalRenderer.draw = lambda self: (draw(self), started.set())\n"
)
EXITS = {
    "the end of the script": ("begin(stream)", 0),
    "sys.exit": ("begin(stream)\nsys.exit(3)", 3),
    "an error wrapped by the user": ("begin(tell)", 0),
    "a magic on a thread": (SHELL + "begin(magic, n=1)", 0),
    "in the middle of a stream": ("for text in service.stream('Hello'):\n    sys.exit(4)", 4),
}


def run(code, fake):
    fake.default = answer("word " * 20_000, chunks=20_000, gap=0.01)
    environment = {"OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": "no-key-needed", "IPYLLM_MODEL": "openai/fake"}
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


THOROUGH = {"sys.exit", "an error wrapped by the user", "in the middle of a stream"}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.thorough if way in THOROUGH else ()) for way in EXITS]
)
def test_no_traceback_is_printed(fake, way):
    code, status = EXITS[way]
    done = run(code, fake)
    assert (done.returncode, done.stderr) == (status, "")


def test_other_errors_of_threads_are_printed(fake):
    done = run("begin(stream, n=1)\nbegin(other, n=1, daemon=False)", fake)
    assert done.stderr.count("Traceback") == 1
    assert "ValueError: not ours" in done.stderr
    done = run(
        "thread = threading.Thread(target=lambda: service.chat(''), daemon=True)\nthread.start()\nthread.join()", fake
    )
    assert "Traceback" in done.stderr


# Python 3.12 starts no thread at exit; asyncio starts one to wait for the threads of its executor.
NO_THREADS = """
import asyncio, atexit
from ipyllm.runtime.service_thread import service_thread
service_thread().submit(asyncio.to_thread(int)).result(60)

def start(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

atexit.register(setattr, threading.Thread, "start", start)
"""


def test_nothing_is_printed_where_no_thread_can_be_started_at_exit(fake):
    done = run(NO_THREADS, fake)
    assert (done.returncode, done.stderr) == (0, "")
