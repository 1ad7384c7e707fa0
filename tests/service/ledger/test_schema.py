"""The table: its columns, its versions, and its refusal to touch what it does not know."""

from __future__ import annotations

import re
import sqlite3
import stat
from contextlib import closing

import sqlalchemy as sa

from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import COLUMNS, PRIVATE
from ipyllm.ledger.schema import VERSION, calls, migrate


def test_the_migrations_build_exactly_the_table_that_is_queried():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        built = sa.inspect(connection).get_columns("calls")
    engine.dispose()
    # SQLite has no type for moments: it keeps them as text in a column it calls numeric.
    stored_as = {sa.DateTime: sa.Numeric}
    assert [(c["name"], c["type"]._type_affinity) for c in built] == [
        (c.name, stored_as.get(c.type._type_affinity, c.type._type_affinity)) for c in calls.columns
    ]
    assert [c["name"] for c in built] == [*COLUMNS, *PRIVATE]


def test_migrating_twice_changes_nothing():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        migrate(connection)
        assert connection.exec_driver_sql("SELECT version FROM ledger_version").all() == [(VERSION,)]
    engine.dispose()


def test_a_new_ledger_is_for_its_owner_only(ledger, path, call):
    ledger.put(call())
    assert ledger.flush()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name("ledger.sqlite-wal").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_kernels_share_it_without_locking_each_other_out(ledger, sql, call):
    ledger.put(call())
    assert ledger.flush()
    assert sql("PRAGMA journal_mode") == [("wal",)]


def test_a_ledger_of_a_newer_version_is_refused_and_not_touched(path, sql, call):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE ledger_version (version INTEGER)")
        connection.execute("INSERT INTO ledger_version VALUES (99)")
    before = path.read_bytes()

    with Ledger(path) as ledger:
        ledger.put(call(model="openai/kept"))
        assert not ledger.flush()
        warning = ledger.take_warning()
        assert [row[7] for row in ledger.read()] == ["openai/kept"]

    assert re.search(r"written by a newer ipyllm, as version 99 where this one knows \d+", warning)
    assert path.read_bytes() == before
    assert sql("PRAGMA journal_mode") == [("delete",)]


def test_a_database_of_another_kind_is_refused_in_a_sentence(call):
    with Ledger("mysql://user:hunter2hunter2@localhost/calls") as ledger:
        ledger.put(call())
        assert not ledger.flush()
        warning = ledger.take_warning()
    assert "SQLite or PostgreSQL, not in mysql" in warning
    assert "hunter2" not in warning + repr(ledger)
