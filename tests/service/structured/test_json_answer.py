"""Tests how answers are parsed: text around the JSON is ignored, and error messages say what is wrong."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipyllm.structured import Schema, SchemaMismatch
from tests.service.structured.kinds import IDS, KINDS, Aliased, Cat, City, Dog, Node

BERN = '{"name": "Bern", "people": 3, "nickname": null}'
ANY_KIND = [Schema.of(kind) for kind, _, _ in KINDS]
RAW = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"$ref": "#"}, "day": {"type": "string", "format": "date"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(("kind", "answer", "value"), KINDS, ids=IDS)
def test_every_kind_is_read_back(kind, answer, value):
    schema = Schema.of(kind)
    read = schema.parse(json.dumps(answer))
    assert read == value
    assert type(read) is type(value)
    if schema.wrapped:
        assert schema.parse(json.dumps(answer["value"])) == value, "an answer without the wrapping is understood"


@pytest.mark.parametrize(
    "text",
    [
        BERN,
        f"  \n{BERN}\n ",
        f"\ufeff{BERN}",
        f"```json\n{BERN}\n```",
        f"```\n{BERN}\n```",
        f"```{BERN}```",
        f"Sure! Here is the city you asked for:\n\n```json\n{BERN}\n```\n\nLet me know if {{you}} need [more].",
        f'<think>The user wants {{\'name\': ...}}, maybe {{"name": "Basel"}}?</think>\n{BERN}',
        f'The user wants {{"name": … }}\n</think>\n\n{BERN}',
        f"In the range [0, 1) of f(x) = {{1, 2}} lies [1]: {BERN} [2].",
        f'An example is {{"name": "Rom"}}; my answer is {BERN}.',
        json.dumps(json.loads(BERN), indent=4),
    ],
)
def test_fences_thoughts_and_prose_around_the_answer_are_left_out(text):
    assert Schema.of(City).parse(text) == City(name="Bern", people=3)


def test_a_line_break_in_a_string_is_taken_as_it_is_meant():
    assert Schema.of(City).parse('{"name": "Bern\n(CH)"}').name == "Bern\n(CH)"


def test_a_list_in_prose_is_read_as_a_whole():
    assert Schema.of(list[int]).parse("The numbers are [1, 2, 3].") == [1, 2, 3]
    assert Schema.of(list[int]).parse("```json\n[1]\n```") == [1]


def test_an_object_with_a_value_of_its_own_is_not_taken_for_the_wrapping():
    raw = {"anyOf": [{"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}]}
    assert Schema.of(raw).parse('{"value": 1}') == {"value": 1}
    assert Schema.of(raw).parse('{"value": {"value": 1}}') == {"value": 1}


def test_names_are_understood_where_the_alias_was_meant():
    ada = Schema.of(Aliased).parse('{"given_name": "Ada", "family-name": "Lovelace"}')
    assert (ada.given_name, ada.family_name) == ("Ada", "Lovelace")


@pytest.mark.parametrize(
    "text",
    [
        '{"cities": [{"name": "Bern"}, {"name": "Basel"}',
        '{"cities": [{"name": "Bern"}, {"name": "Basel"}, ',
        'Here: [{"name": "Bern"}, ',
        '{"name": "Bern',
        '{"name',
        'Here: {"name": "Bern", ',
        '{"cities": [{"name": "Bern"}, {name: "Basel"}]}',
        '[{"name": "Bern"}, {"name": "Basel"}]',
    ],
)
def test_a_part_of_an_answer_never_passes_for_the_whole(text):
    with pytest.raises(SchemaMismatch):
        Schema.of(City).parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The answer is empty."),
        ("<think>Hm.</think>", "The answer is empty."),
        ("I am sorry, I cannot.", "The answer contains no JSON; it begins with 'I am sorry, I cannot'."),
        ('{"name": "Bern", ', "The answer ends before its JSON is complete."),
        ('{"name": "Bern', "The answer ends before its JSON is complete."),
        (
            '{"name": "Bern", people: 3}',
            'expecting property name enclosed in double quotes at line 1, column 18, after \'{"name": "Bern", \'',
        ),
        ("{'name': 'Bern'}", "The answer contains no JSON"),
        ('{"name": "Bern", "people": "many"}', "City: people: Input should be a valid integer"),
        ('{"name": "Bern", "people": "many"}', '(it is "many")'),
        ('{"name": "Bern", "people": -1}', "people: Input should be greater than or equal to 0 (it is -1)."),
        ("{}", "The answer does not fit City: name: Field required."),
        ("[]", "The answer does not fit City: Input should be an object."),
        ('{"name": "Bern", "people": NaN}', "such as NaN or 1e999"),
        ('{"name": "Bern", "people": 1e999}', "such as NaN or 1e999"),
        ('{"name": "\\ud800"}', "half a character"),
        ('{"name": "B", "people": ' + "1" * 5000 + "}", "cannot be read"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, said):
    with pytest.raises(SchemaMismatch) as caught:
        Schema.of(City).parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_place_of_a_problem_is_named():
    with pytest.raises(SchemaMismatch, match=re.escape("children[1].value: Field required")):
        Schema.of(Node).parse('{"value": 1, "children": [{"value": 2}, {}]}')
    with pytest.raises(SchemaMismatch, match=re.escape("does not fit answer: b.a: 'x' is not of type 'integer'.")):
        Schema.of(RAW).parse('{"a": 1, "b": {"a": "x"}}')
    with pytest.raises(SchemaMismatch, match=re.escape("day: '2026-02-31' is not a 'date'")):
        Schema.of(RAW).parse('{"a": 1, "day": "2026-02-31"}')


def test_of_many_problems_the_first_are_told_and_the_rest_counted():
    text = json.dumps([{"lives": "x"}] * 20)
    with pytest.raises(SchemaMismatch, match="and 35 more") as caught:
        Schema.of(list[Cat]).parse(text)
    assert len(str(caught.value)) < 1000


def test_a_key_in_an_answer_does_not_reach_the_message():
    with pytest.raises(SchemaMismatch) as caught:
        Schema.of(int).parse('"sk-proj-abcdefghijklmnop"')
    assert "abcdef" not in str(caught.value)


def test_the_model_is_told_what_was_wrong_and_what_is_wanted():
    schema = Schema.of(City)
    with pytest.raises(SchemaMismatch) as caught:
        schema.parse('{"people": 3}')
    wrong, correction = schema.repair_messages('{"people": 3}', caught.value)
    assert wrong == {"role": "assistant", "content": '{"people": 3}'}
    assert correction["role"] == "user"
    assert "name: Field required" in correction["content"]
    assert schema.instructions() in correction["content"]
    assert schema.repair_messages(" ", caught.value)[0]["content"], "some servers refuse an empty message"
    assert len(schema.repair_messages("x" * 100_000, caught.value)[0]["content"]) < 10_000


texts = st.text() | st.text(alphabet='{}[]",:`\\ \n0eE+-.tfnabA\ud800', max_size=60)
pieces = st.sampled_from(
    [
        '{"',
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "```json\n",
        "```",
        "</think>",
        '"value"',
        '"name"',
        "1",
        "null",
        "NaN",
        " ",
        "\n",
        BERN,
    ]
)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def read_or_refuse(schema, text):
    with contextlib.suppress(SchemaMismatch):
        schema.parse(text)


@given(text=texts | st.lists(pieces, max_size=30).map("".join), schema=st.sampled_from([*ANY_KIND, Schema.of(RAW)]))
@example(text='{"a": 1, "b": ' * 300 + '{"a": 1}' + "}" * 300, schema=Schema.of(RAW))
def test_whatever_the_text_only_a_mismatch_is_raised(text, schema):
    read_or_refuse(schema, text)


@given(value=values, schema=st.sampled_from(ANY_KIND))
def test_whatever_the_json_only_a_mismatch_is_raised(value, schema):
    read_or_refuse(schema, json.dumps(value))


@pytest.mark.parametrize("part", ["{", "[", "[1,", '{"', '["', "{}", "[0, ", "```json\n", "{ ", "<think>", '{"a":1}'])
def test_a_long_answer_is_read_in_linear_time(part):
    text = part * (300_000 // len(part))
    began = time.thread_time()
    with pytest.raises(SchemaMismatch):
        Schema.of(Dog).parse(text)
    assert time.thread_time() - began < 2
