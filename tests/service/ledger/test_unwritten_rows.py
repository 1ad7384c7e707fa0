"""Rows that cannot be written before a process ends: said on stderr, kept in a file, and written at the next start."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime

import pytest

from ipyllm import sent_request
from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import CALLS, COLUMNS, CONVERSATIONS, VOTES
from ipyllm.ledger.packed import pack, unpack
from ipyllm.ledger.query import ConversationQuery, VoteQuery
from ipyllm.ledger.unwritten_rows import UnwrittenRows
from ipyllm.ledger.writer import Writer

_SCRIPT = """
    import sys
    from datetime import UTC, datetime
    from ipyllm.ledger import Ledger
    from ipyllm.ledger.columns import VOTES
    ledger = Ledger(sys.argv[1])
    ledger.put({"call_id": "a", "status": "ok", "started_at": datetime(2026, 11, 1, tzinfo=UTC), "tags": {"x": "é"}})
    ledger.put({"call_id": "b", "status": "running", "response": "So far"})
    ledger.put({"comparison": "c", "vote_id": "v", "outcome": "tie"}, VOTES)
"""


@pytest.fixture
def script(python, monkeypatch, tmp_path):
    """Run the script with a ledger; return what it says on stderr."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))

    def run(path, script=_SCRIPT):
        process = python(script, path)
        out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (0, "")
        return err

    return run


def make_a_folder(path):
    path.mkdir(parents=True)
    return path.rmdir


def block_the_folder(path):
    path.parent.write_text("a file where the folder should be")
    return path.parent.unlink


def other_database(path):
    path.parent.mkdir()
    path.write_bytes(b"a,b\n1,2\n")
    return path.unlink


@pytest.mark.parametrize("obstacle", [make_a_folder, block_the_folder, other_database])
def test_they_are_kept_in_a_file_and_written_at_the_next_start(script, path, tmp_path, obstacle):
    remove = obstacle(path)
    said = script(path)
    (kept,) = tmp_path.rglob("*.unwritten-*.jsonl")
    if obstacle is not block_the_folder:
        assert kept.parent == path.parent, "beside the ledger where that is possible"
    said = said.splitlines(keepends=True)[-1]  # the log of a script without handlers is on stderr too
    assert said.startswith(f"ipyllm: 3 rows could not be written to the ledger at {path} (")
    assert said.endswith(f") and were kept in {kept}, and will be added when the ledger can be opened again.\n")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    remove()
    with Ledger(path) as ledger:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in ledger.read()]
        assert sorted((row["call_id"], row["status"], row["response"]) for row in rows) == [
            ("a", "ok", None),
            ("b", "interrupted", "So far"),
        ]
        (first,) = (row for row in rows if row["call_id"] == "a")
        assert (first["started_at"], first["tags"]) == (datetime(2026, 11, 1, tzinfo=UTC), {"x": "é"})
        assert len(ledger.read(VoteQuery())) == 1
        assert ledger.take_warning() == (
            f"The ledger at {path} now has 3 rows that an earlier process kept in {kept.name}."
        )
    assert not kept.exists()


def test_the_name_of_a_ledger_may_have_any_characters(tmp_path):
    path = tmp_path / "a[b]*?.sqlite"
    UnwrittenRows(path).keep([(CALLS, {"call_id": "a", "status": "ok"})])
    with Ledger(path) as ledger:
        assert [row[0] for row in ledger.read()] == ["a"]


def test_nothing_is_said_where_everything_was_written(script, path):
    assert script(path) == ""
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_worker_keeps_its_rows_too(script, tmp_path, path):
    make_a_folder(path)
    said = script(
        path,
        """
        import multiprocessing, sys
        from ipyllm.ledger import Ledger

        ledger = Ledger(sys.argv[1])

        def work():
            ledger.put({"call_id": "child", "status": "ok"})

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start()
            child.join()
        """,
    )
    assert said.count("1 row could not be written") == 1
    (kept,) = tmp_path.rglob("*.unwritten-*.jsonl")
    assert json.loads(kept.read_text()) == {"table": "calls", "row": {"call_id": "child", "status": "ok"}}


def test_that_they_are_lost_is_said_where_no_file_can_be_written(script, path):
    make_a_folder(path)
    said = script(
        path,
        "import ipyllm.ledger.unwritten_rows as module\n"
        "def full(*_): raise OSError(28, 'No space left on device')\n"
        "module.atomic_write = full\n" + "\n".join(line.strip() for line in _SCRIPT.splitlines()),
    )
    assert said.endswith(
        f"\nipyllm: 3 rows could not be written to the ledger at {path} (it is a folder) and were lost, because no "
        "file can be written either (No space left on device).\n"
    )


