"""Calls of dead processes become ``interrupted`` and keep their text; running calls are left alone."""

from __future__ import annotations

import os
import signal
import socket
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from ipyllm.ledger import Ledger, writer
from ipyllm.process_identity import ProcessIdentity, is_dead, this_process

_IN_MID_CALL = """
    import sys, time
    from ipyllm.ledger import Ledger
    ledger = Ledger(sys.argv[1])
    ledger.put({"call_id": "victim", "status": "running", "prompt": "Tell me a story"})
    ledger.put({"call_id": "victim", "response": "Once upon a"})
    assert ledger.flush(30)
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("buried", [True, False], ids=["buried", "zombie"])
def test_a_killed_process_leaves_an_interrupted_row_with_its_partial_text(python, path, sql, ledger, buried):
    process = python(_IN_MID_CALL, path)
    assert process.stdout.readline() == "written\n"

    ledger.read()
    assert sql("SELECT status FROM calls") == [("running",)]

    os.kill(process.pid, signal.SIGKILL)
    if buried:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (row,) = ledger.read()
    assert "interrupted" in row
    assert sql("SELECT status, response FROM calls") == [("interrupted", "Once upon a")]


def test_opening_the_ledger_is_enough_to_mark_them(python, path, sql, call):
    process = python(_IN_MID_CALL, path)
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    with Ledger(path) as ledger:
        ledger.put(call())
        assert ledger.flush()
    assert sql("SELECT status FROM calls WHERE call_id = 'victim'") == [("interrupted",)]


def test_a_process_that_took_over_a_dead_ones_number_is_not_taken_for_it():
    me = this_process()
    assert not is_dead(me, silent_s=3600, limit_s=600)
    assert is_dead(ProcessIdentity(me.host, me.pid, me.start - 3600), silent_s=0, limit_s=600)
    assert me.start == psutil.Process().create_time()
    assert me.host.startswith(socket.gethostname())


def test_a_writer_on_another_host_is_dead_after_ten_minutes_of_silence(ledger, sql, call):
    ledger.put(call(call_id="silent"))
    ledger.put(call(call_id="alive"))
    assert ledger.flush()
    for call_id, minutes in (("silent", 11), ("alive", 9)):
        sign = datetime.now(UTC) - timedelta(minutes=minutes)
        sql(
            "UPDATE calls SET writer_host = ?, updated_at = ? WHERE call_id = ?",
            "elsewhere-" + call_id,
            f"{sign:%Y-%m-%d %H:%M:%S.%f}",
            call_id,
        )
    ledger.read()
    assert sql("SELECT call_id, status FROM calls ORDER BY call_id") == [
        ("alive", "running"),
        ("silent", "interrupted"),
    ]


def test_a_living_writer_gives_signs_of_life_while_the_server_is_silent(path, sql, call, monkeypatch):
    monkeypatch.setattr(writer, "HEARTBEAT_S", 0.2)
    with Ledger(path) as ledger:
        ledger.put(call(response="So far"))
        assert ledger.flush()
        (before,) = sql("SELECT updated_at FROM calls")
        # Another host thought it dead: the next sign puts that right.
        sql("UPDATE calls SET status = 'interrupted'")
        give_up = datetime.now(UTC) + timedelta(seconds=10)
        while sql("SELECT status FROM calls") != [("running",)]:
            assert datetime.now(UTC) < give_up
        assert sql("SELECT updated_at > ?, response FROM calls", *before) == [(1, "So far")]
