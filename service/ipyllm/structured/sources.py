"""Reads the schemas that users give: types with Pydantic, dicts with jsonschema."""

from __future__ import annotations

import functools
import inspect
import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_origin

from ipyllm.errors import bad_request
from ipyllm.structured.json_answer import schema_mismatch
from ipyllm.text.format import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import ValidationError
    from pydantic.json_schema import GenerateJsonSchema

__all__ = ["SchemaSource", "from_dict", "from_type"]

_MAX_PROBLEMS_READ = 50
_INPUT_NOT_SHOWN = {"missing", "extra_forbidden", "json_invalid"}  # the input is the object around the problem
_CONSTRAINTS = {"type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref", "required"}


class SchemaSource(NamedTuple):
    """A schema before it is rewritten for servers.

    ``check`` converts a JSON value for the caller, or raises :class:`~ipyllm.structured.json_answer.SchemaMismatch`.
    """

    name: str
    raw: dict[str, Any]
    check: Callable[[Any], Any]


def from_type(kind: Any) -> SchemaSource:
    """Read a type; raise TypeError, with a phrase, when it cannot be a schema."""
    # Pydantic reads a function as the schema of its arguments, and a string as a type that is not defined yet.
    if kind is None or inspect.isroutine(kind) or isinstance(kind, str | bytes):
        raise TypeError("it is not a type")
    from pydantic import TypeAdapter, ValidationError

    name = _name_of_type(kind)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        raw = adapter.json_schema(schema_generator=_generator())
    except Exception as exc:  # annotations are the user's code, which may raise anything
        raise TypeError(f"{str(exc).splitlines()[0].partition('. ')[0].rstrip('.')}" if str(exc) else "") from exc

    def check(value: Any) -> Any:
        try:
            # As JSON, not as Python: only then does a strict model read a date from text. By name too, because
            # without native mode models write the name instead of the alias.
            return adapter.validate_json(json.dumps(value), by_alias=True, by_name=True)
        except ValidationError as exc:
            raise schema_mismatch(name, _problems(exc)) from exc

    return SchemaSource(name, raw, check)


def from_dict(schema: Mapping[str, Any]) -> SchemaSource:
    """Read a JSON schema, of the draft that its ``$schema`` names, by default 2020-12.

    Raises TypeError, with a phrase, when it is not a valid JSON schema.
    """
    import jsonschema
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import EMPTY_REGISTRY

    try:
        raw: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))  # a copy that the user cannot change
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(f"it is not JSON: {exc}") from exc
    if not _CONSTRAINTS & raw.keys():
        raise TypeError("it does not constrain the answer: give its type or its properties")
    kind = jsonschema.validators.validator_for(raw, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(raw)
    except jsonschema.SchemaError as exc:
        where = ".".join(str(part) for part in exc.path)
        raise TypeError(f"at {where}: {exc.message}" if where else exc.message) from exc
    # An empty registry: by default jsonschema fetches references from the network.
    validator = kind(raw, format_checker=kind.FORMAT_CHECKER, registry=EMPTY_REGISTRY)
    title = raw.get("title")
    name = title if isinstance(title, str) and title.strip() else "answer"

    def check(value: Any) -> Any:
        try:
            errors = list(islice(validator.iter_errors(value), _MAX_PROBLEMS_READ))
        except RecursionError:
            raise schema_mismatch(name, [((), "it is nested too deeply")]) from None
        except Unresolvable as exc:  # from $dynamicRef, or a nested $id: found only when it is used
            raise bad_request(f"This JSON schema cannot be used: {exc}.") from exc
        if errors:
            raise schema_mismatch(name, [(list(error.absolute_path), error.message) for error in errors])
        return value

    return SchemaSource(name, raw, check)


@functools.cache
def _generator() -> type[GenerateJsonSchema]:
    from pydantic.json_schema import GenerateJsonSchema

    class _Generator(GenerateJsonSchema):
        """Generates a schema in which every field is required."""

        def field_is_required(self, field: Any, total: bool) -> bool:
            # Strict mode requires fields with a default too; the description tells the default. But an optional key
            # of a TypedDict has no value that means "missing".
            return super().field_is_required(field, total) if field["type"] == "typed-dict-field" else True

        def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
            json_schema = super().typed_dict_schema(schema)
            json_schema.setdefault("required", [])  # an absent list means "all"
            return json_schema

        def emit_warning(self, kind: Any, detail: str) -> None:
            """Ignore defaults that are not JSON."""

    return _Generator


def _name_of_type(kind: Any) -> str:
    if isinstance(kind, type):
        return kind.__name__
    if get_origin(kind) is Annotated:
        return _name_of_type(kind.__origin__)
    return re.sub(r"[\w<>]+\.(?=[\w<])", "", repr(kind))  # list[package.Person] is called list[Person]


def _problems(exc: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    problems = []
    for error in exc.errors(include_url=False, include_context=False)[:_MAX_PROBLEMS_READ]:
        text, given = error["msg"], error["input"]
        if error["type"] not in _INPUT_NOT_SHOWN and isinstance(given, str | int | float | None):
            text += f" (it is {shorten(json.dumps(given, ensure_ascii=False), 60)})"
        problems.append((error["loc"], text))
    return problems
