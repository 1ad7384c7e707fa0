"""Asks a hostile server in a process of its own, and prints what came of it: ``python -m tests.hostile_client``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Outcome", "ask"]


_ROOT = Path(__file__).parents[1]


@dataclass
class Outcome:
    """What came of one call.

    Attributes
    ----------
    seconds : float
        How long it took.
    grown_mb : float
        By how much the process grew at its highest.
    status, category, sentence, content
        Of the response so far, and of the error.
    others_s : list of float
        Seconds to the first token of the calls to another server, one after the other, that were made meanwhile.
    """

    seconds: float
    grown_mb: float
    status: str
    category: str | None
    sentence: str
    content: str
    others_s: list[float]


def ask(base_url: str, other_url: str = "", *, timeout_s: float = 30, **settings: str) -> Outcome:
    """Ask a server in a new process, and meanwhile the one at ``other_url`` again and again."""
    command = [sys.executable, "-m", __name__, base_url, other_url, str(timeout_s)]
    result = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": f"{_ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"} | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return Outcome(**json.loads(result.stdout))


def _memory_mb() -> float:
    """Return the highest memory since it was last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def _main(base_url: str, other_url: str, timeout_s: str) -> None:
    from ipyllm import LLMError, OllamaService
    from tests.fakes import FakeLLM

    with FakeLLM() as fake:
        other = OllamaService("m", base_url=other_url or fake.base_url)
        for _ in range(3):
            other.chat("warm up")
    others_s: list[float] = []
    done = threading.Event()

    def ask_other() -> None:
        while other_url and not done.is_set():
            start = time.perf_counter()
            with suppress(LLMError):
                next(iter(other.stream("Hi")))
                others_s.append(time.perf_counter() - start)

    asking = threading.Thread(target=ask_other)
    asking.start()
    Path("/proc/self/clear_refs").write_text("5")
    before_mb, start = _memory_mb(), time.perf_counter()
    sentence, category = "", None
    try:
        response = OllamaService("m", base_url=base_url, max_retries=0).chat("Hello", timeout=float(timeout_s))
    except LLMError as exc:
        sentence, category, response = str(exc), exc.category, exc.partial
    seconds, grown_mb = time.perf_counter() - start, _memory_mb() - before_mb
    done.set()
    asking.join()
    print(
        json.dumps(
            asdict(Outcome(seconds, grown_mb, response.status, category, sentence, response.content[:100], others_s))
        )
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
