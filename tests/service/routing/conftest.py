"""Fixtures: a call through a route, and two servers."""

from __future__ import annotations

import pytest

from ipyllm import LLMError
from ipyllm.pipeline.candidates import all_candidates_failed, candidates
from tests.fakes import FakeLLM, answer


@pytest.fixture
def ask():
    """Ask a route as the pipeline does: each candidate in turn, with a separate call."""

    def ask(route, prompt="Hello", **options):
        request, errors = route.request(prompt, **options), []
        for choice in candidates(route, request):
            try:
                with choice:
                    return choice.service.call(choice.request).wait()
            except LLMError as error:
                errors.append(error)
        raise all_candidates_failed(errors, request.model)

    return ask


@pytest.fixture
def a():
    with FakeLLM() as server:
        server.default = answer("from a")
        yield server


@pytest.fixture
def b():
    with FakeLLM() as server:
        server.default = answer("from b")
        yield server


@pytest.fixture
def rows():
    """Read the complete ledger."""

    def rows():
        from ipyllm import usage
        from ipyllm.ledger import current_ledger

        assert current_ledger().flush(10)
        return usage(kernel=None)

    return rows
