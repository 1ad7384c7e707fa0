"""A chat server and a model server, which the tests of a file share."""

import pytest

from tests.fakes import FakeLLM, answer
from tests.server.chat_server import ChatServerProcess


@pytest.fixture(scope="session")
def shared_fake():
    """The model server behind the chat server."""
    with FakeLLM() as fake:
        yield fake


@pytest.fixture(scope="session")
def shared_server(shared_fake):
    """A chat server that all tests share."""
    with ChatServerProcess(shared_fake) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """The chat server."""
    return shared_server


@pytest.fixture
def model(shared_fake):
    """The model server, as new."""
    shared_fake.clear()
    shared_fake.default = answer("Hello from the fake.")
    shared_fake.on(lambda request: None)
    yield shared_fake
    shared_fake.skip_pauses()
