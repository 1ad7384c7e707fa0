"""The fields of a schema as columns of a table: their names, their kinds, and answers as plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ipyllm.structured.portable import WRAPPER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipyllm.structured.schema import Schema

__all__ = ["Field", "FieldKind", "fields_of", "plain_answers"]

FieldKind = Literal["int", "float", "bool", "text", "date", "time", "category", "object"]
"""``object`` is every kind that a table has no column for: lists, objects, and values of several types."""

_KINDS: dict[str, FieldKind] = {"integer": "int", "number": "float", "boolean": "bool", "string": "text"}
_TIMES: dict[Any, FieldKind] = {"date": "date", "date-time": "time"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a schema, or its only value. ``categories`` are the texts that it may be, if they are listed."""

    name: str
    kind: FieldKind
    categories: tuple[str, ...] = ()


def fields_of(schema: Schema) -> list[Field] | Field:
    """Return the fields of an object's schema, or of any other schema, and of an object with any keys, its one value.

    Examples
    --------
    >>> from ipyllm.structured import Schema
    >>> fields_of(Schema.of({"type": "object", "properties": {"n": {"type": "integer"}}}))
    [Field(name='n', kind='int', categories=())]
    >>> fields_of(Schema.of(list[str]))
    Field(name='value', kind='object', categories=())
    """
    sent = schema.json_schema
    defs = sent.get("$defs", {})
    properties = sent.get("properties")
    if not properties:  # an object with any keys
        return Field(WRAPPER, "object")
    if schema.wrapped:
        return _field(WRAPPER, properties[WRAPPER], defs)
    names = _python_names(schema.source) or list(properties)
    return [_field(name, node, defs) for name, node in zip(names, properties.values(), strict=True)]


def plain_answers(schema: Schema) -> Callable[[Any], Any]:
    """Return a function that makes JSON's values of a parsed answer, under the names that the fields have in Python."""
    if isinstance(schema.source, dict):
        return _unchanged
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(schema.source)

    def plain(value: Any) -> Any:
        return adapter.dump_python(value, mode="json", by_alias=False, fallback=str)

    return plain


def _unchanged(value: Any) -> Any:
    return value


def _python_names(source: Any) -> list[str]:
    """Return the fields' names in Python, in the order of the schema; empty if the schema has the same."""
    if hasattr(source, "__pydantic_fields__") and not dataclasses.is_dataclass(source):
        return list(source.__pydantic_fields__)
    return []


def _field(name: str, node: Mapping[str, Any], defs: Mapping[str, Any]) -> Field:
    node = _without_null(node, defs)
    values = [value for value in node.get("enum", []) if value is not None]
    if values and all(isinstance(value, str) for value in values):
        return Field(name, "category", tuple(dict.fromkeys(values)))
    if values:
        kinds = {type(value) for value in values}
        return Field(name, "int" if kinds == {int} else "bool" if kinds == {bool} else "object")
    kind = _KINDS.get(node.get("type", ""), "object")
    return Field(name, _TIMES.get(node.get("format"), kind) if kind == "text" else kind)


def _without_null(node: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with its reference resolved, and without the alternative that there is no value."""
    while True:
        if "$ref" in node:
            node = defs[node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            others = [each for each in node["anyOf"] if each.get("type") != "null"]
            if len(others) != 1:
                return {}
            node = others[0]
        elif isinstance(node.get("type"), list):
            others = [each for each in node["type"] if each != "null"]
            return {**node, "type": others[0]} if len(others) == 1 else {}
        else:
            return node
