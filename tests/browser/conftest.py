"""Stops the Jupyter servers, which the browser tests of a process share."""

from __future__ import annotations

import pytest

from tests.browser.jupyter_server import JupyterServer


@pytest.fixture(autouse=True, scope="session")
def jupyter_servers():
    """The servers that tests started, until the end."""
    yield
    JupyterServer.stop_all()
