"""The ledger in a real PostgreSQL server: the same guarantees as with SQLite, even when the server stops."""

from __future__ import annotations

import logging
import subprocess
import time
import warnings
from datetime import UTC, datetime, timedelta
from itertools import count

import pandas as pd
import pytest
import sqlalchemy as sa

from ipyllm import cast_vote, prune, usage, votes
from ipyllm.ledger import Ledger, writer
from ipyllm.ledger.columns import TABLES
from ipyllm.ledger.ids import kernel_id
from ipyllm.ledger.tables import MIGRATIONS, VERSION, tables

pytest.importorskip("psycopg", reason="PostgreSQL needs ipyllm[postgres]")

from .server import PASSWORD, Server, programs
from .test_claims import check_killed, check_many
from .test_reservations import check_spending

pytestmark = pytest.mark.skipif(
    programs() is None, reason="no PostgreSQL server here: Debian's package postgresql has it"
)

_databases = count(1)


@pytest.fixture(scope="module")
def server():
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(server):
    name = f"calls{next(_databases)}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
def url(server, database):
    return server.url(database)


@pytest.fixture
def ledger(url):
    with Ledger(url) as ledger:
        yield ledger


@pytest.fixture
def sql(server, database):
    def ask(statement):
        with server.connect(database) as connection:
            return connection.execute(statement).fetchall()

    return ask


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_migrations_build_the_same_tables_there(ledger, call, url, table):
    ledger.put(call())
    assert ledger.flush(30)
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    built = {column["name"]: column["type"] for column in sa.inspect(engine).get_columns(table.name)}
    engine.dispose()
    assert {name: kind._type_affinity for name, kind in built.items()} == {
        column.name: column.type._type_affinity for column in tables[table.name].columns
    }


def test_a_ledger_of_version_1_is_upgraded_there_too(server, database, url, call, sql):
    with server.connect(database) as connection:
        for statement in MIGRATIONS["postgresql"][0]:
            connection.execute(statement)
        connection.execute("CREATE TABLE ledger_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO ledger_version VALUES (1)")
        connection.execute("""INSERT INTO calls (call_id, started_at, tags) VALUES ('old', now(), '{"arm": "a"}')""")
    with Ledger(url) as ledger:
        ledger.put(call(call_id="new", experiment="e1"))
        assert ledger.flush(30)
        assert usage(None, ledger=ledger)["tags"][0] == {"arm": "a"}
    assert sql("SELECT version FROM ledger_version") == [(VERSION,)]
    assert sql("SELECT call_id, experiment FROM calls ORDER BY started_at") == [("old", None), ("new", "e1")]


def test_a_call_is_written_when_it_starts_and_when_it_ends(ledger, sql, call):
    row = call(response="So far")
    ledger.put(row)
    assert ledger.flush(30)
    assert sql("SELECT status, response, cost_usd FROM calls") == [("running", "So far", None)]
    ledger.put({"call_id": row["call_id"], "status": "ok", "response": "a\0b \ud83d", "cost_usd": 0.25, "warmup": True})
    assert ledger.flush(30)
    assert sql("SELECT status, response, cost_usd, warmup FROM calls") == [("ok", "a\ufffdb \ufffd", 0.25, True)]


def test_the_frame_is_the_one_that_a_file_gives_whatever_is_asked(ledger, path, call):
    now = datetime.now(UTC)
    rows = [
        call(call_id="old", started_at=now - timedelta(days=2), status="ok", experiment="e1", warmup=False, n_chunks=3),
        call(call_id="b", model="openai/b", status="error", tags={"arm": "b", 'q"uote': "1", "it's": "%s"}, ttft_s=0.5),
        call(call_id="when?", started_at=None, status="ok", params={"stop": ["a", None]}),
        call(call_id="none", status="ok", tags=None, origin="experiment"),
    ]
    with Ledger(path) as file:
        for row in rows:
            ledger.put(row)
            file.put(row)
        for conditions in (
            {},
            {"text": False},
            {"since": timedelta(days=1)},
            {"until": timedelta(days=1)},
            {"model": "openai/b"},
            {"status": ["ok", "error"], "limit": 2},
            {"tags": {"arm": "a"}},
            {"tags": {"it's": "%s", 'q"uote': "1"}},
            {"experiment": "e1"},
            {"origin": "experiment"},
        ):
            there, here = usage(None, ledger=ledger, **conditions), usage(None, ledger=file, **conditions)
            pd.testing.assert_frame_equal(there, here)
            assert len(here) > 0


