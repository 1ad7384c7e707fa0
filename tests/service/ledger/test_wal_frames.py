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

from ipyllm.ledger import Ledger
from ipyllm.ledger.wal_frames import read_frames

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
        assert said == f"The ledger at {path} lacks its latest rows: its log is damaged, and is kept as {kept.name}."
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
