"""Fixtures: a real kernel with the extension loaded, shared by the tests of one file."""

from __future__ import annotations

import pytest

from tests.fakes import FakeLLM
from tests.kernels import LiveKernel

PNG = (
    "import base64\nopen('plot.png', 'wb').write(base64.b64decode("
    "'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='))\n"
)
SETUP = (
    "import os, pydantic\nfrom ipyllm import usage\n"
    + PNG
    + "class City(pydantic.BaseModel):\n    name: str\n"
    + "def weather(city: str) -> str:\n    'Weather of a city.'\n    return 'rain in ' + city\n"
    + "def add(a: int, b: int) -> int:\n    return a + b\n"
)


@pytest.fixture(scope="module")
def server():
    with FakeLLM() as fake:
        yield fake


def environment(server, home):
    """Return the environment of a kernel: the server, and none of the developer's settings."""
    return {
        "IPYLLM_MODEL": "openai/fake-model",
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "IPYLLM_CONFIG": str(home / "config.toml"),
        "IPYLLM_CACHE_PATH": str(home / "answers.sqlite"),
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "sk-kernel-0123456789abcdef",
        "IPYTHONDIR": str(home),
    }


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel")
    with LiveKernel(**environment(server, home)) as live:
        assert live.run("%load_ext ipyllm").status == "ok"
        yield live


@pytest.fixture
def kernel_fake(server, kernel):
    """The kernel's model server, reset."""
    server.clear()
    server.on(None)
    from tests.fakes import answer

    server.default = answer()
    kernel.run("%llm_history clear")
    return server


@pytest.fixture(scope="module")
def prepared(kernel, tmp_path_factory):
    """The kernel with a class, functions and an image to name in options."""
    kernel.run(f"import os\nos.chdir({str(tmp_path_factory.mktemp('pictures'))!r})")
    assert kernel.run(SETUP).status == "ok"
    return kernel
