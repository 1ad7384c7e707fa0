"""Shapes of what the server answers. The types of its answers, and the schemas of the OpenAPI document, are these."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12

__all__ = [
    "Answer",
    "AnswerTiming",
    "AnswerUsage",
    "Calls",
    "Changed",
    "ChatEvent",
    "ConversationAnswer",
    "ConversationMessages",
    "Conversations",
    "Deleted",
    "DoneEvent",
    "Error",
    "ErrorDetails",
    "FailedEvent",
    "Health",
    "ListedConversation",
    "Models",
    "TextEvent",
    "ToolCallEvent",
]


class ErrorDetails(TypedDict):
    """What went wrong.

    Attributes
    ----------
    message : str
        One sentence that says what to change.
    type : str
        Whose failure it is.
    param : str or None
        The field of the body that is wrong.
    code : str or None
        A word for programs, such as ``bad_request`` or ``rate_limit``.
    """

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class Error(TypedDict):
    """An error, in the shape of those of OpenAI."""

    error: ErrorDetails


class Health(TypedDict):
    """State of the server."""

    status: Literal["ok", "closing"]
    version: str
    running_calls: int


class Models(TypedDict):
    """Names of the models that may be asked, the default first."""

    default: str | None
    models: list[str]


class AnswerUsage(TypedDict):
    """Tokens, as ``source`` counted them; null where nobody did."""

    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    source: str | None


class AnswerTiming(TypedDict):
    """Seconds, and tokens a second."""

    queue_s: float | None
    ttft_s: float | None
    ttfo_s: float | None
    total_s: float | None
    output_tps: float | None


class Answer(TypedDict):
    """An answer with what it took.

    Attributes
    ----------
    call_id : str or None
        The call in the ledger.
    conversation : str or None
        Where the question and its answer are kept.
    model : str
        Full name of the model.
    refused : bool
        Whether the model declined to answer.
    cost_usd : float or None
        US dollars; null where the price is unknown.
    cache_hit : bool
        Whether the answer came from the cache.
    note : str or None
        What was left out of the conversation to fit the model's context window.
    """

    call_id: str | None
    conversation: str | None
    model: str
    content: str
    reasoning: str
    tool_calls: list[dict[str, Any]]
    status: str
    finish_reason: str | None
    refused: bool
    usage: AnswerUsage
    timing: AnswerTiming
    cost_usd: float | None
    cache_hit: bool
    note: str | None


class TextEvent(TypedDict):
    """A piece of the text, or of the reasoning."""

    type: Literal["text", "reasoning"]
    text: str


class ToolCallEvent(TypedDict):
    """A piece of a function call; ``id`` and ``name`` come with its first piece."""

    type: Literal["tool_call"]
    index: int
    id: str | None
    name: str | None
    arguments: str


class FailedEvent(Error):  # noqa: N818 - a shape, no exception
    """What went wrong after the answer had begun; ``done`` follows."""

    type: Literal["error"]


class DoneEvent(Answer):
    """The end: the whole answer."""

    type: Literal["done"]


ChatEvent = TextEvent | ToolCallEvent | FailedEvent | DoneEvent


class ListedConversation(TypedDict):
    """A conversation in a list.

    Attributes
    ----------
    name : str
        Its name.
    saved_at : str or None
        When it changed last; null if it was not saved.
    excerpt : str or None
        The text around what was searched; null where that is not in the text, and for a list of all.
    """

    name: str
    saved_at: str | None
    excerpt: str | None


class Conversations(TypedDict):
    """The user's conversations, the newest first."""

    conversations: list[ListedConversation]


class ConversationAnswer(TypedDict):
    """An answer of a conversation.

    Attributes
    ----------
    call_id : str or None
        Its call in the ledger, which names it.
    question : int
        Index of its question among the messages, from 0.
    versions : list of str or None
        Calls of all versions, this one among them, the oldest first: of the question edited, or answered again.
    """

    call_id: str | None
    question: int
    versions: list[str | None]


class ConversationMessages(TypedDict):
    """A conversation with its messages, in OpenAI's shape, and the answers among them."""

    name: str
    messages: list[dict[str, Any]]
    answers: list[ConversationAnswer]


class Changed(TypedDict):
    """The conversation's name from now on."""

    name: str


class Deleted(TypedDict):
    """Name of the conversation that was deleted."""

    deleted: str


class Calls(TypedDict):
    """The user's calls as rows of the ledger, oldest first."""

    calls: list[dict[str, Any]]