_SMALL_FILES = """
    import resource, sys
    from ipyllm.ledger import Ledger
    ledger = Ledger(sys.argv[1])
    ledger.put({"call_id": "first", "status": "ok"})
    assert ledger.flush(30)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for number in range(20):
        ledger.put({"call_id": str(number), "status": "ok", "response": str(number) * 30_000})
"""


@pytest.mark.skipif(os.name != "posix", reason="no limits of a process's files")
def test_rows_are_kept_in_several_files_where_files_may_not_be_large(script, path, tmp_path):
    said = script(path, _SMALL_FILES)
    kept = list(tmp_path.rglob("*.unwritten-*.jsonl"))
    assert len(kept) > 2
    assert f"and were kept in {path}.unwritten-" in said
    assert f" and {len(kept) - 1} files like it, and will be added when the ledger can be opened again" in said
    with Ledger(path) as ledger:
        assert len(ledger.read()) == 21

    said = script(
        path, _SMALL_FILES + '    ledger.put({"call_id": "huge", "status": "ok", "response": "x" * 300_000})\n'
    )
    assert "; 1 was lost, because no file can be written either (File too large).\n" in said
    with Ledger(path) as ledger:
        assert len(ledger.read()) == 21


def test_the_password_of_a_server_is_in_no_name_and_no_sentence(script, tmp_path):
    said = script("postgresql://me:very-secret-word-4711@127.0.0.1:9/calls")
    assert "3 rows could not be written to the ledger at postgresql+psycopg://me:***@127.0.0.1:9/calls" in said
    (kept,) = tmp_path.rglob("*.unwritten-*.jsonl")
    assert "4711" not in said + str(kept) + kept.read_text()
    assert kept in UnwrittenRows("postgresql+psycopg://me:***@127.0.0.1:9/calls").files()


def test_requests_and_conversations_are_kept_too(path):
    request = {"body": {"messages": [{"role": "user", "content": "word " * 400}]}}
    rows = [
        (CALLS, {"call_id": "a", "request": pack(request)}),
        (CONVERSATIONS, {"conversation_id": "c", "contents": pack({"turns": []})}),
    ]
    UnwrittenRows(path).keep(rows)
    with Ledger(path) as ledger:
        assert sent_request("a", ledger=ledger) == request["body"]
        query = ConversationQuery(packed=True)
        (row,) = ledger.read(query)
        assert unpack(row[query.columns.index("contents")]) == {"turns": []}


def test_lines_that_are_damaged_stay_in_the_file(path):
    kept = UnwrittenRows(path).keep(
        [(CALLS, {"call_id": "a", "status": "ok"}), (VOTES, {"comparison": "c", "outcome": "tie"})]
    )
    damaged = [
        b"{",
        b"[]",
        b'{"table": "spies", "row": {}}',
        b'{"table": "calls", "row": {"status": "ok"}}',
        b'{"table": "votes", "row": {"comparison": "alone"}}',
        b"caf\xe9",
    ]
    kept.write_bytes(kept.read_bytes() + b"\n".join(damaged))
    with Ledger(path) as ledger:
        assert [row[0] for row in ledger.read()] == ["a"]
        assert f"2 rows that an earlier process kept in {kept.name}.corrupt; 6 rows could not" in ledger.take_warning()
    assert kept.with_name(f"{kept.name}.corrupt").exists()
    assert not kept.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid(), reason="needs another user")
def test_rows_of_other_users_are_not_taken_in(path):
    kept = UnwrittenRows(path).keep([(CALLS, {"call_id": "a", "status": "ok"})])
    os.chown(kept, 12345, -1)
    with Ledger(path) as ledger:
        assert list(ledger.read()) == []
    assert kept.exists()


def test_only_rows_that_were_kept_are_written(path, monkeypatch, capsys):
    writer = Writer(str(path), store_text=True)
    for key in "abc":
        writer.pending.put({"call_id": key, "status": "ok"}, CALLS)
    files = [(path, 1), (OSError(28, "No space left on device"), 1), (path, 1)]
    monkeypatch.setattr(writer.store, "keep", lambda _: files)
    writer.give_up()
    assert [row["call_id"] for _, row in writer.pending.unwritten()] == ["b"]
    said = capsys.readouterr().err
    assert "3 rows could not be written" in said
    assert " and 2 of them were kept in " in said
    assert "; 1 was lost, because" in said
