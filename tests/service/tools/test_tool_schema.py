"""Tests the description of Python functions for a model, and which functions cannot be tools."""

from __future__ import annotations

import functools
import json
import math
import sqlite3  # noqa: TC003 - a hint that is resolved at run time
from datetime import UTC, date, datetime

import pytest

from ipyllm import LLMError
from ipyllm.tools import Tool, tools_by_name
from tests.service.tools import kinds

VALUES = [
    (kinds.takes_a_literal, '"a"', "a", {"enum": ["a", "b"], "type": "string"}),
    (kinds.takes_an_enum, '"red"', kinds.Colour.RED, None),
    (kinds.takes_an_optional, "null", None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    (kinds.takes_a_list, '[1, "2"]', [1, 2], {"items": {"type": "integer"}, "type": "array"}),
    (kinds.takes_a_dict, '{"a": 1}', {"a": 1.0}, {"additionalProperties": {"type": "number"}, "type": "object"}),
    (kinds.takes_a_dataclass, '{"x": 1}', kinds.Point(1.0), None),
    (kinds.takes_a_model, '{"name": "Ada"}', kinds.Person(name="Ada"), None),
    (
        kinds.takes_models,
        '[{"name": "Ada", "born": "1815-12-10"}]',
        [kinds.Person(name="Ada", born=date(1815, 12, 10))],
        None,
    ),
    (
        kinds.takes_a_datetime,
        '"2026-11-23T07:00:00Z"',
        datetime(2026, 11, 23, 7, tzinfo=UTC),
        {"format": "date-time", "type": "string"},
    ),
    (kinds.takes_a_tuple, '[1, "a"]', (1, "a"), None),
    (kinds.takes_a_set, '["a", "a"]', {"a"}, None),
    (kinds.takes_a_bounded_number, "3", 3, {"description": "Not zero.", "minimum": 1, "type": "integer"}),
    (kinds.takes_anything, '{"a": [1]}', {"a": [1]}, {}),
]


@pytest.mark.parametrize(("function", "written", "taken", "schema"), VALUES, ids=lambda v: getattr(v, "__name__", ""))
def test_what_a_model_writes_arrives_as_the_type_of_the_hint(function, written, taken, schema):
    tool = Tool.of(function)
    read = tool.arguments.model_validate_json(f'{{"value": {written}}}')
    assert read.p0 == taken
    assert type(read.p0) is type(taken)
    assert schema is None or tool.parameters["properties"]["value"] == schema
    assert json.loads(json.dumps(tool.as_openai())) == tool.as_openai()


@pytest.mark.parametrize("function", [kinds.numpy_style, kinds.google_style, kinds.sphinx_style])
def test_three_styles_of_docstrings_say_the_same(function):
    tool = Tool.of(function)
    assert tool.description == "Forecast of the weather.\n\nIt comes from a satellite."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Its name, in English."},
            "days": {"type": "integer", "description": "How far ahead.", "default": 1},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "text", ["Look.\n\n:param", "Look.\n\n:param a b c d: x", "Look.\n\nArgs:\n x", "@param", "Args:"]
)
def test_a_docstring_in_no_style_is_the_description_as_it_stands(text):
    def look(at: int) -> int:
        return at

    look.__doc__ = text
    assert tools_by_name([look])["look"].description == text