def test_votes_and_pruning_work_there_too(ledger, call):
    for outcome in ("a", "tie"):
        cast_vote({"a": None, "b": None}, outcome, comparison="c1", ledger=ledger)
        assert ledger.flush(30)
    assert list(votes(ledger=ledger)["outcome"]) == ["tie"]
    ledger.put(call(started_at=datetime.now(UTC) - timedelta(days=100), status="ok"))
    ledger.put(call(started_at=datetime.now(UTC) - timedelta(days=100)))
    ledger.put(call(started_at=datetime.now(UTC) - timedelta(days=40), status="ok"))
    assert prune(timedelta(days=90), keep_text=timedelta(days=30), ledger=ledger) == (1, 0, 1)
    assert len(usage(None, ledger=ledger)) == 2


@pytest.mark.thorough
def test_many_kernels_begin_it_at_once_and_lose_nothing(python, url, sql):
    script = """
        import sys
        from ipyllm.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        for number in range(500):
            call_id = f"{sys.argv[2]}-{number}"
            ledger.put({"call_id": call_id, "status": "running", "kernel_id": sys.argv[2]})
            ledger.put({"call_id": call_id, "status": "ok"})
        assert ledger.flush(60)
        assert ledger.close()
        assert ledger.take_warning() is None
    """
    processes = [python(script, url, number) for number in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    assert sql("SELECT kernel_id, count(*) FROM calls WHERE status = 'ok' GROUP BY 1 ORDER BY 1") == [
        (str(number), 500) for number in range(4)
    ]


def test_a_row_that_the_server_refuses_costs_no_other_row(ledger, sql, call, caplog, server, database):
    ledger.put(call())
    assert ledger.flush(30)
    with server.connect(database) as connection:
        connection.execute("ALTER TABLE calls ADD CHECK (model <> 'poison')")
    rows = [call(status="ok") for _ in range(20)]
    rows[7]["model"] = "poison"
    for row in rows:
        ledger.put(row)
    with caplog.at_level(logging.ERROR, "ipyllm.ledger"):
        assert ledger.flush(30)
    assert sql("SELECT count(*) FROM calls") == [(20,)]
    assert f"refused the row of call {rows[7]['call_id']}" in caplog.text


def test_rows_wait_in_memory_while_the_server_is_gone_and_one_sentence_says_so(server, ledger, sql, call, monkeypatch):
    monkeypatch.setattr("ipyllm.ledger.database.BUSY_S", 2.0)
    monkeypatch.setattr(writer, "_RETRY_S", (0.05, 0.1))
    running = call(kernel_id=kernel_id())
    ledger.put(running)
    assert ledger.flush(30)
    server.stop()
    try:
        ledger.put({"call_id": running["call_id"], "status": "ok", "response": "Still here."})
        ledger.put(call(kernel_id=kernel_id(), status="ok"))
        with pytest.warns(UserWarning, match="cannot be written") as said:
            frame = usage(ledger=ledger)
        assert list(frame["status"]) == ["ok", "ok"]
        assert len(said) == 1
        assert PASSWORD not in str(said[0].message) + repr(ledger)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(usage(ledger=ledger)) == 2
    finally:
        server.start()
    give_up = time.monotonic() + 60
    while not ledger.flush():
        assert time.monotonic() < give_up
    assert sql("SELECT count(*), count(response) FROM calls WHERE status = 'ok'") == [(2, 1)]
    assert ledger.take_warning() is None


def test_a_killed_kernel_leaves_an_interrupted_row_there_too(python, url, ledger, sql):
    process = python(
        """
        import sys, time
        from ipyllm.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        ledger.put({"call_id": "victim", "status": "running", "response": "Once upon a"})
        assert ledger.flush(30)
        print("written", flush=True)
        time.sleep(60)
        """,
        url,
    )
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    assert list(usage(None, ledger=ledger)["status"]) == ["interrupted"]
    assert sql("SELECT status, response FROM calls") == [("interrupted", "Once upon a")]


def test_clocks_that_differ_let_no_process_seem_dead(ledger, url, server, database, monkeypatch):
    class Slow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    with monkeypatch.context() as patched, Ledger(url) as other:
        patched.setattr("ipyllm.ledger.database.datetime", Slow)
        assert other.reserve("x", 1.0, {"theirs": (0.6, False)}).granted
        other.put({"call_id": "theirs", "experiment": "x", "status": "running", "cost_bound_usd": 0.6})
        assert other.flush(30)
        with server.connect(database) as connection:
            for table in ("reservations", "calls"):
                connection.execute(f"UPDATE {table} SET writer_host = 'elsewhere'")
    assert not ledger.reserve("x", 1.0, {"mine": (0.6, False)}).granted
    assert ledger.reserve("x", 1.0, {}).spent_usd == 0.0, "the call still runs"


def test_processes_share_the_budget_of_an_experiment_there(url, ledger, call, python):
    script = """
        import sys
        from ipyllm.ledger import Ledger
        with Ledger(sys.argv[1]) as ledger:
            wanted = [ledger.reserve("x", 1.0, {f"{sys.argv[2]}-{n}": (0.1, False)}) for n in range(8)]
            print(sum(len(state.granted) for state in wanted))
            sys.stdout.flush()
            sys.stdin.read()
    """
    ledger.put(call(experiment="x", status="cancelled", cost_bound_usd=0.2))
    ledger.put(call(experiment="x", status="ok", cost_usd=0.1))
    assert ledger.flush(30)
    processes = [python(script, url, number, stdin=subprocess.PIPE) for number in range(3)]
    assert sum(int(process.stdout.readline()) for process in processes) == 7
    assert not ledger.reserve("x", 1.0, {"mine": (0.1, False)}).granted
    for process in processes:
        process.kill()
        process.wait()
    state = ledger.reserve("x", 1.0, {"mine": (0.7, False)})
    assert state.granted == {"mine"}, "reservations of killed processes fall away"
    state = ledger.reserve("x", 1.0, {})
    assert (state.spent_usd, state.assumed_usd) == (pytest.approx(0.3), pytest.approx(0.2))


def test_what_is_spent_follows_every_change_of_the_rows_there_too(ledger, url):
    ledger.reserve("x", 1.0, {})
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    check_spending(engine, ledger.reserve)
    engine.dispose()


def test_a_reservation_there_reads_no_call_that_has_ended(ledger):
    asked = []

    def listen(_connection, _cursor, statement, *_):
        asked.append(statement)

    ledger.reserve("x", 1.0, {"first": (0.1, False)})
    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        assert ledger.reserve("x", 1.0, {"second": (0.1, False)}, ["first"]).granted
        assert not ledger.reserve("x", 1.0, {"third": (2.0, False)}).granted
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    of_calls = [each for each in asked if "calls" in each]
    assert len(asked) > len(of_calls) > 0
    assert all("calls.status = " in each for each in of_calls), "the index of running calls serves these"


def test_calls_that_end_while_others_reserve_are_all_counted(url, ledger, python):
    script = """
        import sys
        from ipyllm.ledger import Ledger
        with Ledger(sys.argv[1]) as ledger:
            for n in range(200):
                ledger.put({"call_id": f"{sys.argv[2]}-{n}", "experiment": "x", "status": "ok", "cost_usd": 0.001})
                assert n % 10 or ledger.flush(30)
    """
    processes = [python(script, url, number) for number in range(3)]
    while any(process.poll() is None for process in processes):
        ledger.reserve("x", 1.0, {})
    assert [process.returncode for process in processes] == [0, 0, 0], [process.stderr.read() for process in processes]
    assert ledger.reserve("x", 1.0, {}).spent_usd == pytest.approx(0.6)


def test_processes_there_get_each_trial_once(url, python):
    check_many(python, url)


def test_claims_of_a_killed_process_are_free_at_once_there_too(url, ledger, python):
    check_killed(python, url, ledger)
