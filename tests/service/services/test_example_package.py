"""A service in another package: one file and an entry point (docs/service.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.fakes import answer

PACKAGE = Path(__file__).with_name("example_package")
ASK = """
import json
from ipyllm import LLMError
from ipyllm.registry.models import create_llm_service, service_names

service = create_llm_service("echo/lyrebird", max_retries=0)
output = {"class": type(service).__qualname__, "names": service_names()}
try:
    response = service.chat("Polly?", max_tokens=7)
    output |= {"content": response.content, "model": response.model, "status": response.status}
except LLMError as error:
    output |= {"category": error.category, "said": str(error)}
try:
    create_llm_service("ecko/parrot")
except LLMError as error:
    output["hint"] = str(error)
print(json.dumps(output))
"""


@pytest.fixture
def ask(fake):
    """Run ``ASK`` in a process that has the package installed, as far as Python can tell."""

    def ask(**variables):
        path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", ASK],
            env={**os.environ, "PYTHONPATH": path, "ECHO_BASE_URL": fake.base_url, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return ask


def test_a_service_of_another_package_is_found_and_answers(fake, ask):
    fake.api_key = "echo-key-000000"
    fake.default = answer("Polly!")
    output = ask(ECHO_API_KEY="echo-key-000000")
    assert output["class"] == "EchoService"
    assert "echo" in output["names"]
    assert (output["content"], output["model"], output["status"]) == ("Polly!", "echo/lyrebird", "ok")
    assert output["hint"] == "There is no service 'ecko'; did you mean 'echo/parrot'?"
    sent = fake.requests[-1].json
    assert (sent["model"], sent["max_words"], "max_tokens" in sent) == ("lyrebird", 7, False)


def test_it_has_our_errors_without_a_line_of_its_own(fake, ask):
    output = ask()
    assert output["category"] == "authentication"
    assert output["said"] == (
        "Echo needs a key: set ECHO_API_KEY in the environment or in .env, pass api_key=…, or type it in a cell: "
        '`import getpass, os; os.environ["ECHO_API_KEY"] = getpass.getpass()`.'
    )
    assert fake.requests == []


def test_a_key_the_server_quotes_back_is_masked(fake, ask):
    from tests.fakes import unauthorized

    fake.default = unauthorized("parrot-secret-1234")
    output = ask(ECHO_API_KEY="parrot-secret-1234")
    assert output["category"] == "authentication"
    assert "parrot-secret" not in output["said"]


def test_what_is_installed_is_what_its_pyproject_says():
    written = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    (installed,) = distributions(path=[str(PACKAGE)])
    assert (installed.name, installed.version) == (written["name"], written["version"])
    found = {point.name: point.value for point in installed.entry_points.select(group="ipyllm.services")}
    assert found == written["entry-points"]["ipyllm.services"]
