"""Values are stored as SQLAlchemy's types store them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc as sa_exc

from ipyllm.ledger.columns import CALLS
from ipyllm.ledger.tables import MIGRATIONS, calls, migrate
from ipyllm.ledger.upserts import Upserts

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ROWS = st.fixed_dictionaries(
    {
        "started_at": st.none() | st.datetimes(timezones=st.just(UTC)),
        "params": st.none()
        | st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.floats(0, 1))),
        "queue_s": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "refused": st.none() | st.booleans(),
        "request": st.none() | st.binary(),
        "model": st.none() | st.text(),
    }
)


@pytest.fixture(scope="module")
def connection():
    assert MIGRATIONS
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.connect() as connection:
        migrate(connection)
        yield connection
    engine.dispose()


@given(row=ROWS)
def test_a_row_is_stored_as_sqlalchemy_stores_it(connection, row):
    names = sa.text(f"select {', '.join(row)}, updated_at from calls where call_id = :id")
    connection.execute(sa.delete(calls))
    connection.execute(sa.insert(calls).values(call_id="theirs", updated_at=NOW, **row))
    Upserts("sqlite").execute(connection, [{"call_id": "ours", **row}], CALLS, NOW)
    ours, theirs = (connection.execute(names, {"id": each}).all() for each in ("ours", "theirs"))
    assert ours == theirs


@pytest.mark.parametrize(("name", "value"), [("refused", "yes"), ("queue_s", "soon"), ("params", {"a": object()})])
def test_a_value_of_another_kind_is_refused(connection, name, value):
    with pytest.raises(sa_exc.StatementError):
        Upserts("sqlite").execute(connection, [{"call_id": "ours", name: value}], CALLS, NOW)
