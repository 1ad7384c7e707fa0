"""Claims on trials in the ledger: each trial is granted to one living participant, and is free when that has died."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from ipyllm import prune, usage
from ipyllm.ledger import Ledger
from ipyllm.ledger.claim_state import ClaimRequest
from ipyllm.ledger.ledger import LedgerUnavailableError
from ipyllm.ledger.tables import claims, participants


@pytest.fixture
def take(ledger):
    """Change the claims of a participant, and return what came of those that it wants."""
    joined = {}

    def ask(who, wanted="", *, ended="", given_back="", experiment="x", **options):
        request = ClaimRequest(
            who, experiment, joined=joined.get(who), wanted=wanted, ended=ended, given_back=given_back, **options
        )
        state = ledger.update_claims(request)
        joined[who] = state.joined
        return state

    return ask


def granted(state):
    return "".join(sorted(state.granted))


def test_each_trial_is_granted_to_one_participant(take):
    assert granted(take("a", "123")) == "123"
    state = take("b", "234")
    assert (granted(state), state.held) == ("4", {"2", "3"})
    assert granted(take("a", "12")) == "12", "its own, again"
    assert granted(take("c", "1", experiment="another")) == "1"


def test_what_another_has_asked_is_not_granted_to_those_who_had_joined_before(take):
    take("a", "12")
    take("b")
    take("a", ended="1")
    state = take("b", "12")
    assert (state.ended, state.held, granted(state)) == ({"1"}, {"2"}, "")
    assert granted(take("c", "1")) == "1", "it joined later, so it has seen the row of the failed call"
    assert take("b", "1").held == {"1"}


def test_a_trial_that_the_only_participant_has_asked_leaves_no_claim(take, ledger, sql):
    take("a", "12", ended="")
    take("a", ended="1")
    assert sql("SELECT trial FROM experiment_claims") == [("2",)]
    ledger.leave("a", "x")
    assert sql("SELECT count(*) FROM experiment_claims") == [(0,)]
    assert sql("SELECT count(*) FROM experiment_participants") == [(0,)]


def test_what_is_given_back_and_what_one_leaves_is_free(take, ledger):
    take("a", "1234")
    take("b")
    take("a", ended="1", given_back="2")
    assert granted(take("b", "1234")) == "2"
    ledger.leave("a", "x")
    state = take("b", "1234")
    assert (granted(state), state.ended) == ("234", {"1"})


def test_an_heir_takes_over_what_was_claimed_for_it(take):
    home = take("home", "12", senders=2)
    state = take("worker", "12", senders=0, heir_of="home")
    assert (granted(state), state.inherited, state.n_senders) == ("12", frozenset(), 2)
    assert take("home", "1").held == {"1"}
    take("worker", ended="1")
    assert home.n_senders == 2


def test_senders_of_all_participants_are_counted(take, ledger):
    assert take("a").n_senders == 1
    assert take("b", senders=3).n_senders == 4
    assert take("a").n_senders == 4
    ledger.leave("b", "x")
    assert take("a").n_senders == 1


def test_claims_of_a_participant_without_a_sign_of_life_are_inherited(take, sql):
    take("a", "12")
    take("b")
    sql("UPDATE experiment_participants SET updated_at = datetime('now', '-119 seconds') WHERE participant_id = 'a'")
    assert granted(take("b", "1")) == ""
    sql("UPDATE experiment_participants SET updated_at = datetime('now', '-121 seconds') WHERE participant_id = 'a'")
    state = take("b", "1")
    assert (granted(state), state.inherited) == ("1", {"1"})
    state = take("a", "12")  # it was only asleep
    assert (granted(state), state.held) == ("2", {"1"})


KILLED = """
    import sys
    from ipyllm.ledger import Ledger
    from ipyllm.ledger.claim_state import ClaimRequest
    ledger = Ledger(sys.argv[1])
    ledger.put({"call_id": "sent", "experiment": "x", "status": "running"})
    assert ledger.flush(30)
    state = ledger.update_claims(ClaimRequest("killed", "x", wanted="12"))
    print("".join(sorted(state.granted)), flush=True)
    sys.stdin.read()
"""


def check_killed(python, place, ledger):
    """Claims of a killed process are free at once, and its calls are interrupted before."""
    process = python(KILLED, place, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "12\n"
    mine = ClaimRequest("mine", "x", joined=None, wanted="123")
    assert ledger.update_claims(mine).held == {"1", "2"}
    process.kill()
    process.wait()
    state = ledger.update_claims(mine)
    assert (state.granted, state.inherited) == ({"1", "2", "3"}, {"1", "2"})
    assert list(usage(None, ledger=ledger)["status"]) == ["interrupted"]


def test_claims_of_a_killed_process_are_free_at_once(python, path, ledger):
    check_killed(python, path, ledger)


MANY = """
    import sys
    from ipyllm.ledger import Ledger
    from ipyllm.ledger.claim_state import ClaimRequest
    me = sys.argv[2]
    keys = [str(number) for number in range(600)]
    with Ledger(sys.argv[1]) as ledger:
        ledger.update_claims(ClaimRequest(me, "x"))
        print("ready", flush=True)
        sys.stdin.readline()
        for start in range(0, 600, 20):
            state = ledger.update_claims(ClaimRequest(me, "x", wanted=keys[start : start + 20]))
            print(*state.granted)
            ledger.update_claims(ClaimRequest(me, "x", ended=state.granted))
        print("end", flush=True)
        sys.stdin.readline()
"""


def check_many(python, place):
    """Processes that claim the same trials at once get each of them once."""
    processes = [python(MANY, place, name, stdin=subprocess.PIPE) for name in "abc"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = []
    for process in processes:
        for line in iter(process.stdout.readline, "end\n"):
            assert line, process.stderr.read()
            found += line.split()
    assert len(found) == len(set(found)) == 600


def test_processes_that_claim_at_once_get_each_trial_once(python, path):
    check_many(python, path)


def test_old_participants_are_pruned_with_their_claims(take, ledger, sql):
    take("old", "1")
    take("here", "2")
    sql("UPDATE experiment_participants SET updated_at = '2024-01-01' WHERE participant_id = 'old'")
    prune("30d", ledger=ledger)
    assert sql("SELECT participant_id FROM experiment_participants") == [("here",)]
    take("gone", "1", experiment="y")
    sql("UPDATE experiment_participants SET updated_at = '2024-01-01' WHERE participant_id = 'gone'")
    prune(datetime.now(UTC) - timedelta(days=30), ledger=ledger)
    assert sql("SELECT DISTINCT experiment FROM experiment_claims") == [("x",)]


def test_the_migrations_build_these_tables(ledger, path):
    ledger.update_claims(ClaimRequest("a", "x"))
    engine = sa.create_engine(f"sqlite:///{path}")
    for table in (claims, participants):
        built = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
        assert built == {column.name for column in table.columns}
    engine.dispose()


def test_without_a_ledger_that_can_be_written_nothing_is_claimed(tmp_path):
    with Ledger(tmp_path) as ledger, pytest.raises(LedgerUnavailableError, match="Trials of 'x' cannot be claimed"):
        ledger.update_claims(ClaimRequest("a", "x", wanted="1"))
