"""Fixtures of all tests: isolated settings, no network except loopback, a fake model server."""

from __future__ import annotations

import os
import signal
import socket
from itertools import islice

import hypothesis
import pytest

from tests.fakes import FakeLLM

_PROVIDER_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "DEEPSEEK_API_KEY",
    "DEEPSEEK_BASE_URL",
    "OLLAMA_HOST",
)


hypothesis.settings.register_profile("no-deadline", deadline=None)  # a busy machine must not fail a test
hypothesis.settings.load_profile("no-deadline")

# Several workers share the cores: more threads of llama.cpp would wait for each other, at three times the CPU time.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_THREAD_LIMIT", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell starts background jobs with SIGINT ignored, and children inherit that: with `make test &`, every test that
# interrupts something would fail.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The slowest files, which run first: if a long one began last, the other workers would wait for it.
_SLOWEST = (
    "tests/browser/test_dashboard_bad_input.py",
    "tests/browser/test_compare_bad_input.py",
    "tests/browser/",
    "tests/service/services/test_contract.py",
    "tests/widgets/dashboard/test_dashboard_ledgers.py",
    "tests/service/structured/test_native.py",
    "notebooks/",
    "tests/service/embedded/",
    "tests/service/experiment/",
    "tests/magics/display/test_terminal.py",
    "tests/magics/commands/",
    "tests/service/pipeline/test_soak.py",
    "tests/service/plots/",
    "tests/service/ledger/",
    "tests/service/scorers/",
    "tests/service/tools/",
    "tests/service/pipeline/",
    "tests/widgets/",
    "tests/magics/",
)
_FILES_AFTER_EACH_OF_A_BROWSER = 5


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what -m does
def pytest_collection_modifyitems(items):
    """Run the slowest files first, those of the browser mixed with others.

    The order within a file stays. Tests of the browser need the processor, most others wait for servers and processes:
    so they run side by side.
    """
    files = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)

    def rank(name):
        return next((n for n, start in enumerate(_SLOWEST) if name.startswith(start)), len(_SLOWEST))

    slowest_first = sorted(files, key=rank)
    browser = [name for name in slowest_first if name.startswith("tests/browser/")]
    others = iter([name for name in slowest_first if not name.startswith("tests/browser/")])
    mixed = [name for first in browser for name in (first, *islice(others, _FILES_AFTER_EACH_OF_A_BROWSER))]
    items[:] = [item for name in (*mixed, *others) for item in files[name]]


def pytest_runtest_setup(item):
    """Fail a test of the embedded model where it is missing: `make test` has pulled it."""
    if item.get_closest_marker("local_model") is not None:
        from ipyllm import embedded

        if embedded.find("smollm2-135m") is None:
            pytest.fail(
                "The embedded model is not pulled: run `make model`, or pytest -m 'not local_model'.", pytrace=False
            )


@pytest.fixture(autouse=True, scope="session")
def only_loopback():
    """Fail a test that connects to anything but loopback."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in {socket.AF_INET, socket.AF_INET6} and str(address[0]) not in {
            "127.0.0.1",
            "::1",
            "localhost",
        }:
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    socket.socket.connect = guarded
    yield
    socket.socket.connect = connect


def _variables_of_named_services():
    from ipyllm.services.service_rows import service_rows

    for row in service_rows().values():
        yield from row.keys
        if row.url_variable is not None:
            yield row.url_variable


def isolate(monkeypatch, home):
    """Hide the settings, keys, ledger and cache of the developer, with empty ones in this folder."""
    for name in [
        *_PROVIDER_VARIABLES,
        *_variables_of_named_services(),
        *(n for n in os.environ if n.startswith("IPYLLM_") and n != "IPYLLM_MODELS_DIR"),
    ]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IPYLLM_CONFIG", str(home / "config.toml"))
    monkeypatch.setenv("IPYLLM_LEDGER", str(home / "ledger.sqlite"))
    monkeypatch.setenv("IPYLLM_CACHE_PATH", str(home / "answers.sqlite"))


@pytest.fixture(autouse=True, scope="session")
def own_environment(tmp_path_factory):
    """Isolate also the kernels that a whole module shares from the developer's settings."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path_factory):
    """Isolate a test from the keys, settings, ledger and cache of the developer.

    And from those of other tests: ports are reused, so a cache could answer the same question to the same address, and
    what was learned of a server hold for another.
    """
    home = tmp_path_factory.mktemp("ipyllm")
    isolate(monkeypatch, home)
    monkeypatch.chdir(home)
    from ipyllm import settings
    from ipyllm.conversations import hidden_tokens
    from ipyllm.ledger import set_ledger
    from ipyllm.pipeline import billed_tiers
    from ipyllm.registry import models
    from ipyllm.services import listed_models
    from ipyllm.services.profiles import learned, retirement

    monkeypatch.setattr(settings, "_checked_s", float("-inf"))  # those of the test before are not fresh enough
    monkeypatch.setattr(hidden_tokens, "_hidden_tokens", hidden_tokens.HiddenTokens())
    monkeypatch.setattr(billed_tiers, "_billed", {})

    yield home
    set_ledger(None)
    models.set_default_model(None)
    learned.forget()
    retirement.forget()
    listed_models.forget()


@pytest.fixture
def fake():
    """A scriptable model server on loopback."""
    with FakeLLM() as server:
        yield server
