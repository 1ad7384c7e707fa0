"""Values that are damaged in the file: they cost no other value and no other row, and the rows are named."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from ipyllm.dataframes.filters import read_frame
from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import COLUMNS, VOTES
from ipyllm.ledger.query import Query, VoteQuery
from tests.service.ledger.flipped import call_id, row

_TEXTS = [name for name, kind in COLUMNS.items() if kind == "text" and name != "call_id"]


def damage(path, column, stored, number=1):
    """Store ``stored``, an SQL expression, in one row, as a damaged file would have it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE calls SET {column} = {stored} WHERE call_id = ?", [call_id(number)])


@pytest.fixture
def three(path):
    with Ledger(path) as ledger:
        for number in range(3):
            ledger.put(row(number))
        assert ledger.flush(30)
        yield ledger


def read(ledger, **query):
    return [dict(zip(COLUMNS, values, strict=True)) for values in ledger.read(Query(**query))]


@pytest.mark.parametrize("column", _TEXTS)
def test_a_byte_that_is_not_utf8_hides_nothing(three, path, column):
    damage(path, column, "CAST(x'636166e9' AS TEXT)")
    rows = read(three)
    assert [each["call_id"] for each in rows] == [call_id(0), call_id(1), call_id(2)]
    assert rows[1][column] == "caf�"
    assert row(0).items() <= rows[0].items(), "others are as they were"
    said = three.take_warning()
    assert said == (
        f"The ledger at {path} has damaged values in 1 call ({call_id(1)}). "
        "Bytes that are no text are shown as �, other values as missing."
    )


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        ("started_at", "CAST(x'323032e9' AS TEXT)"),
        ("started_at", "'no time'"),
        ("started_at", "7"),
        ("started_at", "'0001-01-01 00:00:00+05:00'"),  # in UTC, before the first year
        ("params", """'{"temperature": '"""),
        ("tags", "CAST(x'7be97d' AS TEXT)"),
        ("tags", "3.5"),
        ("tags", "replace(hex(zeroblob(50000)), '00', '[')"),
        ("warmup", "2"),
        ("ttft_s", "'fast'"),
        ("ttft_s", "x'00'"),
        ("input_tokens", "'many'"),
        ("input_tokens", "1.5"),
        ("model", "x'e9'"),
        ("prompt", "x'e9'"),
    ],
)
def test_a_value_of_another_kind_is_missing_and_hides_nothing(three, path, column, stored):
    damage(path, column, stored)
    rows = {each["call_id"]: each for each in read(three)}
    assert len(rows) == 3
    assert rows[call_id(1)][column] in (None, "�")
    assert call_id(1) in three.take_warning()
    assert len(read_frame(Query(), three, lambda _: None)) == 3


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_time_of_another_zone_is_the_same_moment(three, path, is_damaged):
    damage(path, "started_at", "'2026-05-04 03:02:01+02:00'")
    if is_damaged:  # read value by value
        damage(path, "input_tokens", "'many'")
    (found,) = [each for each in read(three) if each["call_id"] == call_id(1)]
    assert found["started_at"] == datetime(2026, 5, 4, 1, 2, 1, tzinfo=UTC)
    assert (three.take_warning() is not None) == is_damaged


def test_filters_and_limits_hold_where_json_is_damaged(three, path):
    damage(path, "tags", "'{'")
    assert [each["call_id"] for each in read(three, tags={"arm": "a"})] == [call_id(0), call_id(2)]
    assert [each["call_id"] for each in read(three, tags={"arm": "a"}, limit=1)] == [call_id(2)]
    assert [each["call_id"] for each in read(three, limit=2)] == [call_id(1), call_id(2)]


def test_a_damaged_row_of_a_running_call_hides_nothing(path, call):
    with Ledger(path) as ledger:
        ledger.put(call())
        ledger.put(call(status="ok"))
        assert ledger.flush(30)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE calls SET updated_at = CAST(x'e9' AS TEXT), writer_host = CAST(x'e9' AS TEXT)")
        assert len(ledger.read()) == 2
    with Ledger(path) as ledger:
        assert len(ledger.read()) == 2


def test_a_damaged_vote_hides_nothing(path):
    with Ledger(path) as ledger:
        for name in "ab":
            ledger.put({"comparison": name, "vote_id": name, "outcome": "tie", "arms": {"x": None}}, VOTES)
        assert ledger.flush(30)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE votes SET outcome = CAST(x'e9' AS TEXT), arms = '{' WHERE comparison = 'a'")
        assert [vote[VoteQuery().columns.index("outcome")] for vote in ledger.read(VoteQuery())] == ["�", "tie"]
        assert "1 vote (a)" in ledger.take_warning()


@pytest.mark.thorough
def test_a_large_read_names_the_row_too(path, monkeypatch):
    pytest.importorskip("adbc_driver_sqlite")
    monkeypatch.setattr("ipyllm.ledger.arrow_read.MIN_ROWS", 3)
    for column, stored in [
        ("response", "CAST(x'e9' AS TEXT)"),
        ("tags", "'{'"),
        ("started_at", "'x'"),
        ("repeat", "'x'"),
    ]:
        with Ledger(path) as ledger:
            for number in range(3):
                ledger.put(row(number))
            assert ledger.flush(30)
            damage(path, column, stored)
            said = []
            assert len(read_frame(Query(), ledger, said.append)) == 3
            assert call_id(1) in said[0]
        path.unlink()
