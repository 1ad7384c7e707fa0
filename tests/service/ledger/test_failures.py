"""A ledger that cannot be written: no call fails, no row is lost, and one sentence reports it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipyllm.dataframes.filters import read_frame
from ipyllm.ledger import Ledger, database, writer
from ipyllm.ledger.backlog import Backlog
from ipyllm.ledger.query import Query


@pytest.fixture
def impatient(monkeypatch):
    """Wait for locks and between attempts for as long as a test can."""
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    monkeypatch.setattr(writer, "_RETRY_S", (0.05, 0.1))
    monkeypatch.setattr(writer, "_LOCKED_TOO_LONG_S", 0.0)


@contextmanager
def locked(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def wait_for(what, seconds=60):
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def ids(rows):
    return [row[0] for row in rows]


@pytest.mark.usefixtures("impatient")
def test_rows_wait_in_memory_while_another_program_locks_the_ledger(path, sql, call, caplog):
    with Ledger(path) as ledger:
        first, second = call(status="ok"), call()
        ledger.put(first)
        assert ledger.flush()
        with locked(path), caplog.at_level(logging.WARNING, "ipyllm.ledger"):
            before = time.perf_counter()
            ledger.put(second)
            assert time.perf_counter() - before < 1, "it does not wait for the lock"
            assert not ledger.flush()
            ledger.put({"call_id": second["call_id"], "status": "ok", "response": "Still here."})
            assert not ledger.flush()
            assert ids(ledger.read()) == [first["call_id"], second["call_id"]]
            assert sql("SELECT count(*) FROM calls") == [(1,)]

        wait_for(lambda: sql("SELECT count(*) FROM calls WHERE status = 'ok'") == [(2,)])
        sentence = (
            f"The ledger at {path} cannot be written (database is locked): rows of this kernel are kept in "
            "memory and written as soon as possible."
        )
        assert ledger.take_warning() == sentence
        assert ledger.take_warning() is None
        assert [record.getMessage() for record in caplog.records] == [sentence]


@pytest.mark.usefixtures("impatient")
def test_rows_wait_in_memory_while_the_disk_is_full(path, sql, call):
    pages = 40

    def small_disk(connection, _):
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    sa.event.listen(sa.Engine, "connect", small_disk)
    try:
        with Ledger(path) as ledger:
            ledger.put(call())
            assert ledger.flush()
            ledger.put(call(response="word " * 100_000, status="ok"))
            assert not ledger.flush()
            assert len(ledger.read()) == 2
            assert "(database or disk is full)" in ledger.take_warning()

            pages = 4000
            ledger._writer.store.close()
            wait_for(lambda: sql("SELECT count(*) FROM calls") == [(2,)])
            assert ledger.take_warning() is None
    finally:
        sa.event.remove(sa.Engine, "connect", small_disk)


_ON_A_FULL_DISK = """
    import sys, time
    from ipyllm.ledger import Ledger, writer
    writer._RETRY_S = (0.05, 0.1)
    ledger = Ledger(sys.argv[1])
    ledger.put({"call_id": "first", "status": "ok"})
    assert ledger.flush(30)
    ledger.put({"call_id": "running", "status": "running", "prompt": "Hello"})
    for number in range(30):
        ledger.put({"call_id": str(number), "status": "ok", "response": "word " * 20_000})
    assert not ledger.flush(30)
    print(ledger.take_warning(), flush=True)
    ledger.put({"call_id": "running", "status": "ok", "response": "Hi"})
    assert not ledger.flush(30)
    assert len(ledger.read()) == 32
    %s
    give_up = time.monotonic() + 60
    while not ledger.flush():
        assert time.monotonic() < give_up
    assert ledger.close(30)
    assert ledger.take_warning() is None
"""


def test_rows_wait_in_memory_while_the_file_may_not_grow(run_script, path, sql):
    said = run_script(
        """
        import resource
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        """
        + _ON_A_FULL_DISK.replace("\n", "\n    ") % "resource.setrlimit(resource.RLIMIT_FSIZE, before)",
        path,
    )
    assert said.startswith(f"The ledger at {path} cannot be written (")
    assert len(said.splitlines()) == 1
    assert sql("SELECT count(*), count(response) FROM calls WHERE status = 'ok'") == [(32, 31)]
    assert sql("PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB, which can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_rows_wait_in_memory_while_a_real_disk_is_full(run_script, small_disk):
    path = small_disk / "ledger.sqlite"
    larger = "import subprocess; subprocess.run(['mount', '-o', 'remount,size=64m', sys.argv[2]], check=True)"
    said = run_script(_ON_A_FULL_DISK % larger, path, small_disk)
    assert said == (
        f"The ledger at {path} cannot be written (database or disk is full): rows of this kernel are kept in memory "
        "and written as soon as possible."
    )
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*), count(response) FROM calls WHERE status = 'ok'").fetchall() == [
            (32, 31)
        ]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.usefixtures("impatient")
def test_rows_wait_in_memory_until_the_folder_can_be_made(tmp_path, path, sql, call):
    path.parent.write_text("a file where the folder should be")
    with Ledger(path) as ledger:
        ledger.put(call())
        assert not ledger.flush()
        assert len(ledger.read()) == 1
        assert "(File exists)" in ledger.take_warning()

        path.parent.unlink()
        wait_for(lambda: path.exists() and ledger.flush())
        assert sql("SELECT count(*) FROM calls") == [(1,)]


@pytest.fixture
def public_folder():
    """Make a folder that others can look into; those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


