"""Tests any schema of the usual keywords: it can be sent, and values that fit are parsed back."""

from __future__ import annotations

import json
import keyword
from typing import Union

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, create_model

from ipyllm.structured import Schema

names = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and name not in {"copy", "json", "dict", "schema", "model", "construct"}
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)

SCALARS = st.sampled_from(
    [
        (int, {"type": "integer"}, st.integers(-(2**53), 2**53)),
        (str, {"type": "string"}, texts),
        (bool, {"type": "boolean"}, st.booleans()),
        (float, {"type": "number"}, numbers),
        (None, {"type": "null"}, st.none()),
    ]
)
"""A type, the schema of the same values, and a strategy for the values."""


def lists(inner):
    kind, raw, values = inner
    return list[kind], {"type": "array", "items": raw}, st.lists(values, max_size=3)


def maps(inner):
    kind, raw, values = inner
    return (
        dict[str, kind],
        {"type": "object", "additionalProperties": raw},
        st.dictionaries(texts, values, max_size=3),
    )


def maybe(inner):
    kind, raw, values = inner
    return Union[kind, None], {"anyOf": [raw, {"type": "null"}]}, st.none() | values  # noqa: UP007 - of None too


def objects(fields):
    kinds = {name: (kind, Field(description="d")) for name, (kind, _, _) in fields.items()}
    properties = {name: raw for name, (_, raw, _) in fields.items()}
    values = st.fixed_dictionaries({name: values for name, (_, _, values) in fields.items()})
    raw = {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}
    return create_model("Made", **kinds), raw, values


shapes = st.recursive(
    SCALARS,
    lambda inner: (
        inner.map(lists) | inner.map(maps) | inner.map(maybe) | st.dictionaries(names, inner, max_size=4).map(objects)
    ),
    max_leaves=8,
)


def plain(value):
    """Return the dict that a model was made from."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(shape=shapes, data=st.data())
def test_values_of_types_and_of_schemas_are_read_back_as_they_were_written(shape, data):
    kind, raw, values = shape
    value = data.draw(values)
    for source in (kind, raw) if kind is not None else (raw,):
        schema = Schema.of(source)
        written = {"value": value} if schema.wrapped else value
        jsonschema.validate(written, schema.json_schema)
        text = json.dumps(written, indent=data.draw(st.sampled_from([None, 2])))
        assert plain(schema.parse(text)) == value
        assert plain(schema.parse(f"Here it is:\n```json\n{text}\n```")) == value


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(shape=shapes)
def test_what_is_sent_can_be_sent_again(shape):
    _, raw, _ = shape
    schema = Schema.of(raw).json_schema
    assert Schema.of(schema).json_schema == schema
