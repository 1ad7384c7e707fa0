"""The budget of an experiment in the ledger: no order of calls, ends and deaths lets its calls cost more."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ipyllm.ledger import Ledger
from ipyllm.ledger.dead_processes import dead_holders
from ipyllm.ledger.reservations import reserve
from ipyllm.ledger.tables import MIGRATIONS, calls, migrate
from ipyllm.process_identity import ProcessIdentity

LIMIT = 1.0


@pytest.fixture
def grant(ledger):
    """Reserve amounts, by id, and return the ids that were granted."""

    def ask(released=(), experiment="x", sent=False, **amounts):
        return ledger.reserve(experiment, LIMIT, {id_: (usd, sent) for id_, usd in amounts.items()}, released).granted

    return ask


def test_reservations_and_costs_together_stay_within_the_limit(ledger, grant, call):
    assert grant(a=0.5, b=0.4, c=0.2, d=0.1) == {"a", "b", "d"}
    assert grant(e=0.01) == set()
    ledger.put(call(experiment="x", status="ok", cost_usd=0.05))
    assert grant(released=["a"], e=0.4) == {"e"}
    state = ledger.reserve("x", LIMIT, {})
    assert (state.spent_usd, state.reserved_usd) == (pytest.approx(0.05), pytest.approx(0.9))
    assert grant(experiment="y", a2=1.0) == {"a2"}


def test_a_reservation_can_grow_and_is_not_counted_twice(grant):
    assert grant(a=0.6) == {"a"}
    assert grant(a=1.0) == {"a"}
    assert grant(a=1.1) == set()
    assert grant(b=0.1) == set()
    assert grant(released=["a"], b=1.0) == {"b"}


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({"status": "ok", "cost_usd": 0.3}, 0.3),
        ({"status": "ok", "cost_usd": 0.3, "cost_bound_usd": 0.7}, 0.7),
        ({"status": "cancelled", "cost_bound_usd": 0.7}, 0.7),
        ({"status": "interrupted", "cost_bound_usd": 0.7}, 0.7),
        ({"status": "error"}, 0.0),
        ({"status": "running", "cost_bound_usd": 0.7}, 0.0),
    ],
    ids=["counted", "a retry of unknown cost", "cancelled", "killed", "not sent", "its reservation counts"],
)
def test_a_call_counts_as_the_most_that_it_can_have_cost(ledger, call, row, counts):
    ledger.put(call(experiment="x", **row))
    assert ledger.flush()
    state = ledger.reserve("x", LIMIT, {})
    assert state.spent_usd == pytest.approx(counts)
    assert state.assumed_usd == pytest.approx(counts if "cost_usd" not in row else 0.0)


KILLED = """
import os, sys
from ipyllm.ledger import Ledger
from ipyllm.ledger.dead_processes import dead_holders
ledger = Ledger(sys.argv[1])
row = {"started_at": None, "experiment": "x", "status": "running"}
ledger.put({**row, "call_id": "sent", "cost_bound_usd": 0.2})
ledger.put({**row, "call_id": "waits for its turn"})
ledger.flush()
print(sorted(ledger.reserve("x", 1.0, {"a": (0.2, False), "b": (0.3, False), "chunk": (0.1, True)}).granted))
os._exit(9)
"""


def test_reservations_of_a_killed_process_fall_away_but_what_it_sent_counts(python, path, ledger, grant):
    process = python(KILLED, path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 9, err
    assert out.strip() == "['a', 'b', 'chunk']"
    state = ledger.reserve("x", LIMIT, {"mine": (0.7, False)})
    assert state.granted == {"mine"}, "0.2 was sent, and 0.1 are elsewhere"
    state = ledger.reserve("x", 1.0, {})
    assert (state.spent_usd, state.assumed_usd) == (pytest.approx(0.2), pytest.approx(0.2))
    assert (state.reserved_usd, state.releasable_usd) == (pytest.approx(0.8), pytest.approx(0.7))
    assert grant(more=0.01) == set()


CHUNK = """
import os, sys
from ipyllm.ledger import Ledger
from ipyllm.ledger.dead_processes import dead_holders
print(sorted(Ledger(sys.argv[1]).reserve("x", 1.0, {"chunk": (0.4, True)}).granted))
sys.stdout.flush()
os._exit(9)
"""


def test_pruning_releases_old_reservations_of_dead_processes(python, path, ledger, grant, sql):
    out, err = python(CHUNK, path).communicate(timeout=60)
    assert out.strip() == "['chunk']", err
    assert grant(mine=0.5) == {"mine"}
    ledger.prune(datetime.now(UTC) - timedelta(days=1), None)
    assert ledger.reserve("x", LIMIT, {}).reserved_usd == pytest.approx(0.9)
    sql("UPDATE reservations SET updated_at = ?", "2020-01-01 00:00:00.000000")
    ledger.prune(datetime.now(UTC) - timedelta(days=1), None)
    assert ledger.reserve("x", LIMIT, {}).reserved_usd == pytest.approx(0.5), "mine is alive"


def test_a_process_of_another_host_is_alive_while_it_confirms_its_calls(ledger, path, call, grant, sql):
    elsewhere = "writer_host = 'elsewhere', updated_at = ?"
    assert grant(theirs=0.6) == {"theirs"}
    ledger.put(call(call_id="one", experiment="x", cost_bound_usd=0.5))
    assert ledger.flush()
    now, long_ago = (str(datetime.now(UTC) - timedelta(hours=hours))[:26] for hours in (0, 1))
    sql(f"UPDATE reservations SET {elsewhere}", long_ago)
    sql(f"UPDATE calls SET {elsewhere}", now)
    assert grant(mine=0.5) == set()
    sql(f"UPDATE calls SET {elsewhere}", long_ago)
    assert grant(mine=0.5) == {"mine"}
    assert ledger.reserve("x", LIMIT, {}).assumed_usd == pytest.approx(0.5)


def test_many_threads_cannot_reserve_more_than_the_limit(path):
    with Ledger(path) as one, Ledger(path) as other:
        granted, start = [], threading.Barrier(8)

        def ask(number):
            ledger = (one, other)[number % 2]
            start.wait()
            for n in range(5):
                granted.extend(ledger.reserve("x", LIMIT, {f"{number}-{n}": (0.1, False)}).granted)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(granted) == 10


# ---- what ended calls cost -------------------------------------------------------------------------------


def spending_of(connection, experiment):
    """Return what the calls of an experiment cost, from all of them."""
    ended = sa.select(calls.c.cost_usd, calls.c.cost_bound_usd).where(
        calls.c.experiment == experiment, calls.c.status != "running"
    )
    known = [(cost, cost if bound is None else bound) for cost, bound in connection.execute(ended)]
    assumed = [most for cost, most in known if cost is None and most is not None]
    return sum(most or 0.0 for _, most in known), sum(assumed), sum(most is None for _, most in known)


CHANGES = [
    "UPDATE calls SET status = 'ok', cost_usd = 0.01 WHERE call_id = 'running'",
    "UPDATE calls SET status = 'interrupted' WHERE call_id = 'running, bound'",
    "UPDATE calls SET cost_usd = 0.02, cost_bound_usd = 0.02 WHERE call_id = 'unknown, bound'",
    "UPDATE calls SET cost_bound_usd = NULL WHERE call_id = 'bound above'",
    "UPDATE calls SET experiment = 'y' WHERE call_id = 'known'",
    "UPDATE calls SET experiment = NULL WHERE call_id = 'known'",
    "UPDATE calls SET experiment = 'x', status = 'ok' WHERE call_id = 'of none'",
    "UPDATE calls SET status = NULL WHERE call_id = 'unknown'",
    "UPDATE calls SET response = 'text' WHERE experiment = 'x'",
    "DELETE FROM calls WHERE call_id = 'unknown, bound'",
    "DELETE FROM calls",
]


def check_spending(engine, reserve):
    """Change rows as ipyllm and others may, and compare what is said to be spent with the sum over all."""
    rows = [
        {"call_id": "known", "status": "ok", "cost_usd": 0.1},
        {"call_id": "bound above", "status": "ok", "cost_usd": 0.1, "cost_bound_usd": 0.3},
        {"call_id": "bound above, deleted", "status": "ok", "cost_usd": 0.1, "cost_bound_usd": 0.3},
        {"call_id": "unknown", "status": "error"},
        {"call_id": "unknown, bound", "status": "cancelled", "cost_bound_usd": 0.2},
        {"call_id": "running", "status": "running"},
        {"call_id": "running, bound", "status": "running", "cost_bound_usd": 0.4},
        {"call_id": "of none", "experiment": None, "status": "ok", "cost_usd": 0.5},
    ]
    with engine.begin() as connection:
        for row in rows:
            connection.execute(sa.insert(calls).values({"experiment": "x", **row}))
    for change in [None, *CHANGES]:
        with engine.begin() as connection:
            if change is not None:
                connection.exec_driver_sql(change)
        for experiment in ("x", "y"):
            with engine.begin() as connection:
                expected = pytest.approx(spending_of(connection, experiment))
            state = reserve(experiment, LIMIT, {})
            assert (state.spent_usd, state.assumed_usd, state.n_uncounted) == expected, change
    with engine.begin() as connection:
        [(n,)] = connection.exec_driver_sql("SELECT count(*) FROM spending WHERE usd <> 0").all()
        assert n == 0


def test_what_is_spent_follows_every_change_of_the_rows(ledger, path):
    ledger.reserve("x", LIMIT, {})
    engine = sa.create_engine(f"sqlite:///{path}")
    check_spending(engine, ledger.reserve)
    engine.dispose()


def test_pruning_leaves_no_amounts_of_what_it_deleted(ledger, call, sql):
    now = datetime.now(UTC)
    for age_days, experiment in [(9, "old"), (9, "both"), (9, "both"), (0, "both"), (0, "both")]:
        began = now - timedelta(days=age_days)
        ledger.put(call(started_at=began, experiment=experiment, status="ok", cost_usd=0.1))
    ledger.prune(now - timedelta(days=1), None)
    assert sql("SELECT experiment, usd FROM spending") == [("both", pytest.approx(0.2))]
    assert [ledger.reserve(name, LIMIT, {}).spent_usd for name in ("old", "both")] == [0.0, pytest.approx(0.2)]


def test_an_upgrade_counts_the_calls_of_before():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        for statements in MIGRATIONS["sqlite"][:3]:
            for statement in statements:
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql("CREATE TABLE ledger_version (version INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO ledger_version VALUES (3)")
        insert = "INSERT INTO calls (call_id, experiment, status, cost_usd) VALUES (?, ?, ?, ?)"
        rows = [("a", "x", "ok", 0.1), ("b", "x", "ok", 0.2), ("c", "x", "ok", None), ("d", "x", "running", None)]
        for row in [*rows, ("e", None, "ok", 0.4), ("f", "y", "ok", 0.8)]:
            connection.exec_driver_sql(insert, row)
        migrate(connection)
        process = ProcessIdentity("host", 1, 1.0)
        state = reserve(connection, "x", LIMIT, {}, (), process, (), datetime.now(UTC))
    engine.dispose()
    assert (state.spent_usd, state.assumed_usd, state.n_uncounted) == (pytest.approx(0.3), 0.0, 1)


# ---- work ----------------------------------------------------------------------------------------------


def steps_of(n):
    """Return how many times SQLite takes ten steps, to reserve and to refuse where ``n`` calls have ended."""
    engine = sa.create_engine("sqlite://")
    process = ProcessIdentity("host", 1, 1.0)
    with engine.begin() as connection:
        migrate(connection)
        rows = [
            {"call_id": f"{number}", "experiment": "x", "status": "ok", "cost_usd": 1e-6, "writer_host": "host"}
            for number in range(n)
        ]
        connection.execute(sa.insert(calls), rows)
        reserve(connection, "x", LIMIT, {"first": (0.1, False)}, (), process, (), datetime.now(UTC))
        steps = 0

        def count():
            nonlocal steps
            steps += 1

        connection.connection.driver_connection.set_progress_handler(count, 10)
        found = dead_holders(connection, sa.true(), datetime.now(UTC))
        state = reserve(connection, "x", LIMIT, {"second": (0.1, False)}, ["first"], process, found, datetime.now(UTC))
        refused = reserve(connection, "x", LIMIT, {"third": (2.0, False)}, [], process, found, datetime.now(UTC))
    engine.dispose()
    assert (state.granted, refused.granted) == ({"second"}, set())
    assert state.spent_usd == refused.spent_usd == pytest.approx(n * 1e-6)
    return steps


def test_a_reservation_takes_the_same_work_among_10000_calls_as_among_ten():
    assert steps_of(10_000) == steps_of(10) > 10


# ---- any order ---------------------------------------------------------------------------------------


@dataclass
class Call:
    """A call in flight, as its process knows it."""

    id: str
    process: ProcessIdentity
    bound: float
    sent: bool = False


class World:
    """Processes that run one experiment, and what the provider bills for their calls."""

    def __init__(self, connection):
        self.connection = connection
        self.processes = [ProcessIdentity("host", pid, 1.0) for pid in range(3)]
        self.dead = set()
        self.in_flight = []
        self.to_release = {process: [] for process in self.processes}
        self.billed = 0.0
        self.n = 0

    def row(self, call, **columns):
        known = self.connection.execute(sa.update(calls).where(calls.c.call_id == call.id).values(**columns))
        if not known.rowcount:
            self.connection.execute(sa.insert(calls).values(call_id=call.id, experiment="x", **columns))

    def reserve(self, process, bound):
        self.n += 1
        call = Call(f"call {self.n}", process, bound)
        released, self.to_release[process] = self.to_release[process], []
        wanted = {call.id: (bound, False)}
        state = reserve(self.connection, "x", LIMIT, wanted, released, process, self.dead, datetime.now(UTC))
        assert (state.spent_usd, state.assumed_usd, state.n_uncounted) == pytest.approx(
            spending_of(self.connection, "x")
        )
        if call.id in state.granted:
            self.in_flight.append(call)
        return state

    def send(self, call):
        call.sent = True
        self.row(call, status="running", cost_bound_usd=call.bound)

    def end(self, call, share, *, known):
        """End a call that costs a share of its bound; the reservation is released with a later request."""
        self.in_flight.remove(call)
        self.to_release[call.process].append(call.id)
        cost = call.bound * share if call.sent else 0.0
        self.billed += cost
        self.row(call, status="ok", cost_usd=cost if known else None, cost_bound_usd=cost if known else call.bound)

    def kill(self, process):
        """Kill a process, after which another one is started. The provider bills its calls in full."""
        self.dead.add(process)
        for call in [call for call in self.in_flight if call.process == process]:
            self.in_flight.remove(call)
            if call.sent:
                self.billed += call.bound
                self.row(call, status="interrupted", cost_bound_usd=call.bound)
        self.processes[self.processes.index(process)] = fresh = ProcessIdentity("host", process.pid + 100, 1.0)
        self.to_release[fresh] = []


@contextmanager
def world():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        yield World(connection)
    engine.dispose()


step = st.tuples(
    st.sampled_from(["reserve", "reserve", "reserve", "send", "send", "end", "end unknown", "kill"]),
    st.integers(0, 100),
    st.floats(0.0, 1.0),
)


@pytest.mark.thorough
@settings(max_examples=150)
@given(st.lists(step, max_size=60))
def test_no_order_of_calls_ends_and_deaths_costs_more_than_the_limit(steps):
    with world() as state:
        for what, which, amount in steps:
            process = state.processes[which % 3]
            call = state.in_flight[which % len(state.in_flight)] if state.in_flight else None
            if what == "reserve":
                state.reserve(process, amount / 3)
            elif what == "kill":
                state.kill(process)
            elif call is not None and what == "send" and not call.sent:
                state.send(call)
            elif call is not None and what.startswith("end"):
                state.end(call, amount, known=what == "end")
            assert state.billed + sum(call.bound for call in state.in_flight if call.sent) <= LIMIT * (1 + 1e-6)
        # What is left can be used: nothing stays reserved for calls that are gone.
        for call in list(state.in_flight):
            state.end(call, 0.0, known=True)
        for process in state.processes:
            final = state.reserve(process, 0.0)
        assert final.reserved_usd == pytest.approx(0.0)
