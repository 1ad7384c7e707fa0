"""Asks a hostile server in a process of its own, and prints what came of it: ``python -m tests.hostile_client``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Outcome", "ask"]

_TIMEOUT_S = 5


@dataclass
class Outcome:
    """What came of one call. `grown_mb` is by how much the process grew at its highest."""

    seconds: float
    grown_mb: float
    status: str
    category: str | None = None
    sentence: str = ""
    content: str = ""
    listed: int | None = None


def ask(base_url: str, what: str = "chat", **settings: str) -> Outcome:
    """Ask a server in a new process: over the API "chat" or "responses", or for its "models"."""
    import os

    command = [sys.executable, "-m", __name__, base_url, what]
    result = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return Outcome(**json.loads(result.stdout))


def _memory_mb() -> float:
    """Return the highest memory since it was last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def _main(base_url: str, what: str) -> None:
    from ipyllm import LLMError, OllamaService, create_llm_service
    from tests.fakes import FakeLLM

    service = (
        OllamaService("m", base_url=base_url, max_retries=0)
        if what == "chat"
        else create_llm_service("lab/m", max_retries=0)
    )
    with FakeLLM() as fake:
        OllamaService("m", base_url=fake.base_url).chat("warm up")
    Path("/proc/self/clear_refs").write_text("5")
    before_mb, start = _memory_mb(), time.perf_counter()
    error = response = None
    try:
        response = service.chat("Hello", timeout=_TIMEOUT_S)
    except LLMError as exc:
        error, response = exc, exc.partial
    outcome = Outcome(
        time.perf_counter() - start,
        _memory_mb() - before_mb,
        response.status,
        error.category if error else None,
        str(error or ""),
        response.content[:100],
    )
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
