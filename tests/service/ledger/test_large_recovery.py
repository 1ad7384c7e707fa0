"""A large damaged file: calls go on at once in a new file, and a process of its own brings the rows of the old one."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from ipyllm import LLMError
from ipyllm.experiment import Experiment
from ipyllm.ledger import Ledger, damaged_files, recovery_process
from ipyllm.ledger.columns import COLUMNS
from ipyllm.ledger.recovery_record import MAX_ATTEMPTS
from ipyllm.ledger.sqlite_file import SQLiteFile
from tests.service.ledger.flipped import make_ledger, row

_N_ROWS = 400


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    """Let files count as large that a test can make."""
    monkeypatch.setattr(damaged_files, "SMALL_BYTES", 100_000)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    make_ledger(path, _N_ROWS)
    return path


@pytest.fixture
def damaged(whole, path):
    """Lay a file with a damaged header where ``path`` is."""
    path.parent.mkdir()
    data = bytearray(whole.read_bytes())
    data[16:18] = b"\0\1"
    path.write_bytes(data)
    return path


def wait_for(what, seconds=300):
    give_up = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def files(path, kind):
    return [file for file in path.parent.iterdir() if f".{kind}-" in file.name]


def query(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_rows_are_written_and_read_at_once_and_the_old_ones_come(damaged, capfd):
    with Ledger(damaged) as ledger:
        ledger.put({"call_id": "new", "status": "ok", "response": "Here."})
        assert ledger.flush(30)
        rows = ledger.read()
        n_at_first = len(rows)
        said = ledger.take_warning() or ""
        if n_at_first <= _N_ROWS:
            assert said == f"The ledger at {damaged} is being recovered after damage, so it may lack rows until then."
        wait_for(lambda: files(damaged, "corrupt"))
        (kept,) = files(damaged, "corrupt")
        summary = wait_for(lambda: ledger.read() and (ledger.take_warning() or "").replace(said, "").strip())
        assert ledger.recovering is None
        assert {values[0] for values in ledger.read()} == {"new"} | {
            row(number)["call_id"] for number in range(_N_ROWS)
        }
        restored = {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in ledger.read()}
        assert row(123).items() <= restored[row(123)["call_id"]].items()
        assert summary == (
            f"The ledger at {damaged} was damaged. A new file was created with what could be read: 400 calls. "
            f"The old file was kept as {kept.name}."
        )
        texts = []
        wait_for(lambda: texts.append(capfd.readouterr().err) or summary in "".join(texts))
        shown = "".join(texts)
    assert re.match(
        rf"ipyllm: The ledger at {re.escape(str(damaged))} was damaged\. A new file was created, and a process in the "
        r"background recovers the rows of the old one, ledger\.sqlite\.recovering-\w+ \(\d MB\)\.\n",
        shown,
    )
    assert len(shown.splitlines()) == 2
    with Ledger(damaged) as ledger:
        assert ledger.read()
        assert ledger.take_warning() is None
    assert query(damaged, "PRAGMA integrity_check") == [("ok",)]


def test_no_call_waits_for_the_rows(damaged, monkeypatch):
    monkeypatch.setattr(damaged_files, "start", lambda *_: (_ for _ in ()).throw(OSError(11, "Not now")))
    with Ledger(damaged) as ledger:
        ledger.put({"call_id": "new", "status": "ok"})
        assert ledger.flush(30)
        assert [values[0] for values in ledger.read()] == ["new"]
        assert ledger.recovering is not None
        monkeypatch.undo()
        monkeypatch.setattr(damaged_files, "SMALL_BYTES", 100_000)
        assert wait_for(lambda: len(ledger.read()) == _N_ROWS + 1), "the next read starts it"


def test_one_of_several_kernels_recovers_the_file(whole, path):
    path.parent.mkdir()
    moved = path.with_name("ledger.sqlite.recovering-1")
    moved.write_bytes(whole.read_bytes())
    with Ledger(path) as first, Ledger(path) as second:
        first.read()
        second.read()
        assert wait_for(lambda: len(first.read()) == len(second.read()) == _N_ROWS)
        wait_for(lambda: files(path, "corrupt"))
        wait_for(lambda: query(path, "SELECT state FROM recoveries") != [("running",)])
    assert query(path, "SELECT attempts, calls > 0 FROM recoveries") == [(1, 1)]


def test_a_process_that_another_one_precedes_ends_without_a_word(whole, path):
    with Ledger(path) as ledger:
        ledger.read()
    moved = path.with_name("ledger.sqlite.recovering-1")
    moved.write_bytes(whole.read_bytes())
    said = []
    recovery_process.recover(path, moved, said.append)
    assert len(said) == 1
    kept = path.with_name("ledger.sqlite.corrupt-1")
    kept.rename(moved)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE recoveries SET state = 'running'")  # by this process
    recovery_process.recover(path, moved, said.append)
    assert len(said) == 1
    assert moved.exists()


def test_a_recovery_that_is_killed_is_taken_up_again(damaged):
    with Ledger(damaged) as ledger:
        ledger.put({"call_id": "new", "status": "ok"})
        assert ledger.flush(30)
        found = wait_for(lambda: query(damaged, "SELECT writer_pid FROM recoveries WHERE state = 'running'"))
        os.kill(found[0][0], signal.SIGKILL)
        assert wait_for(lambda: len(ledger.read()) == _N_ROWS + 1)
        wait_for(lambda: files(damaged, "corrupt"))
    assert not files(damaged, "recovering")


def test_a_file_that_ends_every_process_is_given_up_with_a_sentence(whole, path):
    with Ledger(path) as ledger:
        ledger.read()
    moved = path.with_name("ledger.sqlite.recovering-1")
    moved.write_bytes(whole.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO recoveries VALUES ('ledger.sqlite.recovering-1', 'running', ?, 1, 1, 0, 0, NULL, '', 0, 0, ?)",
            [MAX_ATTEMPTS, "2026-01-01 00:00:00.000000"],
        )
    with Ledger(path) as ledger:
        said = wait_for(lambda: (ledger.read(), ledger.recovering is None and ledger.take_warning())[1])
    assert said.endswith(
        f"The ledger at {path} was damaged, and its rows could not be read to the end (reading it ended the process). "
        "The old file was kept as ledger.sqlite.corrupt-1. To try again, rename it to ledger.sqlite.recovering-1, and "
        "restart the kernel."
    )
    path.with_name("ledger.sqlite.corrupt-1").rename(moved)
    with Ledger(path) as ledger:
        assert wait_for(lambda: len(ledger.read()) == _N_ROWS), "as it says"


def test_an_error_is_met_with_another_attempt(whole, path, monkeypatch):
    with Ledger(path) as ledger:
        ledger.read()
    moved = path.with_name("ledger.sqlite.recovering-1")
    moved.write_bytes(whole.read_bytes())

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recovery_process, "copy_rows", no_space)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(OSError, match="No space"):
            recovery_process.recover(path, moved, print)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE recoveries SET writer_pid = 0, writer_start = 0")
    said = []
    recovery_process.recover(path, moved, said.append)
    assert "(No space left on device)" in said[0]
    assert files(path, "corrupt")


def test_a_process_writes_into_no_other_ledger(whole, path, monkeypatch):
    with Ledger(path) as ledger:
        ledger.read()
    moved = path.with_name("ledger.sqlite.recovering-1")
    moved.write_bytes(whole.read_bytes())
    monkeypatch.setattr(SQLiteFile, "is_replaced", True)
    with pytest.raises(FileNotFoundError):
        recovery_process.recover(path, moved, print)
    assert moved.exists(), "the opening of the new ledger finds it"


def test_an_experiment_does_not_run_before_it_is_known_what_is_done(damaged, monkeypatch):
    monkeypatch.setattr(damaged_files, "start", lambda *_: (_ for _ in ()).throw(OSError(11, "Not now")))
    monkeypatch.setenv("IPYLLM_LEDGER", str(damaged))
    experiment = Experiment(["Hello"], models="openai/gpt-6-luna", name="e")
    unknown = "is being recovered after damage, so it may lack rows until then"
    with pytest.warns(UserWarning, match=unknown), pytest.raises(LLMError, match=f"{unknown}, so it is not known"):
        experiment.run(progress=False)
