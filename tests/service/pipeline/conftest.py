"""A cache of responses, for the tests of its answers and of its file."""

from __future__ import annotations

import pytest

from ipyllm.pipeline.cache import ResponseCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "answers.sqlite"


@pytest.fixture
def cache(path):
    with ResponseCache(path) as cache:
        yield cache
