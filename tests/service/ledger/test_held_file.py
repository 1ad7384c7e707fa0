"""Reads of a ledger that another process holds end within a bound, and say so."""

from __future__ import annotations

import re
import time
import warnings

import pytest

from ipyllm import Experiment, LLMError, OllamaService, UsageDashboard, usage
from ipyllm.dataframes import filters
from ipyllm.ledger import Ledger, set_ledger
from ipyllm.ledger import ledger as ledger_module
from ipyllm.ledger.ledger import LedgerUnavailableError
from tests.fakes import answer

_HOLDS = r"""
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    if sys.argv[2] == "everything":
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE calls SET status = status")
    print("held", flush=True)
    sys.stdin.read()
"""

_MUCH_SHORTER_S = 10.0  # than the 15 s and more that the waits take one after the other
SQLITE_WAITS_S = 5.0  # unless it is told otherwise
_HELD = "cannot be read (another process has held it for too long)"


@pytest.fixture
def hold(python):
    """Hold a file in another process until the test ends: against writers, or against readers too."""
    import subprocess

    def hold(path, what):
        process = python(_HOLDS, path, what, stdin=subprocess.PIPE)
        assert process.stdout.readline() == "held\n"
        return process

    return hold


@pytest.fixture
def stored(path, call):
    """Return a ledger of its own with three stored calls; another Ledger, because this one keeps the file open."""
    with Ledger(path) as first:
        for n in range(3):
            first.put(call(call_id=f"stored {n}", status="ok"))
    with Ledger("sqlite://") as other:
        usage(ledger=other)  # imports are no part of the waits that are measured
    with Ledger(path) as ledger:
        set_ledger(ledger)
        yield ledger
        set_ledger(None)


def _seconds(read):
    began = time.monotonic()
    result = read()
    return time.monotonic() - began, result


def test_usage_of_a_file_that_is_held_shows_what_is_in_memory_and_says_so_each_time(
    stored, path, hold, call, monkeypatch
):
    monkeypatch.setattr(filters, "READ_WAIT_S", 1.0)
    hold(path, "everything")
    stored.put(call(call_id="in memory", status="ok"))
    for _ in range(2):
        with pytest.warns(UserWarning, match="only rows still in memory are shown") as caught:
            took_s, frame = _seconds(lambda: usage(kernel=None))
        assert took_s < _MUCH_SHORTER_S
        assert [str(each.message).count(_HELD) for each in caught] == [1]
        assert list(frame["call_id"]) == ["in memory"]
    assert stored.read_error == f"The ledger at {path} {_HELD}"


def test_the_check_whose_file_it_is_waits_no_longer_than_the_read(stored, path, hold, monkeypatch):
    monkeypatch.setattr(filters, "READ_WAIT_S", 0.2)
    hold(path, "everything")
    with pytest.warns(UserWarning, match=re.escape(_HELD)):
        took_s, _ = _seconds(usage)
    assert took_s < SQLITE_WAITS_S
    took_s, _ = _seconds(stored.check)
    assert took_s < SQLITE_WAITS_S


def test_usage_of_a_file_that_another_process_writes_shows_everything(stored, path, hold, call):
    usage(kernel=None)
    hold(path, "writes")
    stored.put(call(call_id="unwritten", status="ok"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        took_s, frame = _seconds(lambda: usage(kernel=None))
    assert took_s < _MUCH_SHORTER_S
    assert len(frame) == 4
    assert stored.read_error is None


def test_rows_of_dead_processes_do_not_make_a_read_wait_longer(path, hold, call):
    with Ledger(path) as first:
        first.put(call(call_id="dead"))
        assert first.flush(60)
        with first._writer.store.open()._opened().begin() as connection:
            connection.exec_driver_sql("UPDATE calls SET writer_pid = 1, writer_start = 0, updated_at = '2020-01-01'")
    with Ledger(path) as ledger:
        holder = hold(path, "writes")
        took_s, rows = _seconds(ledger.read)
        assert (len(rows), ledger.read_error) == (1, None)
        assert took_s < _MUCH_SHORTER_S
        holder.kill()


def test_when_the_file_is_free_again_everything_is_read_and_nothing_is_said(stored, path, hold, monkeypatch):
    monkeypatch.setattr(filters, "READ_WAIT_S", 0.5)
    holder = hold(path, "everything")
    with pytest.warns(UserWarning, match="only rows still in memory"):
        assert len(usage(kernel=None)) == 0
    holder.kill()
    holder.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(usage(kernel=None)) == 3


def test_a_budget_that_cannot_be_read_is_refused_within_a_bound(stored, path, hold, monkeypatch):
    monkeypatch.setattr(ledger_module, "_RESERVE_WAIT_S", 1.0)
    hold(path, "everything")
    with pytest.raises(LedgerUnavailableError, match="cannot be checked"):
        _seconds(lambda: stored.reserve("experiment", 1.0, {}))


def test_an_experiment_does_not_pay_again_for_answers_that_it_cannot_read(stored, path, hold, fake, monkeypatch):
    monkeypatch.setattr(filters, "READ_WAIT_S", 0.5)
    fake.default = answer("So.")
    hold(path, "everything")
    experiment = Experiment(["a"], models=OllamaService("m", base_url=fake.base_url), warmup=0, name="held")
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(LLMError, match="not known which calls of 'held' are done"),
    ):
        experiment.run(progress=False)
    assert fake.requests == []


def test_the_dashboard_says_it_too(stored, path, hold, monkeypatch):
    monkeypatch.setattr(filters, "READ_WAIT_S", 0.5)
    hold(path, "everything")
    dashboard = UsageDashboard()
    try:
        assert _HELD in dashboard.problem
    finally:
        dashboard.close()
