"""The tables: columns, schema versions, and the refusal to change unknown ones."""

from __future__ import annotations

import re
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from ipyllm.dataframes.usage import usage
from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import COLUMNS, TABLES, VOTES
from ipyllm.ledger.tables import MIGRATIONS, VERSION, migrate, tables
from ipyllm.pipeline import ledger_rows
from ipyllm.request import ChatRequest, Provenance


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_migrations_build_exactly_the_tables_that_are_queried(table):
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        built = sa.inspect(connection).get_columns(table.name)
        keys = sa.inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
    engine.dispose()
    # SQLite has no type for moments: it keeps them as text in a column it calls numeric.
    stored_as = {sa.DateTime: sa.Numeric}
    assert {c["name"]: c["type"]._type_affinity for c in built} == {
        c.name: stored_as.get(c.type._type_affinity, c.type._type_affinity) for c in tables[table.name].columns
    }
    assert sorted(c["name"] for c in built) == sorted([*table.writable, *table.private])
    assert keys == [table.key]


def test_the_documentation_explains_every_column_in_its_order():
    page = (Path(__file__).parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")
    section = page.partition("\n## Columns\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(COLUMNS)


@pytest.fixture
def of_version_1(path):
    """Lay a ledger where ``path`` is, as the first ipyllm wrote it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("v1.sql").read_text(encoding="utf-8"))
    return path


def test_a_ledger_of_version_1_is_upgraded_with_its_rows(of_version_1, call, sql):
    with Ledger(of_version_1) as ledger:
        ledger.put(call(experiment="e1", arm="terse", prompt_id="p7", repeat=2, warmup=False, status="ok"))
        ledger.put({"comparison": "c1", "outcome": "tie"}, VOTES)
        frame = usage(None, ledger=ledger)
        assert ledger.take_warning() is None
    assert sql("SELECT version FROM ledger_version") == [(VERSION,)]
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["status"]) == ["ok", "error", "interrupted", "ok"]
    old, new = frame.iloc[0], frame.iloc[3]
    assert old["response"] == "A naïve\nanswer; 日本語."
    assert (old["params"], old["tags"]) == ({"temperature": 0.5, "stop": ["a"]}, {"arm": "terse"})
    assert (old["ttft_s"], old["n_chunks"], old["cost_usd"]) == (0.25, 12, 2.6e-05)
    assert frame["response"][2] == "Once upon a"
    places = ["experiment", "arm", "prompt_id", "repeat", "warmup"]
    assert pd.isna(old[places]).all()
    assert list(new[places]) == ["e1", "terse", "p7", 2, False]
    assert sql("SELECT outcome FROM votes") == [("tie",)]


def test_an_upgrade_moves_estimates_out_of_the_columns_of_counts(of_version_1, sql):
    with closing(sqlite3.connect(of_version_1)) as connection, connection:
        connection.executemany(
            "INSERT INTO calls (call_id, status, input_tokens, output_tokens, usage_source) VALUES (?, 'ok', ?, ?, ?)",
            [("guessed", 27, 40, "estimated"), ("counted", 60, 30, "server")],
        )
    with Ledger(of_version_1) as ledger:
        frame = usage(None, ledger=ledger).set_index("call_id")
    columns = ["input_tokens", "output_tokens", "input_tokens_estimated", "output_tokens_estimated"]
    assert frame.loc["guessed", columns].fillna(-1).tolist() == [-1, -1, 27, 40]
    assert frame.loc["counted", columns].fillna(-1).tolist() == [60, 30, -1, -1]


@pytest.mark.thorough
def test_many_kernels_upgrade_one_ledger_at_once(of_version_1, python, sql):
    script = """
        import sys
        from ipyllm.ledger import Ledger
        with Ledger(sys.argv[1]) as ledger:
            ledger.put({"call_id": sys.argv[2], "status": "ok", "experiment": "e1"})
            assert ledger.flush(30)
            assert ledger.take_warning() is None
    """
    processes = [python(script, of_version_1, number) for number in range(6)]
    for process in processes:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    assert sql("SELECT version FROM ledger_version") == [(VERSION,)]
    assert sql("SELECT count(*), count(experiment) FROM calls") == [(3 + 6, 6)]


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(of_version_1, call, sql, monkeypatch):
    monkeypatch.setitem(MIGRATIONS, "sqlite", (*MIGRATIONS["sqlite"], ("CREATE TABLE calls (call_id TEXT)",)))
    with Ledger(of_version_1) as ledger:
        ledger.put(call(status="ok"))
        assert not ledger.flush()
        assert "table calls already exists" in ledger.take_warning()
        assert sql("SELECT version FROM ledger_version") == [(1,)]
        assert "experiment" not in {row[1] for row in sql("PRAGMA table_info(calls)")}
        monkeypatch.undo()
        assert ledger.flush(30)
    assert sql("SELECT count(*) FROM calls") == [(4,)]


def test_the_columns_of_a_request_become_those_of_its_row():
    asked = Provenance(origin="experiment", experiment="e1", arm="terse", prompt_id="p7", repeat=2, warmup=True)
    request = ChatRequest("openai/gpt", ({"role": "user", "content": "Hello"},), provenance=asked)
    row = ledger_rows.opening_row("01", request, datetime.now(UTC))
    for name in ("origin", "experiment", "arm", "prompt_id", "repeat", "warmup"):
        assert row[name] == getattr(asked, name)
    assert row.keys() <= COLUMNS.keys()


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

    assert re.search(r"a newer ipyllm wrote it in version 99, and this one knows only \d+", warning)
    assert path.read_bytes() == before
    assert sql("PRAGMA journal_mode") == [("delete",)]


def test_a_database_of_another_kind_is_refused_in_a_sentence(call):
    with Ledger("mysql://user:hunter2hunter2@localhost/calls") as ledger:
        ledger.put(call())
        assert not ledger.flush()
        warning = ledger.take_warning()
    assert "SQLite or PostgreSQL, not mysql" in warning
    assert "hunter2" not in warning + repr(ledger)
