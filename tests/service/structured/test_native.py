"""Tests that llama.cpp accepts every schema we send, and that the embedded model's answers fit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipyllm import LocalService
from ipyllm.structured import Schema, SchemaMismatch
from tests.service.structured.kinds import IDS, KINDS, City, Movie, Odd, Owner, Strict
from tests.service.structured.test_round_trip import shapes

pytestmark = pytest.mark.local_model

ODDITIES = [
    {"type": "object", "properties": {"": {"type": "null"}, 'a"b\\': {"type": "null"}, "é\n": {"type": "null"}}},
    {"type": "object", "properties": {"parent": {"$ref": "#"}}, "required": []},
    {"type": "object", "properties": {"a": True, "b": False, "c": {"not": {"type": "string"}}}},
    {"allOf": [{"type": "object", "properties": {"a": {"const": 1}}}, {"properties": {"b": {"enum": ["x", None]}}}]},
    {"type": ["object", "null"], "properties": {"a": {"type": "boolean"}}},
    {"type": "string", "maxLength": 100_000, "pattern": "^(?!x)é+$"},
    {
        "type": "array",
        "items": {"type": "integer", "multipleOf": 5, "minimum": -10, "maximum": 10**30},
        "maxItems": 2000,
    },
    {"type": "array", "prefixItems": [{"type": "null"}], "items": False, "uniqueItems": True},
]


def write(schema, prompt="Make up an example.", *, max_tokens, **params):
    params = {"temperature": 0, "seed": 1, **params}
    return LocalService(max_retries=0).chat(
        prompt, response_format=schema.response_format(), max_tokens=max_tokens, **params
    )


@pytest.fixture(scope="module")
def written():
    """One response for each type, four at a time: as many as the server answers together."""
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(write, Schema.of(kind), max_tokens=60) for kind, _, _ in KINDS]
        wait(calls)
    return dict(zip(IDS, calls, strict=True))


@pytest.mark.thorough
@pytest.mark.timeout(300)  # the first one waits for all
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for (kind, _, _), name in zip(KINDS, IDS, strict=True)], ids=IDS
)
def test_what_the_embedded_model_writes_in_native_mode_fits(kind, name, written):
    if kind is not Odd:  # its pattern is described, not enforced
        check_fit(Schema.of(kind), written[name].result())


def check_fit(schema, response):
    """An answer fits, unless it was cut off, which is then said, or has a date that no grammar can rule out."""
    mismatch = mismatch_of(schema, response.content)
    allowed = "ends before" if response.finish_reason == "length" else "day value is outside expected range"
    assert mismatch is None or allowed in mismatch


def mismatch_of(schema, text):
    try:
        schema.parse(text)
    except SchemaMismatch as exc:
        return str(exc)
    return None


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [City, Strict, Owner, Movie], ids=lambda kind: kind.__name__)
def test_hot_answers_fit_too(kind):
    schema = Schema.of(kind)
    check_fit(schema, write(schema, max_tokens=150, temperature=1.5))


@pytest.mark.parametrize("raw", ODDITIES, ids=str)
def test_odd_schemas_are_taken(raw):
    assert write(Schema.of(raw), max_tokens=4).finish_reason in {"length", "stop"}


@pytest.mark.thorough
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
@given(shape=shapes, as_type=st.booleans())
def test_any_schema_of_the_usual_words_is_taken(shape, as_type):
    kind, raw, _ = shape
    schema = Schema.of(kind if as_type and kind is not None else raw)
    assert write(schema, max_tokens=1).finish_reason == "length"


def test_json_mode_with_the_instructions_gives_json():
    schema = Schema.of(Movie)
    response = LocalService(max_retries=0).chat(
        "Which film from 1979 has an alien in it?",
        system=schema.instructions(),
        response_format=schema.response_format(native=False),
        max_tokens=60,
        temperature=0,
    )
    assert response.content.strip().startswith("{")
