"""Fixtures of the transport's tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipyllm import OllamaService
from tests.fakes import status


@pytest.fixture
def ask(fake):
    """Have the server send these bytes, plainly or compressed; return the answer."""

    def ask(body, headers, compressed=False, **options):
        fake.default = replace(status(200, body, headers), gzip=compressed)
        return OllamaService("m", base_url=fake.base_url, max_retries=0).chat("Hello", **options)

    return ask
