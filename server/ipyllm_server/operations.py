"""The table of what clients may ask for: each route's methods, their parameters, bodies and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ipyllm_server import answer_shapes as shapes
from ipyllm_server import completion_shapes
from ipyllm_server.chat_body import ChatBody, ConversationChange
from ipyllm_server.completion_body import CompletionBody
from ipyllm_server.page_handlers import FILES
from ipyllm_server.usage_handler import FILTERS, MOST_ROWS, TYPES

__all__ = ["OPERATIONS", "Operation", "Parameter"]

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_READ: Final = (400, 403)
_READ_SETTINGS: Final = (*_READ, 500)
_ASK: Final = (400, 403, 404, 413, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or of the path."""

    name: str
    schema: dict[str, Any]
    description: str
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one route does.

    Attributes
    ----------
    method, path : str
        As in the OpenAPI document.
    summary : str
        What it does, in one line.
    answers : dict
        The shape of the answer for each type of content; None for one that is no JSON.
    errors : tuple of int
        Statuses that it may have otherwise.
    body : type, optional
        The shape of its body.
    parameters : tuple of Parameter
        Its parameters.
    status : int
        Status of the answer.
    """

    method: str
    path: str
    summary: str
    answers: dict[str, Any]
    errors: tuple[int, ...] = _READ
    body: type[ChatBody | CompletionBody | ConversationChange] | None = None
    parameters: tuple[Parameter, ...] = ()
    status: int = 200


_TEXT: Final[dict[str, Any]] = {"type": "string"}
_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}

_NAME: Final = Parameter("name", {"type": "string", "minLength": 1}, "Name of the conversation.", "path")

_QUERY: Final = Parameter(
    "query", _TEXT, "Conversations whose name or text contains it, in whatever case; the 1000 newest are searched."
)

_USAGE: Final = (
    Parameter("format", {"type": "string", "enum": [*TYPES], "default": "json"}, "Form of the table."),
    *(Parameter(name, _TEXT, sentence) for name, sentence in FILTERS.items()),
    Parameter("text", {"type": "string", "enum": ["0", "1"], "default": "1"}, "0: without prompts and answers."),
    Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 1000}, "Most rows."),
)

_SOCKET: Final = (
    Parameter("conversation", {"type": "string", "maxLength": 200}, "Name of a conversation that is kept."),
    Parameter("session", _TEXT, "The session to go on with, after a connection broke off."),
    Parameter("answer", _NUMBER, "Number of the answer that the client has begun to receive."),
    Parameter("at", _NUMBER, "Position in that answer behind what the client has."),
    Parameter("html", {"type": "string", "enum": ["0", "1"], "default": "0"}, "1: answers as sanitised HTML."),
)

OPERATIONS: Final = (
    Operation("get", "/ipyllm/api/health", "Tells whether calls can be made.", {_JSON: shapes.Health}),
    Operation(
        "get", "/ipyllm/api/models", "Lists the models that may be asked.", {_JSON: shapes.Models}, _READ_SETTINGS
    ),
    Operation(
        "post", "/ipyllm/api/chat", "Asks a model. With `stream`, the answer comes as events, each a ChatEvent.",
        {_JSON: shapes.Answer, _EVENTS: None}, (*_ASK, 409), ChatBody,
    ),
    Operation(
        "get", "/ipyllm/api/conversations", "Lists the user's conversations, or searches them.",
        {_JSON: shapes.Conversations}, _READ_SETTINGS, parameters=(_QUERY,),
    ),
    Operation(
        "get", "/ipyllm/api/conversations/{name}", "Shows a conversation.", {_JSON: shapes.ConversationMessages},
        (400, 403, 404, 500), parameters=(_NAME,),
    ),
    Operation(
        "patch", "/ipyllm/api/conversations/{name}", "Renames a conversation, or shows another version of an answer.",
        {_JSON: shapes.Changed}, (400, 403, 404, 409, 413, 429, 500), ConversationChange, parameters=(_NAME,),
    ),
    Operation(
        "delete", "/ipyllm/api/conversations/{name}", "Deletes a conversation.", {_JSON: shapes.Deleted},
        (400, 403, 404, 409, 500), parameters=(_NAME,),
    ),
    Operation(
        "get", "/ipyllm/api/usage", "Shows the user's calls.",
        {_JSON: shapes.Calls, "text/csv": None, "application/vnd.apache.parquet": None}, _READ_SETTINGS,
        parameters=_USAGE,
    ),
    Operation(
        "get", "/ipyllm/api/openapi.json", "Describes all routes: this document.", {_JSON: dict[str, Any]}
    ),
    Operation(
        "get", "/ipyllm/v1/models", "Lists the models, for clients of OpenAI.", {_JSON: completion_shapes.OpenAIModels},
        _READ_SETTINGS,
    ),
    Operation(
        "get", "/ipyllm/v1/models/{model}", "Shows a model, for clients of OpenAI.",
        {_JSON: completion_shapes.OpenAIModel}, (*_READ_SETTINGS, 404),
        parameters=(Parameter("model", {"type": "string", "minLength": 1}, "Its full name.", "path"),),
    ),
    Operation(
        "post", "/ipyllm/v1/chat/completions",
        "Asks a model, for clients of OpenAI. With `stream`, the answer comes as events, each a CompletionChunk.",
        {_JSON: completion_shapes.Completion, _EVENTS: None}, _ASK, CompletionBody,
    ),
    Operation("get", "/ipyllm/", "Shows a page with a chat.", {"text/html": None}, (302, *_READ)),
    Operation(
        "get", "/ipyllm/static/{file}", "Has the scripts and styles of the page.",
        {"text/javascript": None, "text/css": None}, (*_READ, 404),
        parameters=(Parameter("file", {"type": "string", "enum": [*FILES]}, "Its name.", "path"),),
    ),
    Operation(
        "get", "/ipyllm/ws",
        "Opens a WebSocket for a chat in JSON: `x-websocket` has the shapes of a question and of an error.",
        {}, (400, 403, 426), parameters=_SOCKET, status=101,
    ),
)  # fmt: skip
