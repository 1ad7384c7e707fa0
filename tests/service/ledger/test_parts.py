"""Small modules of ``ledger``."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from ulid import ULID

from ipyllm import OllamaService
from ipyllm.ledger import current_ledger, set_ledger
from ipyllm.ledger.backlog import Backlog
from ipyllm.ledger.columns import CALLS
from ipyllm.ledger.ids import kernel_id, new_id
from ipyllm.ledger.query import Query
from ipyllm.ledger.sanitize import sanitize
from ipyllm.ledger.sqlite_file import SQLiteFile
from ipyllm.ledger.tables import VERSION, migrate, version_of
from ipyllm.ledger.warnings_queue import WarningsQueue


def rows_of(ledger):
    return [dict(zip(CALLS.columns, row, strict=True)) for row in ledger.read()]


def test_a_backlog_gives_only_what_is_not_written_yet():
    backlog = Backlog()
    backlog.merge({"call_id": "1", "status": "running", "prompt": "Hello"})
    assert backlog.batch(10) == [{"call_id": "1", "status": "running", "prompt": "Hello"}]
    backlog.mark_written(backlog.batch(10))
    backlog.merge({"call_id": "1", "status": "ok"})
    assert backlog.batch(10) == [{"call_id": "1", "status": "ok"}]


@pytest.mark.parametrize("later", [{"status": "ok"}, {"cost_usd": 0.5}, {"status": "ok", "cost_usd": 0.5}], ids=str)
def test_what_is_merged_while_a_batch_is_written_is_written_later(later):
    backlog = Backlog()
    first = {"call_id": "1", "status": "running", "tags": {"arm": "a"}}
    backlog.merge(first)
    batch = backlog.batch(10)
    backlog.merge({"call_id": "1", **later})
    backlog.mark_written(batch)
    assert backlog.batch(10) == [{"call_id": "1", **later}]
    backlog.mark_written(backlog.batch(10))
    assert backlog.n_unwritten == 0
    assert backlog.has_running == ("status" not in later)
    assert first == {"call_id": "1", "status": "running", "tags": {"arm": "a"}}


@pytest.mark.parametrize(("limits", "lost"), [({"max_rows": 1}, 1), ({"max_text": 5}, 0)], ids=["row", "text"])
def test_what_a_backlog_drops_while_it_is_being_written_disturbs_no_other_row(limits, lost):
    backlog = Backlog(**limits)
    backlog.merge({"call_id": "1", "status": "ok", "prompt": "Hello"})
    batch = backlog.batch(10)
    backlog.merge({"call_id": "2", "status": "ok", "prompt": "Hello"})
    backlog.trim()  # by a thread that reads the ledger meanwhile
    backlog.mark_written(batch)
    assert backlog.batch(10) == [{"call_id": "2", "status": "ok", "prompt": "Hello"}]
    assert (backlog.n_unwritten, backlog.lost) == (1, lost)


def test_a_row_is_sanitized_value_by_value():
    row = {"model": "openai/gpt", "error_message": "bad key sk-abcdefghijklmnop", "ttft_s": float("nan")}
    assert sanitize(row) == {"model": "openai/gpt", "error_message": "bad key [key hidden]", "ttft_s": None}
    assert sanitize({"prompt": "Hello", "attempts": 1}, store_text=False) == {"attempts": 1}


def test_a_file_that_was_deleted_counts_as_replaced(tmp_path):
    file = SQLiteFile(tmp_path / "new" / "ledger.sqlite")
    file.prepare()
    assert not file.is_replaced
    file.path.unlink()
    assert file.is_replaced


def test_a_warning_is_shown_once():
    warnings = WarningsQueue()
    warnings.add("The disk is full.")
    warnings.add("The disk is full.")
    assert warnings.take() == "The disk is full."
    assert warnings.take() is None


def test_ids_sort_by_time_and_a_kernel_keeps_its_own():
    first, second = new_id(), new_id()
    for each in (first, second):
        assert str(ULID.parse(each)) == each
        assert abs(ULID.parse(each).timestamp - time.time()) < 60
    assert first < second
    assert kernel_id() == kernel_id()


def test_tags_that_are_no_mapping_are_stored_as_none():
    assert sanitize({"tags": ["arm", "a"]}) == {"tags": None}
    assert sanitize({"tags": {1: 2}}) == {"tags": {"1": "2"}}


def test_calls_go_to_the_ledger_that_was_set_until_none_is(fake, ledger, own_settings):
    set_ledger(ledger)
    OllamaService("m", base_url=fake.base_url).chat("to mine")
    assert current_ledger() is ledger
    set_ledger(None)
    OllamaService("m", base_url=fake.base_url).chat("to that of the settings")
    assert current_ledger() is not ledger
    assert [row["prompt"] for row in rows_of(ledger)] == ["to mine"]
    assert [row["prompt"] for row in rows_of(current_ledger())] == ["to that of the settings"]


def test_a_query_by_tag_accepts_rows_with_more_tags():
    assert Query(tags={"arm": "a"}).matches({"tags": {"arm": "a", "run": "7"}})


def test_a_new_database_is_migrated_to_the_newest_version():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        assert version_of(connection) == VERSION
    engine.dispose()
