"""Fixtures: simulated calls of two arms."""

from __future__ import annotations

import pytest

from tests.service.statistics.simulated import ARMS, calls


@pytest.fixture(scope="module")
def two():
    return calls(ARMS, prompts=60)
