"""A damaged file: what can be read of it is in a new one, the old one is kept, and one sentence says so."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from ipyllm.ledger import Ledger
from ipyllm.ledger.columns import CALLS, COLUMNS, CONVERSATIONS, NOTES, PRIVATE, TABLES, VOTES
from ipyllm.ledger.query import ConversationQuery, NoteQuery, VoteQuery
from ipyllm.ledger.recovery import Layout, Recovery
from tests.service.ledger.flipped import N_ROWS, flip, make_ledger, row

_FEW = (1, 3, 8, 34, 36, 50)
"""Seeds of `make test`: schema, payload, header, tree; a file that is no database, and one that loses rows."""

ROWS = {row(number)["call_id"]: row(number) for number in range(N_ROWS)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    make_ledger(path)
    return path


def read(ledger):
    return {values[0]: dict(zip(COLUMNS, values, strict=True)) for values in ledger.read()}


@pytest.mark.parametrize(
    "seed", [seed if seed in _FEW else pytest.param(seed, marks=pytest.mark.thorough) for seed in range(60)]
)
def test_of_a_file_with_flipped_bytes_everything_is_read_that_is_not_flipped_itself(whole, path, seed):
    path.parent.mkdir()
    shutil.copy(whole, path)
    place = flip(path, seed)
    flipped = path.read_bytes()
    with Ledger(path) as ledger:
        first = read(ledger)
        ledger.put({"call_id": "new", "status": "ok"})
        assert ledger.flush(60), "it can be written"
        rows = read(ledger)
        said = ledger.take_warning() or ""
        assert rows.keys() - {"new"} == first.keys() or "new file" in said
        kept = [file for file in path.parent.iterdir() if ".corrupt-" in file.name]
        assert not [file for file in path.parent.iterdir() if ".recovering-" in file.name]
    missing = ROWS.keys() - rows.keys()
    changed = [key for key, each in rows.items() if key in ROWS and not ROWS[key].items() <= each.items()]
    print(f"{seed} {place}: {len(missing)} missing, {len(changed)} changed. {said}")
    # Four bytes at most were flipped, and each is in one row, or in what leads to one or a few.
    assert len(missing) + len(changed) <= (8 if place in {"b-tree", "payload"} else 0)
    renamed = rows.keys() - ROWS.keys() - {"new"}  # an id has no checksum
    assert len(renamed) <= (len(missing) if place == "payload" else 0)
    if kept:
        assert kept[0].name in said
        assert f"what could be read: {N_ROWS - len(missing) + len(renamed)} calls" in said
        assert len(kept[0].read_bytes()) >= len(flipped) - 4096 * 2
        assert all(key in said for key in missing), "rows that are lost are named"
    else:
        assert len(missing) == len(renamed)


def test_a_file_whose_first_page_is_gone_is_recovered(whole, path):
    path.parent.mkdir()
    data = bytearray(whole.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)
    with Ledger(path) as ledger:
        assert read(ledger).keys() == ROWS.keys()
        assert f"what could be read: {N_ROWS} calls" in ledger.take_warning()
        (kept,) = path.parent.glob("ledger.sqlite.corrupt-*")
        assert kept.read_bytes() == data, "the old file is as it was"


def test_half_a_file_gives_half_the_rows_and_names_the_others(whole, path):
    path.parent.mkdir()
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 4096 // 2 * 4096])
    with Ledger(path) as ledger:
        assert 20 < len(read(ledger)) < N_ROWS
        assert "could not be read" in ledger.take_warning()


def test_rows_in_the_write_ahead_log_are_recovered(path, call):
    with Ledger(path) as ledger:
        for _ in range(20):
            ledger.put(call(status="ok"))
        assert ledger.flush(30)
        with closing(sqlite3.connect(path)) as other:  # so that closing does not empty the log
            other.execute("SELECT count(*) FROM calls").fetchall()
            copy = path.with_name("copy")
            copy.write_bytes(path.read_bytes())
            log = path.with_name("ledger.sqlite-wal").read_bytes()
            path.with_name("copy-wal").write_bytes(log)
    assert len(log) > 10_000
    recovery = Recovery(copy, {"calls": Layout(columns_of(path), 45)})
    assert len({found["call_id"] for _, found in recovery.rows()}) == 20


def columns_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return {
            name: {**CALLS.writable, **PRIVATE}[name] for _, name, *_ in connection.execute("PRAGMA table_info(calls)")
        }


def test_tables_are_told_apart_by_their_number_of_columns():
    counts = [len(table.writable) + len(table.private) for table in TABLES if table is not NOTES]
    assert len(set(counts)) == len(counts)


def test_notes_and_conversations_which_have_as_many_columns_are_told_apart_by_their_keys(path, call, sql):
    conversation = {"conversation_id": "0123456789abcdef" * 2, "place": "a.ipynb", "name": "trip"}
    note = {"note_id": '["e", "p"]', "experiment": "e", "prompt_id": "p", "note": "Good."}
    with Ledger(path) as ledger:
        ledger.put(conversation | {"draft": "And of"}, CONVERSATIONS)
        ledger.put(note, NOTES)
        for _ in range(40):
            ledger.put(call(status="ok", experiment="e") | {"prompt": "Hello " * 200})
        assert ledger.flush(30)
        assert ledger.close(30)
        data = bytearray(path.read_bytes())
        data[16:18] = b"\0\1"
        path.write_bytes(data)
        assert len(ledger.read()) == 40
        (kept,) = ledger.read(ConversationQuery())
        assert conversation.items() <= dict(zip(ConversationQuery().columns, kept, strict=True)).items()
        (kept,) = ledger.read(NoteQuery())
        assert note.items() <= dict(zip(NoteQuery().columns, kept, strict=True)).items()


def test_votes_notes_budgets_and_calls_that_run_are_recovered(path, call, sql):
    with Ledger(path) as ledger:
        ledger.put({"note_id": '["e", "p"]', "experiment": "e", "note": "Good."}, NOTES)
        ledger.put({"comparison": "a", "vote_id": "a", "outcome": "tie", "arms": {"x": None}}, VOTES)
        for number in range(40):
            ledger.put(call(status="ok", experiment="e", cost_usd=0.5) | {"prompt": f"{number} " * 200})
        ledger.put(call())
        assert ledger.flush(30)
        assert "r" in ledger.reserve("e", 100.0, {"r": (2.0, False)}).granted
        assert ledger.close(30)
        data = bytearray(path.read_bytes())
        data[16:18] = b"\0\1"
        path.write_bytes(data)
        assert len(ledger.read()) == 41
        assert len(ledger.read(VoteQuery())) == 1
        assert [values[-1] for values in ledger.read(NoteQuery())] == ["Good."]
        assert "41 calls and 1 vote" in ledger.take_warning()
        state = ledger.reserve("e", 100.0, {})
        assert (state.spent_usd, state.reserved_usd) == (20.0, 2.0)
    assert sql("PRAGMA integrity_check") == [("ok",)]


def test_a_recovery_that_was_interrupted_is_done_at_the_next_start(whole, path):
    path.parent.mkdir()
    shutil.copy(whole, path.with_name("ledger.sqlite.recovering-20260101T000000000000"))
    with Ledger(path) as ledger:
        assert len(read(ledger)) == N_ROWS
        assert "ledger.sqlite.corrupt-20260101T000000000000" in ledger.take_warning()
    with Ledger(path) as ledger:
        assert len(read(ledger)) == N_ROWS
        assert ledger.take_warning() is None


def test_a_newer_row_is_not_replaced_by_a_recovered_one(path, call):
    mine = call()
    with Ledger(path) as ledger:
        ledger.put(mine)
        assert ledger.flush(30)
    older = path.read_bytes()
    with Ledger(path) as ledger:
        ledger.put(mine | {"status": "ok", "response": "newer"})
        assert ledger.flush(30)
    path.with_name("ledger.sqlite.recovering-1").write_bytes(older)
    with Ledger(path) as ledger:
        assert [each["response"] for each in read(ledger).values()] == ["newer"]


def test_rows_that_were_deleted_stay_deleted(whole, path):
    path.parent.mkdir()
    shutil.copy(whole, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("DELETE FROM calls WHERE input_tokens >= 20")
    assert b"Answer 150" in path.read_bytes(), "pages that are not used any more have them"
    recovery = Recovery(path, {"calls": Layout(columns_of(path), 45)})
    assert len({found["call_id"] for _, found in recovery.rows()}) == 20
    assert not recovery.lost


@pytest.mark.parametrize("seed", range(8))
def test_pages_of_noise_give_no_rows_and_no_error(whole, path, seed):
    path.parent.mkdir()
    chosen = random.Random(seed)
    data = bytearray(whole.read_bytes())
    for _ in range(len(data) // 20):
        data[chosen.randrange(len(data))] = chosen.randrange(256)
    path.write_bytes(data)
    recovery = Recovery(path, {"calls": Layout(columns_of(whole), 45)})
    for _, found in recovery.rows():
        assert found["call_id"]
