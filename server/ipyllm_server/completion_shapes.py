"""Shapes of what the server answers to clients of OpenAI: types of these answers, and schemas, as `answer_shapes`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12

__all__ = [
    "ChunkChoice",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionMessage",
    "CompletionUsage",
    "Logprobs",
    "OpenAIModel",
    "OpenAIModels",
]


class OpenAIModel(TypedDict):
    """A model, in OpenAI's shape."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModels(TypedDict):
    """All models, in OpenAI's shape."""

    object: Literal["list"]
    data: list[OpenAIModel]


class CompletionUsage(TypedDict):
    """Tokens as the model's server counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Logprobs(TypedDict):
    """Log probabilities of the tokens."""

    content: list[dict[str, Any]]
    refusal: None


class CompletionMessage(TypedDict):
    """The answer in a completion."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]


class CompletionChoice(TypedDict):
    """The one choice of a completion."""

    index: int
    message: CompletionMessage
    finish_reason: str
    logprobs: Logprobs | None


class Completion(TypedDict):
    """A whole answer, in OpenAI's shape."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None


class ChunkChoice(TypedDict):
    """The one choice of a chunk."""

    index: int
    delta: dict[str, Any]
    finish_reason: str | None
    logprobs: NotRequired[Logprobs]


class CompletionChunk(TypedDict):
    """A piece of an answer, in OpenAI's shape; the usage comes in a chunk without choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[CompletionUsage | None]