def test_a_ledger_that_may_only_be_read_is_left_alone(run_script, public_folder, call):
    path = public_folder / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.put(call(status="ok", kernel_id="another"))
        assert ledger.flush()
    path.chmod(0o444)
    public_folder.chmod(0o555)
    said = run_script(
        """
        import os, sys
        import ipyllm.ledger.store
        if os.getuid() == 0:
            os.setuid(65534)
        from ipyllm.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        ledger.put({"call_id": "mine", "status": "ok"})
        assert not ledger.flush(10)
        assert "mine" in [row[0] for row in ledger.read()]
        print(ledger.take_warning())
        """,
        path,
    )
    assert said.startswith(f"The ledger at {path} cannot be written (")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchall() == [(1,)]


@pytest.mark.parametrize("damage", ["from the start", "while in use"])
def test_a_damaged_ledger_is_moved_aside_and_a_new_one_begun(path, sql, call, damage):
    with Ledger(path) as ledger:
        running = call()
        ledger.put(call(status="ok", prompt="Before"))
        if damage == "while in use":
            ledger.put(running)
        assert ledger.flush()
        ledger._writer.store.close()
        damaged = b"this is no database " * 5 + path.read_bytes()[100:]
        path.write_bytes(damaged)

        ledger.put({"call_id": running["call_id"], "response": "So far"} if damage == "while in use" else running)
        ledger.put(running | {"response": "So far"})
        assert ledger.flush()

        (aside,) = path.parent.glob("ledger.sqlite.corrupt-*")
        assert aside.read_bytes() == damaged
        calls = "2 calls" if damage == "while in use" else "1 call"
        assert ledger.take_warning() == (
            f"The ledger at {path} was damaged. A new file was created with what could be read: {calls}. "
            f"The old file was kept as {aside.name}."
        )
        assert ledger.take_warning() is None
        assert sql("SELECT status, prompt, response FROM calls ORDER BY call_id") == [
            ("running", "What is a ledger?", "So far"),
            ("ok", "Before", None),
        ]


def test_a_damaged_ledger_is_moved_aside_by_reading_too(path, call):
    with Ledger(path) as ledger:
        ledger.put(call(status="ok"))
        assert ledger.flush()
        ledger._writer.store.close()
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
        assert len(ledger.read()) == 1
        assert "was damaged" in ledger.take_warning()
        ledger.put(call())
        assert ledger.flush()


def test_a_ledger_that_cannot_be_read_says_so_for_as_long_as_it_lasts(path, call):
    path.mkdir(parents=True)  # where a file should be
    with Ledger(path) as ledger:
        ledger.put(call(status="ok"))
        assert len(ledger.read()) == 1, "what is in memory"
        assert str(path) in ledger.read_error
        assert "cannot be read" in ledger.read_error
        notices = []
        frame = read_frame(Query(), ledger, notices.append)
        assert len(frame) == 1
        assert len(notices) == 1, "a notice, and no warning raised"
        path.rmdir()
        ledger.read()
        assert ledger.read_error is None
        assert ledger.flush(30)


@pytest.mark.parametrize("how", ["file", "folder"])
def test_a_ledger_that_vanished_is_begun_anew_with_the_calls_that_still_run(path, sql, call, how):
    with Ledger(path) as ledger:
        ledger.put(call(model="openai/finished", status="ok"))
        running = call(model="openai/running")
        ledger.put(running)
        assert ledger.flush()

        path.unlink() if how == "file" else shutil.rmtree(path.parent)
        ledger.put({"call_id": running["call_id"], "response": "So far"})
        assert ledger.flush()
        assert sql("SELECT model, prompt, response FROM calls") == [("openai/running", "What is a ledger?", "So far")]
        assert "was removed or replaced while in use. A new one was created." in ledger.take_warning()


def test_a_row_that_the_database_refuses_costs_no_other_row(ledger, sql, call, caplog):
    ledger.put(call())
    assert ledger.flush()
    sql(
        "CREATE TRIGGER no_poison BEFORE INSERT ON calls WHEN NEW.model = 'poison' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )
    rows = [call(status="ok") for _ in range(20)]
    rows[7]["model"] = "poison"
    for row in rows:
        ledger.put(row)
    with caplog.at_level(logging.ERROR, "ipyllm.ledger"):
        assert ledger.flush()
    assert sql("SELECT count(*) FROM calls") == [(20,)]
    assert [record.getMessage() for record in caplog.records] == [
        f"The ledger refused the row of call {rows[7]['call_id']} (not this one). The row is lost."
    ]


def test_memory_is_bounded_and_the_text_of_old_calls_goes_first():
    backlog = Backlog(max_rows=5, max_text=100)
    backlog.merge({"call_id": "running", "status": "running", "response": "x" * 30})
    for number in range(8):
        backlog.merge({"call_id": str(number), "status": "ok", "response": "x" * 20})
    backlog.trim()
    rows = backlog.rows()
    assert [row["call_id"] for row in rows] == ["running", "4", "5", "6", "7"]
    assert [len(row.get("response", "")) for row in rows] == [30, 0, 20, 20, 20]
    assert backlog.lost == 4
    assert [row["call_id"] for row in backlog.batch(10)] == ["running", "4", "5", "6", "7"]
