"""The core tests of ``%%llm`` on a kernel of ipykernel 6, which is still common."""

from __future__ import annotations

import pytest

from tests.kernels import LiveKernel
from tests.magics.commands import test_llm
from tests.magics.conftest import environment
from tests.older_kernel import older_kernel

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]  # the first one builds an environment

fake = test_llm.fake
globals().update({name: value for name, value in vars(test_llm).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel6")
    with LiveKernel(**older_kernel(), **environment(server, home)) as live:
        assert live.run("%load_ext ipyllm").status == "ok"
        yield live


def test_it_is_that_kernel(kernel):
    assert kernel.run("import ipykernel\nprint(ipykernel.__version__)").stdout.startswith("6.")


def test_tab_completes_options(kernel):
    reply = kernel.client.complete("%%llm --te", 10, reply=True, timeout=60)["content"]
    assert reply["matches"] == ["--temperature"]


def test_code_goes_into_the_next_cell(kernel, kernel_fake):
    kernel_fake.default = test_llm.answer("```python\nx = 1\n```")
    reply = kernel.client.execute_interactive("%%llm -f code\nHow?", timeout=60, output_hook=lambda _: None)
    (payload,) = reply["content"]["payload"]
    assert (payload["source"], payload["text"]) == ("set_next_input", "x = 1")


def test_cells_and_errors_can_be_asked_about(kernel, kernel_fake):
    kernel.run("print('printed')\n6 * 7")
    kernel.run("1 / 0")
    kernel.run("%%llm --no-history\n{{ cells[-2:] }} {{ error }}")
    sent = kernel_fake.requests[-1].json["messages"][0]["content"]
    assert sent.count("ZeroDivisionError: division by zero") == 2
    assert "Out [" in sent
    assert "42" in sent
