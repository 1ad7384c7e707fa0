"""Fixtures of the benchmarks: a fake model server in a separate process, and a real kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tests.kernels import LiveKernel

__all__ = ["fake_server", "kernel", "requests_of"]


@contextmanager
def fake_server(*options: str):
    """Run ``python -m tests.fakes`` and yield its base URL."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "tests.fakes", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


def requests_of(base_url: str) -> list[dict]:
    """Return the requests that the server recorded."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/_fake/requests") as answer:
        return json.load(answer)


@contextmanager
def kernel(base_url: str):
    """Start a kernel with the extension loaded and the fake server as the default model."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "IPYLLM_MODEL": "openai/fake-model",
            "IPYLLM_LEDGER": f"{home}/ledger.sqlite",
            "IPYLLM_CONFIG": f"{home}/config.toml",
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": "sk-benchmark-0123456789",
        }
        with LiveKernel(**environment) as live:
            live.run("%load_ext ipyllm")
            yield live
