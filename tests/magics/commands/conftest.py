"""Fixture: a cell of ``%%llm_compare``, and what its models were sent."""

from __future__ import annotations

import pytest

from tests.fakes import answer


@pytest.fixture
def compare(prepared, kernel_fake):
    """Compare with options; return what the cell left and what the server was sent, in the order of the models."""

    def run(given, prompt="Hello", reply="Hello there.", models="-m openai/a -m openai/b"):
        kernel_fake.clear()
        kernel_fake.default = answer(reply)
        ran = prepared.run(f"%%llm_compare {models} {given}\n{prompt}")
        sent = [request.json for request in kernel_fake.requests]
        return ran, sorted(sent, key=lambda body: body["model"])

    return run
