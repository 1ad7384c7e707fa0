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
from ipyllm.ledger.reservations import reserve
from ipyllm.ledger.tables import calls, migrate
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
        self.connection.execute(sa.delete(calls).where(calls.c.call_id == call.id))
        self.connection.execute(sa.insert(calls).values(call_id=call.id, experiment="x", **columns))

    def reserve(self, process, bound):
        self.n += 1
        call = Call(f"call {self.n}", process, bound)
        released, self.to_release[process] = self.to_release[process], []
        wanted = {call.id: (bound, False)}
        state = reserve(self.connection, "x", LIMIT, wanted, released, process, self.dead, datetime.now(UTC))
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
