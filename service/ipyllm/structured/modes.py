"""Chooses the next mode when a server refuses a schema: native, then JSON, then the prompt alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ipyllm.errors import LLMError
    from ipyllm.response import Category
    from ipyllm.structured.schema import Schema

__all__ = ["SchemaMode", "learned_mode", "next_mode", "remember_mode"]

SchemaMode = Literal["native", "json", "prompt"]
"""``native``: the server enforces the schema. ``json``: it enforces JSON. ``prompt``: it enforces nothing."""

_NEXT_MODE: dict[SchemaMode, SchemaMode] = {"native": "json", "json": "prompt"}
_CATEGORIES: frozenset[Category] = frozenset({"bad_request", "api_error", "max_retries_exceeded"})
# Words in the refusals of OpenAI, Azure, DeepSeek, Groq, vLLM, LM Studio, Ollama and llama.cpp; see the tests.
_SCHEMA_WORDS = (
    "response_format",
    "response format",
    "text.format",
    "json_schema",
    "json schema",
    "json_object",
    "json mode",
    "structured output",
    "grammar",
    "guided decoding",
    "failed to generate json",
    "does not match the expected",  # llama.cpp, when its grammar and its parser disagree
)


def next_mode(mode: SchemaMode, error: LLMError) -> SchemaMode | None:
    """Return the mode to try after ``error``, or None if the error is not about the schema or no mode is left.

    Examples
    --------
    >>> from ipyllm import LLMError
    >>> refusal = LLMError('m refused (HTTP 400, "This response_format type is unavailable now")',
    ...                    category="bad_request", status_code=400)
    >>> next_mode("native", refusal), next_mode("json", refusal), next_mode("prompt", refusal)
    ('json', 'prompt', None)
    >>> next_mode("native", LLMError("Too many requests.", category="rate_limit")) is None
    True
    """
    message = str(error).lower()
    if error.model:
        message = message.replace(error.model.lower(), "")  # the name may contain the words
    if error.category in _CATEGORIES and any(word in message for word in _SCHEMA_WORDS):
        return _NEXT_MODE.get(mode)
    return None


_learned: WeakKeyDictionary[object, dict[Schema, SchemaMode]] = WeakKeyDictionary()


def remember_mode(service: object, schema: Schema, mode: SchemaMode) -> None:
    """Remember the mode in which a service answered, after it refused the schema in others."""
    _learned.setdefault(service, {})[schema] = mode


def learned_mode(service: object, schema: Schema) -> SchemaMode | None:
    """Return the mode in which a service answered, if it refused the schema in others.

    Many calls with one schema would otherwise each be refused first.
    """
    return _learned.get(service, {}).get(schema)
