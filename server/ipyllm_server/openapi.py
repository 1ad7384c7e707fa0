"""The OpenAPI document of the server, made of the table of its operations and of the models that check its bodies."""

from __future__ import annotations

import inspect
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, get_args

from docstring_parser import DocstringStyle, parse
from pydantic import TypeAdapter

from ipyllm import __version__
from ipyllm_server import answer_shapes, chat_body, completion_body, completion_shapes
from ipyllm_server.answer_shapes import ChatEvent, Error
from ipyllm_server.chat_body import AskMessage, ShowMessage
from ipyllm_server.completion_shapes import CompletionChunk
from ipyllm_server.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipyllm_server.operations import Operation, Parameter

__all__ = ["openapi_document"]

_REFERENCE: Final = "#/components/schemas/{model}"
_INTRODUCTION: Final = (
    "Chat with language models over the service layer of ipyllm. Every route needs the token or a login of Jupyter; "
    "without one it answers 403. A user sees their own conversations and calls only. `docs/server.md` has the rest."
)
_ERRORS: Final = {
    400: "The request is wrong, or its address is no UTF-8; the sentence says what to change.",
    403: "There is no token or a wrong one, or the user may not do this.",
    404: "There is no such model, conversation or answer for this user.",
    409: "The conversation is still answering the question before, or another one has the name.",
    413: "The body is too large.",
    426: "A WebSocket of a version that the server does not know.",
    429: "A limit of the user, or of the model's server.",
    500: "The settings of the server are wrong, what it keeps is damaged, or it has a bug.",
    502: "The model's server failed.",
    503: "The server is shutting down, or the call was cancelled.",
    504: "The model's server took too long.",
}
_RETRY_AFTER: Final = {
    "description": "Seconds after which the same request may succeed.",
    "schema": {"type": "integer", "minimum": 1},
}
_WAIT: Final = (429, 503)
_EVENTS: Final = "text/event-stream"  # OpenAPI 3.1 has no schema for its events


@cache
def openapi_document(base_url: str = "/") -> dict[str, Any]:
    """Return the document, for a server at a base URL.

    Parameters
    ----------
    base_url : str
        As Jupyter has it: it begins and ends with a slash.

    Examples
    --------
    >>> document = openapi_document("/lab/")
    >>> document["openapi"], document["servers"], "/ipyllm/api/chat" in document["paths"]
    ('3.1.0', [{'url': '/lab'}], True)
    """
    references, schemas = _schemas()
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ipyllm chat server", "version": __version__, "summary": "Chat with language models",
            "description": _INTRODUCTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url.rstrip("/") or "/"}],
        "security": [{"token": []}, {"bearer": []}, {"tokenInAddress": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`Authorization: token …`, with the token of Jupyter.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same, for clients of OpenAI."},
                "tokenInAddress": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }  # fmt: skip


def _operation(operation: Operation, references: dict[Any, Any]) -> dict[str, Any]:
    words = [part.strip("{}").replace(".", "_") for part in operation.path.split("/")[2:]]
    described: dict[str, Any] = {"operationId": "_".join([operation.method, *words]), "summary": operation.summary}
    if operation.parameters:
        described["parameters"] = [*map(_parameter, operation.parameters)]
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    answer: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answers:
        answer["content"] = {
            kind: {"schema": {"type": "string"} if shape is None else references[shape]} if kind != _EVENTS else {}
            for kind, shape in operation.answers.items()
        }
    described["responses"] = {str(operation.status): answer}
    for status in operation.errors:
        if status == HTTPStatus.FOUND:
            described["responses"]["302"] = {"description": "Who is not logged in is sent to Jupyter's login."}
            continue
        described["responses"][str(status)] = {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": references[Error]}},
            **({"headers": {"Retry-After": _RETRY_AFTER}} if status in _WAIT else {}),
        }
    if operation.status == HTTPStatus.SWITCHING_PROTOCOLS:
        described["x-websocket"] = {
            "send": [references[AskMessage], references[ShowMessage]],
            "receive": [references[Error]],
        }
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name, "in": parameter.where, "required": parameter.where == "path",
        "description": parameter.description, "schema": parameter.schema,
    }  # fmt: skip


def _schemas() -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return a reference, or a schema, for each shape; and the schemas that are referred to."""
    bodies = [each.body for each in OPERATIONS if each.body is not None]
    answers = [shape for each in OPERATIONS for shape in each.answers.values() if shape is not None]
    messages, events = (AskMessage, ShowMessage), (*get_args(ChatEvent), CompletionChunk)
    shapes = [*dict.fromkeys([*bodies, *messages, *answers, Error, *events])]
    adapters = [(index, "validation", TypeAdapter[Any](shape)) for index, shape in enumerate(shapes)]
    found, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REFERENCE)  # type: ignore[arg-type]
    schemas: dict[str, Any] = definitions["$defs"]
    for name, shape in _documented():
        if name in schemas:
            _describe(schemas[name], shape)
    schemas["ChatEvent"] = {
        "description": "One event of a streamed answer.",
        "oneOf": [{"$ref": _REFERENCE.format(model=each.__name__)} for each in get_args(ChatEvent)],
    }
    return {shape: found[index, "validation"] for index, shape in enumerate(shapes)}, dict(sorted(schemas.items()))


def _documented() -> Iterator[tuple[str, Any]]:
    for module in (chat_body, completion_body, answer_shapes, completion_shapes):
        yield from inspect.getmembers(module, inspect.isclass)


def _describe(schema: dict[str, Any], shape: Any) -> None:
    """Take the descriptions of a shape and its fields from its docstring."""
    docstring = parse(inspect.cleandoc(shape.__doc__ or ""), DocstringStyle.NUMPYDOC)
    sentences = [docstring.short_description, docstring.long_description]
    schema["description"] = " ".join(sentence for sentence in sentences if sentence).replace("``", "`")
    for field in docstring.params:
        for name in field.arg_name.split(", "):
            if name in schema.get("properties", {}):
                schema["properties"][name]["description"] = (field.description or "").replace("``", "`")
