"""What can be wrong with the file of the cache."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace

import pytest

from ipyllm.pipeline.cache import ResponseCache
from ipyllm.pipeline.cache_file import _BUSY_S
from tests.service.pipeline.cached_answer import ANSWER
from tests.stalls import again_if_stalled


def test_the_file_is_the_users_alone(cache, path):
    cache.put("k", ANSWER)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert (modes, stat.S_IMODE(path.parent.stat().st_mode)) == ({0o600}, 0o700)


@pytest.mark.parametrize("damage", [b"no header at all" * 6, None])
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path, damage, caplog):
    path.parent.mkdir()
    path.touch()
    if damage is not None:
        with ResponseCache(path) as cache:
            cache.put("another", ANSWER)
        damage += path.read_bytes()[len(damage) :]
        path.write_bytes(damage)
    with ResponseCache(path) as cache:
        assert cache.get("k") is None
        cache._unusable_until = 0
        cache.put("k", ANSWER)
        assert cache.get("k") is not None
    aside = list(path.parent.glob("*.corrupt-*"))
    assert [file.read_bytes() for file in aside] == ([damage] if damage else [])
    assert len([r for r in caplog.records if r.name == "ipyllm.cache"]) == bool(damage)


@pytest.mark.parametrize("stored", ["CAST(x'e9' AS TEXT)", "'[]'", "7", "x'e9'"])
def test_a_damaged_answer_is_a_miss_and_replaced(path, stored):
    with ResponseCache(path) as cache:
        for key in ("damaged", "whole"):
            cache.put(key, ANSWER)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE answers SET answer = {stored}, created_at = 'then' WHERE key = 'damaged'")
        assert cache.get("damaged") is None
        assert cache.get("whole") is not None, "the cache stays in use"
        cache.put("damaged", ANSWER)
        assert cache.get("damaged") is not None


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", bytes(5000)])
def test_a_file_of_others_is_left_as_it_is(path, content, caplog):
    path.parent.mkdir()
    path.write_bytes(content)
    with ResponseCache(path) as cache:
        cache.put("k", ANSWER)
        assert cache.get("k") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == content
    assert "it is not a database" in caplog.text


def test_damage_under_way_is_a_miss(path):
    with ResponseCache(path) as cache:
        for number in range(200):
            cache.put(str(number), replace(ANSWER, content="x" * 5_000))
        cache.close()
        data = bytearray(path.read_bytes())
        data[4096 : len(data) // 2] = os.urandom(len(data) // 2 - 4096)
        path.write_bytes(data)
        assert [cache.get(str(number)) for number in range(50)].count(None) > 0
        cache._unusable_until = 0
        cache.put("new", ANSWER)
        cache._unusable_until = 0
        assert cache.get("new") is not None
    assert list(path.parent.glob("*.corrupt-*"))


def test_a_file_that_was_deleted_is_made_again(cache, path):
    cache.put("k", ANSWER)
    for file in path.parent.iterdir():
        file.unlink()
    assert cache.get("k") is None
    cache.put("k", ANSWER)
    assert path.exists()
    assert cache.get("k") is not None


def test_another_programs_database_is_left_alone(path, caplog):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE answers (precious TEXT)")
    with ResponseCache(path) as cache:
        cache.put("k", ANSWER)
        assert cache.get("k") is None
        with pytest.raises(OSError, match="could not be cleared: it is a database of another program"):
            cache.clear()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA table_info(answers)").fetchall()[0][1] == "precious"
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert "another program" in caplog.text


def test_a_newer_ipyllms_cache_is_left_alone(cache, path):
    cache.put("k", ANSWER)
    cache.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA user_version=99")
    assert cache.get("k") is None
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM answers").fetchone() == (1,)


def test_a_row_that_is_not_as_we_write_it_is_a_miss(cache, path):
    cache.put("k", ANSWER)
    for wrong in ("no json", "[]", '{"content": 1}', '{"tool_calls": [{}], "usage": {}}'):
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE answers SET answer = ?", (wrong,))
        assert cache.get("k") is None
    cache.put("k", ANSWER)
    assert cache.get("k") is not None


def test_a_cache_that_cannot_be_is_a_miss_told_once_and_costs_little(tmp_path, caplog):
    (tmp_path / "file").touch()
    with ResponseCache(tmp_path / "file" / "answers.sqlite") as cache, caplog.at_level(logging.WARNING):
        before = time.thread_time()
        for _ in range(100):
            cache.put("k", ANSWER)
            assert cache.get("k") is None
        assert time.thread_time() - before < 0.1
        assert cache.stats().entries == 0
        with pytest.raises(OSError, match="could not be cleared"):
            cache.clear()
    assert len([record for record in caplog.records if record.name == "ipyllm.cache"]) == 1


def test_a_write_that_fails_half_way_is_undone_and_keeps_no_other_kernel_from_writing(cache, path, caplog):
    cache.put("k", ANSWER)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute(
            "CREATE TRIGGER refuse AFTER INSERT ON answers WHEN NEW.key = 'refused' BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        cache.put("refused", ANSWER)
        other.execute("BEGIN IMMEDIATE")  # at once: no lock is left
        assert other.execute("SELECT key FROM answers").fetchall() == [("k",)]
        other.execute("ROLLBACK")
    assert "the cache cannot be used; calls continue without it" in caplog.text


def test_a_page_that_is_found_damaged_while_writing_costs_the_file_and_no_call(path, caplog):
    with ResponseCache(path, max_bytes=800_000) as cache:
        for number in range(100):
            cache.put(str(number), replace(ANSWER, content="x" * 5_000))
    with closing(sqlite3.connect(path)) as file:
        (page,) = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'answers_used'").fetchone()
        (size,) = file.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    with ResponseCache(path, max_bytes=800_000) as cache:
        assert cache.get("1") is not None, "what is damaged is only what a write needs"
        cache.put("new", ANSWER)
        assert len(list(path.parent.glob("*.corrupt-*"))) >= 1
        cache.clear()  # which tries the file again at once
        cache.put("new", ANSWER)
        assert cache.get("new") is not None
    assert "malformed" in caplog.text


@again_if_stalled(0.05)
def test_a_cache_that_others_are_writing_is_read_and_not_waited_for(cache, path, caplog):
    cache.put("k", ANSWER)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = time.perf_counter()
        assert cache.get("k") is not None
        assert time.perf_counter() - before < _BUSY_S, "who waits for the lock waits as long as this"
        cache.put("new", ANSWER)
        assert time.perf_counter() - before < 30
        other.execute("ROLLBACK")
    assert cache.get("new") is None
    cache.put("new", ANSWER)
    assert cache.get("new") is not None
    assert not caplog.records