def test_the_dict_is_the_one_of_the_protocol():
    assert Tool.of(kinds.takes_an_optional, name="half").as_openai() == {
        "type": "function",
        "function": {
            "name": "half",
            "description": "",
            "parameters": {
                "type": "object",
                "properties": {"value": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "required": ["value"],
                "additionalProperties": False,
            },
        },
    }


def test_a_hint_says_more_than_the_docstring():
    def takes(value: kinds.Annotated[int, kinds.Field(description="From the hint.")]):
        """Take it.

        :param value: From the docstring.
        """

    takes.__annotations__["value"] = kinds.Annotated[int, kinds.Field(description="From the hint.")]
    assert Tool.of(takes).parameters["properties"]["value"]["description"] == "From the hint."


def test_names_that_pydantic_keeps_for_itself_are_names_like_any_other():
    tool = Tool.of(kinds.takes_reserved_names)
    assert list(tool.parameters["properties"]) == ["schema", "model_config", "_private", "json"]
    assert tool.parameters["required"] == ["schema", "model_config", "_private"]


def test_a_result_type_that_is_nowhere_does_not_matter():
    assert list(Tool.of(kinds.has_a_result_that_is_nowhere).parameters["properties"]) == ["value"]


def test_methods_partials_and_objects_are_tools():
    class Shop:
        """A shop."""

        def price(self, item: str) -> float:
            """Price of an item."""

        def __call__(self, item: str, *, count: int = 1) -> float:
            """Buy something."""

        async def later(self, item: str) -> float: ...

        @classmethod
        def named(cls, name: str) -> Shop: ...

        @staticmethod
        def sum(a: int, b: int) -> int: ...

    shop = Shop()
    price, buy = Tool.of(shop.price), Tool.of(shop, name="buy")
    assert (price.name, price.description, list(price.parameters["properties"])) == (
        "price",
        "Price of an item.",
        ["item"],
    )
    assert (buy.description, list(buy.parameters["properties"])) == ("Buy something.", ["item", "count"])
    assert Tool.of(shop).name == "Shop"
    assert list(Tool.of(Shop.named).parameters["properties"]) == ["name"]
    assert list(Tool.of(shop.sum).parameters["properties"]) == ["a", "b"]
    assert Tool.of(shop.later).is_async
    assert not price.is_async
    for bound in (functools.partial(shop, "apple"), functools.partial(shop, count=2)):
        tool = Tool.of(bound)
        assert tool.name == "Shop"
        assert len(tool.parameters["properties"]) == 1, "what is bound is hidden from the model"
    later = Tool.of(functools.partial(functools.partial(shop.later), item="apple"))
    assert (later.name, later.is_async, later.parameters["properties"]) == ("later", True, {})


def test_decorated_functions_show_what_they_wrap():
    @functools.cache
    def area(width: float, height: float = 1) -> float:
        """Area of a rectangle."""

    @functools.wraps(kinds.takes_a_model)
    def logged(*args, **kwargs): ...

    assert (Tool.of(area).name, Tool.of(area).parameters["required"]) == ("area", ["width"])
    assert Tool.of(logged).parameters["properties"]["value"] == {"$ref": "#/$defs/Person"}


def test_a_default_that_json_cannot_write_is_left_out():
    def takes(value: int = 1, other: object = object(), names: list[str] = []): ...  # noqa: B006

    takes.__annotations__ = {"value": int, "names": list[str]}
    tool = Tool.of(takes)
    assert tool.parameters["properties"]["other"] == {}
    assert "required" not in tool.parameters


def _yields(n: int):
    yield n


def _takes_a_connection(query: str, connection: sqlite3.Connection): ...


def _größe(n: int): ...  # noqa: PLC2401 - as people may name it


class _Thing:
    def method(self, n: int): ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x, "A lambda has no name"),
        (math.sqrt, "'x' is positional-only"),
        (functools.partial(lambda a, b, /: a, 1), "A lambda has no name"),
        (lambda *numbers: 0, "A lambda"),
        (max, "'max' cannot be a tool: "),
        (print, r"\*args has no names"),
        (kinds.has_a_parameter_that_is_nowhere, "'Result' of 'value' does not resolve"),
        (_takes_a_connection, "cannot write its parameter 'connection', a Connection, as JSON"),
        (_yields, "it is a generator; return a list"),
        (_größe, "'_größe' cannot be the name of a tool"),
        (_Thing.method, "it needs a self"),
        (_Thing, "A tool is a function, not the class _Thing"),
        ("weather", "A tool is a function, not 'weather'"),
        ({"type": "function"}, "A tool is a function"),
        (None, "A tool is a function, not None"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_one_sentence(function, said):
    with pytest.raises(LLMError, match=said) as caught:
        Tool.of(function)
    assert caught.value.category == "bad_request"
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_lambda_with_a_name_is_a_tool():
    assert Tool.of(lambda x: x, name="same").name == "same"


@pytest.mark.parametrize("timeout", [0, -1, "5", True, float("nan")])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(LLMError, match="timeout must be a number of seconds above 0"):
        Tool.of(kinds.takes_anything, timeout=timeout)


def test_tools_by_name_takes_functions_and_tools_and_no_name_twice():
    by_name = tools_by_name([kinds.takes_a_list, Tool.of(kinds.takes_a_list, name="other", timeout=3)])
    assert list(by_name) == ["takes_a_list", "other"]
    assert by_name["other"].timeout == 3
    with pytest.raises(LLMError, match="two tools named 'other'"):
        tools_by_name([*by_name.values(), Tool.of(kinds.takes_a_dict, name="other")])
