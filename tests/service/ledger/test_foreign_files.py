"""What is at the path of the ledger and not ours: refused with a sentence, before anything is sent, and left alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from ipyllm import cast_vote
from ipyllm.errors import LLMError
from ipyllm.experiment import Experiment
from ipyllm.ledger import Ledger, set_ledger
from ipyllm.services.openai import OpenAIService
from tests.fakes import answer

KEY = "test-key-1234567890abcd"


def database(path, table="customers"):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} (name TEXT)")
        connection.execute(f"INSERT INTO {table} VALUES ('somebody')")


def database_with_a_log(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.commit()
        copies = {name: path.with_name(name).read_bytes() for name in (path.name, f"{path.name}-wal")}
    for name, content in copies.items():  # as after a crash: all is in the log
        path.with_name(name).write_bytes(content)


FOREIGN = {
    "folder": lambda path: path.mkdir(),
    "csv": lambda path: path.write_bytes(b"call_id,started_at\n1,2\n"),
    "text": lambda path: path.write_bytes("Dear diary, …".encode()),
    "dump of a ledger": lambda path: path.write_text("CREATE TABLE calls (\n    call_id TEXT NOT NULL PRIMARY KEY"),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "somebody's database": database,
    "somebody's table of calls": lambda path: database(path, "calls"),
    "somebody's database with a log": database_with_a_log,
    "somebody's damaged database": lambda path: (
        database(path),
        path.write_bytes(path.read_bytes()[:4000].replace(b"SQLite", b"SQLute")),
    ),
    "pipe": os.mkfifo,
}


def contents(folder):
    """Return the files and their contents, without the index of a log, which readers change."""
    return {
        path.name: path.read_bytes() if path.is_file() else None
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("kind", FOREIGN)
def test_it_is_refused_at_the_first_call_and_left_as_it_is(tmp_path, monkeypatch, fake, kind):
    path = tmp_path / "mine"
    FOREIGN[kind](path)
    before = contents(tmp_path)
    monkeypatch.setenv("IPYLLM_LEDGER", str(path))
    service = OpenAIService("m", api_key=KEY, base_url=fake.base_url)
    for use in (
        lambda: service.chat("Hello"),
        lambda: service.chat("Hello again"),
        lambda: Experiment(["Hello"], models=[service]),
        lambda: cast_vote({"a": None, "b": None}, "tie"),
    ):
        with pytest.raises(LLMError, match=r"cannot be the ledger: it is .* nothing was sent\. Set IPYLLM_LEDGER to"):
            use()
    assert not fake.requests
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_ledger_does_not_write_into_it_either(tmp_path, kind):
    path = tmp_path / "mine"
    FOREIGN[kind](path)
    before = contents(tmp_path)
    with Ledger(path) as ledger:
        ledger.put({"call_id": "1", "status": "ok"})
        assert not ledger.flush(30)
        assert [row[0] for row in ledger.read()] == ["1"]
        assert "cannot be written (it is " in ledger.take_warning()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("url", ["{}", "sqlite:///{}", "~/mine"])
def test_all_ways_to_name_the_file_are_checked(tmp_path, monkeypatch, url):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(LLMError, match="mine cannot be the ledger: it is a folder"):
        Ledger(url.format(tmp_path / "mine")).check()


def test_once_it_is_moved_away_calls_are_made(tmp_path, fake, monkeypatch):
    path = tmp_path / "mine"
    path.mkdir()
    fake.default = answer("Hi")
    service = OpenAIService("m", api_key=KEY, base_url=fake.base_url)
    with Ledger(path) as ledger:
        set_ledger(ledger)
        try:
            with pytest.raises(LLMError, match="it is a folder"):
                service.chat("Hello")
            path.rmdir()
            assert service.chat("Hello").content == "Hi"
            assert ledger.flush(30)
        finally:
            set_ledger(None)


@pytest.mark.parametrize(
    "kind", ["empty file", "empty database", "ledger", "ledger without header", "ledger in memory"]
)
def test_what_is_ours_or_may_become_ours_is_used(tmp_path, kind):
    path = tmp_path / "mine"
    if kind == "empty file":
        path.touch()
    elif kind == "empty database":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version=0")
            connection.execute("VACUUM")
    elif kind.startswith("ledger"):
        with Ledger(path) as ledger:
            ledger.put({"call_id": "0", "status": "ok"})
            assert ledger.flush(30)
        if kind == "ledger without header":
            path.write_bytes(bytes(100) + path.read_bytes()[100:])
    with Ledger("sqlite://" if kind == "ledger in memory" else path) as ledger:
        ledger.check()
        ledger.put({"call_id": "1", "status": "ok"})
        assert ledger.flush(30)


def test_a_file_that_is_replaced_in_place_while_in_use_is_left_as_it_is(path):
    with Ledger(path) as ledger:
        ledger.put({"call_id": "1", "status": "ok"})
        assert ledger.flush(30)
        ledger._writer.store.close()
        path.write_bytes(b"a,b\n1,2\n" * 2000)
        ledger.put({"call_id": "2", "status": "ok"})
        assert not ledger.flush(30)
    assert contents(path.parent) == {path.name: b"a,b\n1,2\n" * 2000}
