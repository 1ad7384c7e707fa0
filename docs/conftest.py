"""Fixture of the examples in these pages: a model server on loopback, and the ``config.toml`` of the page.

The examples are doctests: ``pytest docs --doctest-glob="*.md"``.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tests.conftest import only_loopback, own_settings
from tests.fakes import (
    Request,
    Script,
    answer,
    context_length_exceeded,
    rate_limited,
    server_error,
    stall,
    truncated,
)
from tests.fakes.services import StrictServices

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["only_loopback", "own_settings"]

_CONFIG = re.compile(r"```toml\n(# config\.toml\n.*?)```", re.DOTALL)

_REPLIES = {
    "Hello": answer("Hello! How can I help?"),
    "What is Python?": answer("A programming language."),
    "And who made it?": answer("Guido van Rossum."),
    "Tell me a story": answer("Once upon a time"),
    "Tell me a long story": stall("Once upon a time", after=2),
    "Tell me half a story": truncated("Once upon a time", after=2),
    "Which city is the capital of Switzerland?": answer('{"name": "Bern", "people": 134591}'),
    "Which colour is it?": answer("Teal."),
    "It crashes when I save.": answer('{"kind": "bug", "urgency": 9}'),
    "A dark theme?": answer('{"kind": "wish", "urgency": 2}'),
    "A book of 9,000 tokens": context_length_exceeded(8192, 9000),
}

_REVIEWS = {"A joy": "positive", "Two hours": "negative", "It has": "positive"}


def _judged(request: Request) -> Script | None:
    """Classify a review; the smaller model does not understand the third one, unless the sentiment is defined."""
    question, _, review = request.prompt.rpartition("? ")
    verdict = next((verdict for begin, verdict in _REVIEWS.items() if review.startswith(begin)), None)
    if verdict is None:
        return None
    misunderstood = review.startswith("It has") and request.json["model"] == "gpt-6-luna" and "praise" not in question
    return answer("Negative" if misunderstood else verdict.capitalize())


def _verdict(request: Request) -> Script | None:
    """Judge as a model that knows one capital; None if the prompt does not ask for a verdict."""
    if request.prompt.startswith("Grade an answer"):
        grade = 5 if "Bern" in request.prompt.split("Answer to grade")[1] else 1
        return answer(f'{{"reason": "It is Bern.", "grade": {grade}}}')
    if request.prompt.startswith("Say which of two answers"):
        first = request.prompt.split(" First answer")[1].split(" Second answer")[0]
        return answer(f'{{"reason": "It is Bern.", "better": "{"first" if "Bern" in first else "second"}"}}')
    return None


def _decide(request: Request) -> Script | None:
    """Answer as the page shows. The model ``gpt-6-sol`` fails; the busy server is busy once."""
    last = request.messages[-1]
    if request.json["model"] == "gpt-6-sol":
        return server_error()
    if "tool_call_id" in last or "call_id" in last:  # the result of a function, in the shape of either API
        return answer(f"It is {last.get('content') or last['output']}.")
    if request.json.get("tools"):
        return answer("", tool_calls=[("weather", {"city": "Bern"})])
    return _verdict(request) or _REPLIES.get(request.prompt) or _judged(request)


@pytest.fixture(autouse=True)
def page(own_settings: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up and reset what a page needs: server, addresses, keys, ``config.toml``, logs, tracing."""
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    # The API lets a provider be set only once; the page sets one, and other tests must not find it.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    config = _CONFIG.search(Path(request.node.path).read_text(encoding="utf-8"))
    if config is not None:
        (own_settings / "config.toml").write_text(config[1], encoding="utf-8")
    logger = logging.getLogger("ipyllm")
    handlers, level = list(logger.handlers), logger.level
    # The examples set environment variables, as a cell does; all are restored.
    with StrictServices(_decide) as services, patch.dict(os.environ):
        os.environ.update(services.environment())
        # "Are you busy?" is not in _decide: the queue answers first, then the default
        services["openai"].reply(rate_limited(0.01))
        services["openai"].default = answer("Not any more.")
        yield
        refused = {request.prompt for _, request in services.refused()}
        assert refused <= {"Hello", "Are you busy?", "A book of 9,000 tokens"}, refused
    logger.handlers[:] = handlers
    logger.setLevel(level)
