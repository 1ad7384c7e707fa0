"""The page of a chat, for the modules that make no page of their own; stops the Jupyter servers, which tests share."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.browser.chat import assert_page_healthy, environment, lab_with_fake
from tests.browser.jupyter_server import JupyterServer
from tests.browser.lab import Lab, chromium
from tests.fakes import FakeLLM, answer
from tests.server.chat_server import ChatServerProcess


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave all but the smoke tests of this folder to `make thorough`: a page takes seconds, and most of CI's time."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and item.get_closest_marker("smoke") is None:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(autouse=True, scope="session")
def jupyter_servers():
    """The servers that tests started, until the end."""
    yield
    JupyterServer.stop_all()


@pytest.fixture(scope="module")
def lab_and_fake(request, tmp_path_factory):
    """A lab and its server; a module may set ``ENV``, variables of its kernels."""
    with lab_with_fake(tmp_path_factory.mktemp("chat"), env=getattr(request.module, "ENV", None)) as lab_and_fake:
        yield lab_and_fake


@pytest.fixture
def lab(request, lab_and_fake):
    """The lab; a module may set ``DEFAULT``, what the server answers."""
    lab, fake = lab_and_fake
    fake.default = getattr(request.module, "DEFAULT", answer("Hello there."))
    with assert_page_healthy(lab):
        yield lab


@pytest.fixture
def fake(lab_and_fake):
    return lab_and_fake[1]


@pytest.fixture(scope="module", params=["light", "dark"])
def stage(request, tmp_path_factory):
    """A lab in each theme, with a notebook of one cell for chats, and its server."""
    home = tmp_path_factory.mktemp(request.param)
    with FakeLLM() as fake, Lab(home, theme=request.param, env=environment(fake, home)) as lab:
        lab.notebook, lab.conversation_numbers = lab.open(["1"]), count(1)
        yield lab, fake


@pytest.fixture(scope="module")
def servers():
    """A model server, a chat server over it, and a browser for its page."""
    with FakeLLM() as model, ChatServerProcess(model) as server, chromium() as browser:
        yield model, server, browser


@pytest.fixture
def model(servers):
    """The model server of the chat server, as new."""
    model = servers[0]
    model.clear()
    model.default = answer("Hello from the fake.")
    model.on(lambda request: None)
    yield model
    model.skip_pauses()
