"""The dashboard with ledgers that are damaged, deleted, locked, empty or large: it says so, and recovers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ipyllm import UsageDashboard
from ipyllm.ledger import current_ledger
from ipyllm.ledger.ids import kernel_id

LOCK = """
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
ledger.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def put(*, n=1, first=0, **columns):
    """Put calls of this kernel into the ledger."""
    now = datetime.now(UTC)
    for at in range(first, first + n):
        row = {"call_id": f"{at:026d}", "kernel_id": kernel_id(), "model": "lab/a", "status": "ok"}
        current_ledger().put(row | {"started_at": now - timedelta(seconds=n + first - at), "prompt": "Hi"} | columns)
    assert current_ledger().flush(60)


def ledger_path():
    return Path(os.environ["IPYLLM_LEDGER"])


def n_shown(shown):
    return int(shown.tiles.split("<b>")[1].split("</b>")[0].replace(",", ""))


def remove_ledger():
    for name in ("", "-wal", "-shm"):
        Path(f"{ledger_path()}{name}").unlink(missing_ok=True)


def test_a_damaged_ledger_is_said_and_the_new_one_is_shown(dashboard):
    put(n=3)
    shown = dashboard()
    assert n_shown(shown) == 3
    assert current_ledger().close()  # all of it is in the file
    header = ledger_path().read_bytes()[:100]
    remove_ledger()
    ledger_path().write_bytes(header + b"no page of a database " * 1000)
    put(first=3)
    shown.refresh()
    assert "damaged" in shown.problem or "replaced" in shown.problem
    assert shown.problem.count(". ") <= 3, "two sentences for each of the two things that happened"
    assert "Traceback" not in shown.problem
    assert n_shown(shown) >= 1
    put(first=4)
    shown.refresh()
    assert "lab/a" in shown.models
    shown._notice_ends.update(dict.fromkeys(shown._notice_ends, 0.0))
    shown.refresh()
    assert not shown.problem, "what the ledger says once does not stay for ever"


def test_a_ledger_removed_while_it_is_shown_is_said_and_begun_anew(dashboard):
    put(n=2)
    shown = dashboard()
    remove_ledger()
    put(first=2)
    shown.refresh()
    assert "removed or replaced while in use" in shown.problem
    assert n_shown(shown) >= 1


def test_a_ledger_that_cannot_be_read_leaves_the_figures_and_recovers(dashboard):
    put(n=3)
    shown = dashboard()
    aside = ledger_path().with_suffix(".aside")
    tiles = shown.tiles
    current_ledger().close()
    ledger_path().replace(aside)
    remove_ledger()
    ledger_path().mkdir()
    shown.refresh()
    assert "cannot be read" in shown.problem
    assert "the figures are those of" in shown.problem
    assert shown.tiles == tiles, "what was shown stays"
    ledger_path().rmdir()
    aside.replace(ledger_path())
    shown.refresh()
    assert n_shown(shown) == 3
    assert "cannot be read" not in shown.problem


def test_a_ledger_locked_by_another_process_is_shown_with_the_calls_it_does_not_have_yet(dashboard):
    put(n=2)
    shown = dashboard()
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(ledger_path())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline().strip() == "locked"
        current_ledger().put(
            {"call_id": "z", "kernel_id": kernel_id(), "model": "lab/b", "started_at": datetime.now(UTC)}
        )
        shown.refresh()
        assert n_shown(shown) == 3, shown.problem
        assert "lab/b" in shown.models
        other.stdin.close()
    assert current_ledger().flush(60)
    shown.refresh()
    assert n_shown(shown) == 3
    with sqlite3.connect(ledger_path()) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (3,)


def test_an_empty_file_and_a_ledger_without_calls_say_what_to_do(dashboard):
    ledger_path().write_bytes(b"")
    shown = dashboard()
    assert n_shown(shown) == 0
    assert "There is no call of this kernel in the last day." in shown.models
    assert shown.charts == shown.calls == shown.problem == ""


def test_one_call_of_which_little_is_known_is_shown(dashboard):
    put(started_at=None)
    shown = dashboard(since="all")
    assert n_shown(shown) == 1
    assert not shown.problem
    put(first=1, model=None)
    shown.refresh()
    assert n_shown(shown) == 2
    assert not shown.problem


def test_costs_that_nobody_knows_are_not_nought(dashboard):
    put(n=4, cost_usd=None, output_tokens=5, usage_source="server")
    shown = dashboard()
    assert "<b>unknown</b><span>cost</span><small>4 of 4 unknown<" in shown.tiles
    assert "not known" in shown.charts
    assert "$" not in shown.tiles + shown.models + shown.charts


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_a_large_ledger_is_shown_whole_and_one_call_of_it_is_read_alone(dashboard):
    for start in range(0, 60_000, 5_000):
        put(n=5_000, first=start, output_tokens=7, usage_source="server", response="It is. " * 20)
    shown = dashboard(since="all")
    shown.channel._send = lambda message, buffers: shown_to.append(message)
    shown_to = []
    assert n_shown(shown) == 5_000
    assert "These are the newest 5,000 calls; the others are being read." in shown.problem
    end = time.monotonic() + 100
    while n_shown(shown) != 60_000:
        assert time.monotonic() < end, shown.problem
        time.sleep(0.05)
    assert not shown.problem
    assert "Page 1 of 1,200" in shown.calls
    assert len(shown.charts) + len(shown.calls) + len(shown.models) < 100_000, "what is sent does not grow with it"
    shown._on_command(shown, {"command": "call", "call_id": f"{59_999:026d}"}, [])
    assert "It is." in shown_to[0]["html"]


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_filters_of_a_large_ledger_show_what_was_read_before_it_is_read_anew(dashboard, monkeypatch):
    for start, model, status in ((0, "lab/a", "ok"), (5_000, "lab/b", "ok"), (10_000, "lab/b", "error")):
        put(n=5_000, first=start, model=model, status=status, tags={"arm": model}, attempts=1)
    put(first=20_000, kernel_id="another", model="lab/c", started_at=datetime.now(UTC) - timedelta(days=3))
    monkeypatch.setattr(UsageDashboard, "_start_thread", lambda _self: None)
    shown = dashboard(scope="all", since="all")
    shown.refresh()
    assert n_shown(shown) == 15_001
    shown._rest_s = 600.0  # as after a long reading
    shown._wake.clear()
    for filters, n in (
        ({"model": "lab/b"}, 10_000),
        ({"status": "error"}, 5_000),
        ({"model": "lab/a"}, 0),
        ({"model": "", "status": ""}, 15_001),
        ({"scope": "kernel"}, 15_000),
        ({"scope": "all", "since": "week"}, 15_001),
        ({"since": "day"}, 15_000),
    ):
        shown.choose(**filters)
        assert (n_shown(shown), shown.problem) == (n, ""), filters
        assert '<option value="lab/a"' in shown.bar
        assert not shown._wake.is_set(), "all calls are not read again for each click"
    shown.choose(tag="arm=lab/a")
    assert n_shown(shown) == 5_000
    assert "These are the newest 5,000" in shown.problem, "tags are not among what is kept"
    assert shown._wake.is_set()


def test_what_is_saved_before_all_calls_were_read_says_so(dashboard, monkeypatch):
    put(n=5_001)
    with monkeypatch.context() as patch:
        patch.setattr(UsageDashboard, "_start_thread", lambda _self: None)
        shown = dashboard()
        assert "last day · the newest 5,000 calls · " in shown._static_content().text
    shown.refresh()
    assert "newest" not in shown._static_content().text
    assert "calls 5,001" in shown._static_content().text
