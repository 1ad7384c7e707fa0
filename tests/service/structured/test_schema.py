"""Tests the schemas made from types and dicts, and the messages for those that cannot be used."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from ipyllm import LLMError
from ipyllm.structured import Schema, SchemaMismatch
from tests.service.structured.kinds import IDS, KINDS, City, Colour, Loose, Movie, Node, Odd, Owner, Strict

STRICT_WORDS = {
    "type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs",
    "description", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems",
    "maxItems",
}  # fmt: skip


def subschemas(node):
    """Yield every schema within a schema, itself first."""
    yield node
    for key in ("properties", "$defs"):
        for part in node.get(key, {}).values():
            yield from subschemas(part)
    for part in [*node.get("anyOf", ()), *node.get("prefixItems", ())]:
        yield from subschemas(part)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from subschemas(node[key])


def sent(raw):
    return Schema.of(raw).json_schema


def within(properties, **more):
    return {"type": "object", "properties": properties, **more}


@pytest.mark.parametrize(("kind", "answer", "value"), KINDS, ids=IDS)
def test_what_is_sent_is_an_object_that_fits_the_answer_and_names_the_type(kind, answer, value):
    schema = Schema.of(kind)
    assert schema.json_schema["type"] == "object"
    jsonschema.Draft202012Validator.check_schema(schema.json_schema)
    jsonschema.validate(answer, schema.json_schema)
    native = schema.response_format()
    assert native["json_schema"] == {"name": schema.name, "schema": schema.json_schema, "strict": schema.strict}
    assert schema.response_format(native=False) == {"type": "json_object"}
    assert "JSON" in schema.instructions(), "JSON mode of OpenAI and DeepSeek requires the word"


@pytest.mark.parametrize(("kind", "answer", "value"), KINDS, ids=IDS)
def test_strict_is_said_of_what_strict_mode_takes_only(kind, answer, value):
    schema = Schema.of(kind)
    for part in subschemas(schema.json_schema):
        assert not part.keys() & {"default", "title", "oneOf", "allOf", "pattern", "discriminator"}
        assert "$ref" not in part or len(part) == 1
        if schema.strict:
            assert part.keys() <= STRICT_WORDS
            assert part.keys() & {"type", "anyOf", "$ref"}
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
                assert part["required"] == list(part["properties"])


def test_which_types_are_strict():
    assert all(Schema.of(kind).strict for kind in (Node, Strict, list[int], int | None, Colour, bool))
    assert not any(Schema.of(kind).strict for kind in (City, Odd, Movie, Any, dict[str, int], tuple[int, str]))


def test_a_field_with_a_default_is_asked_for_and_its_default_is_told():
    schema = sent(City)
    assert schema["required"] == ["name", "people", "nickname"]
    assert schema["properties"]["people"]["description"] == "Default: 0."
    assert schema["properties"]["name"]["description"] == "As its people call it"
    assert schema["description"] == "A place where people live."


def test_a_key_that_a_typed_dict_may_lack_stays_optional():
    assert sent(Movie)["required"] == ["title"]
    assert sent(Loose)["required"] == []
    assert Schema.of(Loose).parse('{"b": 1}') == {"b": 1}


def test_a_dict_that_says_nothing_of_required_wants_all_and_one_that_does_is_obeyed():
    properties = {"a": {"type": "string"}, "b": {"type": "integer"}}
    assert sent(within(properties))["required"] == ["a", "b"]
    assert sent(within(properties, required=["a"]))["required"] == ["a"]
    assert Schema.of(within(properties)).strict
    assert not Schema.of(within(properties, required=["a"])).strict


def test_limits_that_no_server_enforces_are_told_to_the_model_instead():
    code = sent(Odd)["properties"]["code"]
    assert code == {"type": "string", "description": r"Pattern: ^[A-Z]{3}-\d+$."}
    tags = sent({"type": "array", "items": {"type": "string", "format": "uri", "maxLength": 5000}, "uniqueItems": True})
    tags = tags["properties"]["value"]
    assert tags["description"] == "UniqueItems: true."
    assert tags["items"] == {"type": "string", "description": "Format: uri. MaxLength: 5000."}


def test_what_is_used_once_is_put_in_its_place_and_the_rest_stays_named():
    assert "$defs" not in sent(Owner.model_fields["pet"].annotation)
    colours = sent(Owner)
    assert list(colours["$defs"]) == ["Colour"]
    assert colours["properties"]["favourite"] == {
        "anyOf": [{"$ref": "#/$defs/Colour"}],
        "description": 'Default: "red".',
    }


def test_references_are_followed_wherever_they_lead_within_the_schema():
    raw = within(
        {
            "parent": {"$ref": "#"},
            "first/name": {"type": "string"},
            "second": {"$ref": "#/properties/first~1name"},
            "third": {"$ref": "#/definitions/alias"},
            "fourth": {"$ref": "#/definitions/alias"},
        },
        definitions={"alias": {"$ref": "#/definitions/real"}, "real": {"type": "integer"}, "unused": {"type": "null"}},
        required=["second"],
    )
    schema = sent(raw)
    assert schema["$defs"]["root"]["properties"]["second"] == {"type": "string"}
    assert schema["properties"]["parent"] == {"$ref": "#/$defs/root"}
    assert schema["properties"]["third"] == schema["properties"]["fourth"] == {"$ref": "#/$defs/alias"}
    assert schema["$defs"]["alias"] == {"type": "integer"}
    assert "unused" not in schema["$defs"]
    jsonschema.validate({"second": "a", "parent": {"second": "b", "fourth": 4}}, schema)


@pytest.mark.parametrize(
    ("raw", "property_a"),
    [
        ({"allOf": [{"type": "string"}, {"minLength": 3}]}, {"type": "string", "minLength": 3}),
        ({"allOf": [{"type": "integer"}], "description": "d"}, {"type": "integer", "description": "d"}),
        ({"oneOf": [{"type": "integer"}, False]}, {"anyOf": [{"type": "integer"}]}),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        (
            {"type": ["array", "null"], "items": {"type": "null"}},
            {"anyOf": [{"type": "array", "items": {"type": "null"}}, {"type": "null"}]},
        ),
        ({"enum": [1, "a", None]}, {"type": ["integer", "string", "null"], "enum": [1, "a", None]}),
        (
            {"type": "string", "anyOf": [{"maxLength": 2}, {"enum": ["abc"]}]},
            {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "string", "enum": ["abc"]}]},
        ),
        (True, {"type": ["object", "array", "string", "number", "boolean", "null"]}),
        ({"type": "object"}, {"type": "object", "additionalProperties": True}),
        ({"items": [{"type": "null"}], "type": "array"}, {"type": "array", "prefixItems": [{"type": "null"}]}),
    ],
)
def test_the_other_ways_to_say_it_are_put_into_the_common_words(raw, property_a):
    draft = "http://json-schema.org/draft-07/schema#"
    assert sent({"$schema": draft, **within({"a": raw})})["properties"]["a"] == property_a


def test_objects_said_in_parts_are_merged():
    raw = {
        "allOf": [
            within({"a": {"type": "integer"}, "b": {"minimum": 1}}, required=["a"]),
            {"$ref": "#/$defs/b"},
        ],
        "$defs": {"b": within({"b": {"type": "integer"}}, required=["b"])},
    }
    schema = sent(raw)
    assert schema["required"] == ["a", "b"]
    assert schema["properties"]["b"] == {"type": "integer", "minimum": 1}


CYCLE = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": {"$ref": "#/$defs/b"}}


class Broken(BaseModel):
    call: Callable[[int], int]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "None cannot be used as a schema"),
        (5, "5 cannot be used as a schema"),
        ("City", "'City' cannot be used as a schema"),
        (print, "print cannot be used"),
        (City(name="Bern"), "give a Pydantic model"),
        (Broken, "Broken cannot be used as a schema (Cannot generate a JsonSchema"),
        ({}, "it does not constrain the answer"),
        ({"name": "string"}, "it does not constrain the answer"),
        ({"type": "strng"}, "at type: 'strng'"),
        ({"type": "string", "pattern": "("}, "at pattern"),
        ({"type": "object", "default": object()}, "it is not JSON"),
        (within({"a": {"$ref": "https://example.org/a.json"}}), "points outside the schema"),
        ({"type": "object", "not": {"$ref": "https://example.org/a.json"}}, "points outside the schema"),
        (within({"a": {"$ref": "#/$defs/missing"}}), "'#/$defs/missing' has no target"),
        (within({"a": {"$ref": "#/type"}}), "does not point to a schema"),
        ({"$ref": "#"}, "is circular"),
        (within({"a": {"$ref": "#/properties/a"}}), "is circular"),
        (within({"a": {"$ref": "#/$defs/a"}}, **{"$defs": CYCLE}), "is circular"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a", "title": "A"}}}, "is circular"),
        (within({"a": {"allOf": [{"$ref": "#"}, {"type": "object"}]}}), "its references are circular"),
    ],
)
def test_what_cannot_be_a_schema_is_refused_in_one_sentence(source, said):
    with pytest.raises(LLMError) as caught:
        Schema.of(source)
    assert caught.value.category == "bad_request"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_reference_that_shows_only_when_it_is_used_is_refused_then_and_never_fetched():
    schema = Schema.of({"type": "object", "not": {"$dynamicRef": "https://example.org/a.json"}})
    with pytest.raises(LLMError, match="cannot be used"):
        schema.parse("{}")


def test_a_schema_cannot_be_changed_compares_by_what_it_says_and_can_be_pickled():
    raw = within({"a": {"type": "integer"}})
    schema, again = Schema.of(raw), Schema.of(copy.deepcopy(raw))
    assert (schema, hash(schema)) == (again, hash(again))
    raw["properties"]["a"]["type"] = schema.json_schema["type"] = "string"
    assert schema == again
    assert schema.parse('{"a": 1}') == {"a": 1}
    with pytest.raises(AttributeError):
        schema.name = "other"
    assert Schema.of(City) == pickle.loads(pickle.dumps(Schema.of(City)))
    assert Schema.of(City) != Schema.of(Node)
    assert Schema.of(schema) is schema


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (City, "City"),
        (list[City], "list_City"),
        ({"title": "Größe & Farbe", "type": "object"}, "Gr_e_Farbe"),
        ({"title": "漢字", "type": "object"}, "answer"),
        ({"title": "x" * 100, "type": "object"}, "x" * 64),
    ],
)
def test_names_are_such_that_servers_take_them(source, name):
    assert Schema.of(source).name == name


def test_limits_beside_a_reference_are_kept_with_those_of_its_target():
    raw = {
        "$defs": {"count": {"type": "integer", "minimum": 0}},
        "properties": {"people": {"$ref": "#/$defs/count", "maximum": 9}, "cats": {"$ref": "#/$defs/count"}},
    }
    properties = sent(raw)["properties"]
    assert (properties["people"]["minimum"], properties["people"]["maximum"]) == (0, 9)


def test_two_definitions_of_one_name_stay_two():
    raw = {
        "$defs": {"a": {"$defs": {"x": {"type": "integer"}}}, "b": {"$defs": {"x": {"type": "string"}}}},
        "properties": {
            name: {"$ref": f"#/$defs/{where}/$defs/x"}
            for name, where in [("p", "a"), ("q", "a"), ("r", "b"), ("s", "b")]
        },
    }
    made = sent(raw)
    kinds = {name: made["$defs"][made["properties"][name]["$ref"].rpartition("/")[2]]["type"] for name in "pqrs"}
    assert kinds == {"p": "integer", "q": "integer", "r": "string", "s": "string"}


def test_a_value_that_is_an_object_is_not_for_strict_mode_and_a_truth_is_a_boolean():
    assert (
        Schema.of({"properties": {"p": {"const": {"a": 1}}}}).response_format(native=True)["json_schema"]["strict"]
        is False
    )
    assert sent({"properties": {"p": {"const": True}}})["properties"]["p"]["type"] == "boolean"


def test_an_answer_nested_deeper_than_python_can_follow_does_not_fit():
    schema = Schema.of(
        {"$defs": {"list": {"items": {"$ref": "#/$defs/list"}}}, "type": "array", "items": {"$ref": "#/$defs/list"}}
    )
    with pytest.raises(SchemaMismatch, match="nested too deeply"):
        schema.parse("[" * 900 + "]" * 900)
