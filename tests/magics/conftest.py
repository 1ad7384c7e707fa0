"""A real kernel with the extension loaded, shared by the tests of one file."""

from __future__ import annotations

import pytest

from tests.fakes import FakeLLM
from tests.kernels import LiveKernel


@pytest.fixture(scope="module")
def server():
    with FakeLLM() as fake:
        yield fake


def environment(server, home):
    """What a kernel needs to find the server, and nothing of the developer's."""
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
    """The kernel's model server, with a clean slate."""
    server.clear()
    server.on(None)
    from tests.fakes import answer

    server.default = answer()
    kernel.run("%llm_history clear")
    return server
