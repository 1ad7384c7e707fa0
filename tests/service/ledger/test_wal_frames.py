"""A damaged write-ahead log, of which SQLite ignores the rest without a word: that rows are missing is said."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
from contextlib import closing

import pytest
import sqlalchemy as sa

from ipyllm.ledger import Ledger, wal_frames
from ipyllm.ledger.wait_limit import wait_limit
from ipyllm.ledger.wal_frames import WalFrames, keep_if_ignored, read_frames

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills a process")

_KILLED = """
    import os, sys
    from ipyllm.ledger import Ledger
    ledger = Ledger(sys.argv[1])
    for number in range(40):
        ledger.put({"call_id": str(number), "status": "ok", "response": "word " * 2_000})
        if number % 10 == 9:
            assert ledger.flush(30)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def killed(python, path):
    """Return the log that a killed process left, with four transactions and more."""
    assert python(_KILLED, path).wait(60) == -signal.SIGKILL
    return path.with_name(f"{path.name}-wal")


def flip(log, place):
    data = bytearray(log.read_bytes())
    data[place] ^= 0xFF
    log.write_bytes(data)


DAMAGE = {
    "a page": lambda log: flip(log, log.stat().st_size // 2),
    "salts of a frame": lambda log: flip(log, 32 + 10),
    "the header": lambda log: flip(log, 20),
    "all": lambda log: log.write_bytes(random.Random(1).randbytes(log.stat().st_size)),
}


def test_that_rows_are_missing_is_said_and_the_log_kept(killed, path):
    whole = path.parent.with_name("whole")
    shutil.copytree(path.parent, whole)
    for damage in DAMAGE.values():
        shutil.rmtree(path.parent)
        shutil.copytree(whole, path.parent)
        damage(killed)
        damaged = killed.read_bytes()
        with Ledger(path) as ledger:
            assert len(ledger.read()) < 40
            said = ledger.take_warning()
        (kept,) = path.parent.glob("*-wal.corrupt-*")
        assert said == f"The ledger at {path} may lack its latest rows: its log is damaged, and is kept as {kept.name}."
        assert kept.read_bytes() == damaged
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_nothing_is_said_of_a_whole_log_with_frames_of_an_earlier_one(killed, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        connection.execute("UPDATE calls SET response = 'new' WHERE call_id = '1'")
        n_frames = (killed.stat().st_size - 32) // (24 + 4096)
        assert 0 < read_frames(killed).n_committed < n_frames // 2, "old frames follow"
        with Ledger(path) as ledger:
            assert len(ledger.read()) == 40
            assert ledger.take_warning() is None
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_commit_that_failed_before_its_page_damages_no_log(path, tmp_path):
    with Ledger(path) as ledger:
        ledger.put({"call_id": "1", "status": "ok"})
        assert ledger.flush(30)
        copy = tmp_path / "copy"
        shutil.copytree(path.parent, copy)
    log = copy / f"{path.name}-wal"
    whole = read_frames(log)
    last = 32 + (whole.n_committed - 1) * (24 + 4096)
    with log.open("r+b") as file:
        file.seek(last)
        header = file.read(24)
        assert header[4:8] != bytes(4), "the mark of a commit"
        file.truncate(last + 24 + 4096)
        file.seek(0, 2)
        file.write(header[:4] + bytes(4) + header[8:] + bytes(4096))  # a page before, which no commit followed
        file.write(header + b"a part of the page")
    assert read_frames(log) == whole
    with Ledger(copy / path.name) as ledger:
        assert len(ledger.read()) == 1
        assert ledger.take_warning() is None


@pytest.fixture
def connection(tmp_path):
    """Return a connection to a database that another one is writing."""
    file = tmp_path / "held.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as other, engine.connect() as connection:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE texts (text)")
        other.execute("BEGIN IMMEDIATE")
        yield connection
    engine.dispose()


def test_a_check_that_would_wait_too_long_says_nothing(connection, tmp_path, monkeypatch):
    unchanged = WalFrames(bytes(8), 99)
    monkeypatch.setattr(wal_frames, "read_frames", lambda _: unchanged)
    with wait_limit(0.01):
        assert keep_if_ignored(connection, tmp_path / "held.db-wal", unchanged) is None
    assert list(tmp_path.glob("*.corrupt-*")) == []


def test_without_a_number_of_frames_nothing_waits(connection, tmp_path, monkeypatch):
    monkeypatch.setattr(wal_frames, "_n_frames_read", lambda _: -1)
    monkeypatch.setattr(wal_frames, "begin_writing", lambda *_: pytest.fail("waits"))
    assert keep_if_ignored(connection, tmp_path / "held.db-wal", WalFrames(bytes(8), 99)) is None


@pytest.mark.parametrize("is_there", [True, False])
def test_a_log_that_cannot_be_copied_leaves_no_file(tmp_path, monkeypatch, is_there):
    def full(_source, target):
        target.write(b"a part")
        target.flush()
        raise OSError(28, "No space left on device")

    log = tmp_path / "calls.db-wal"
    if is_there:
        log.write_bytes(b"a log")
    monkeypatch.setattr(wal_frames.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"No space left|No such file"):
        wal_frames._copy(log, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
