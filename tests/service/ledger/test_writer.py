"""The ledger's writer: rows are merged, cleaned and written by its thread."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, date, datetime, timedelta, timezone
from statistics import median

import pytest

from ipyllm.ledger import Ledger
from ipyllm.text.redact import remember_secret


def test_a_call_is_written_when_it_starts_while_it_runs_and_when_it_ends(ledger, sql, call):
    row = call()
    ledger.put(row)
    assert ledger.flush()
    assert sql("SELECT status, prompt, response FROM calls") == [("running", "What is a ledger?", None)]

    ledger.put({"call_id": row["call_id"], "response": "A led"})
    assert ledger.flush()
    assert sql("SELECT status, prompt, response FROM calls") == [("running", "What is a ledger?", "A led")]

    ledger.put({"call_id": row["call_id"], "response": "A ledger.", "status": "ok", "output_tokens": 3})
    assert ledger.flush()
    assert sql("SELECT status, prompt, response, output_tokens FROM calls") == [
        ("ok", "What is a ledger?", "A ledger.", 3)
    ]


def test_a_late_word_on_a_finished_call_leaves_the_rest_of_its_row(ledger, sql, call):
    row = call(status="ok")
    ledger.put(row)
    assert ledger.flush()
    ledger.put({"call_id": row["call_id"], "cost_usd": 0.25})
    assert ledger.flush()
    assert sql("SELECT status, prompt, cost_usd FROM calls") == [("ok", "What is a ledger?", 0.25)]


def test_put_costs_microseconds(ledger, call):
    rows = [call(response="word " * 500) for _ in range(2000)]
    ledger.put(rows[0])
    ledger.flush()
    took = []
    for row in rows:
        before = time.perf_counter()
        ledger.put(row)
        took.append(time.perf_counter() - before)
    assert median(took) < 20e-6


def test_nothing_is_lost_when_many_threads_put(ledger, sql, call):
    def put():
        for _ in range(250):
            row = call()
            ledger.put(row)
            ledger.put({"call_id": row["call_id"], "status": "ok"})

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.flush(60)
    assert sql("SELECT count(*), status FROM calls GROUP BY status") == [(2000, "ok")]


def test_flush_of_nothing_starts_nothing(path):
    ledger = Ledger(path)
    assert ledger.flush(0)
    assert ledger.close()
    assert not path.exists()


def writers():
    """The threads that write ledgers, those of earlier tests too."""
    return {thread for thread in threading.enumerate() if thread.name == "ipyllm-ledger"}


def wait_for_end(threads):
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_closed_ledger_begins_anew_when_something_is_put(ledger, sql, call):
    before = writers()
    for _ in range(3):
        ledger.put(call())
        assert ledger.close()
    assert sql("SELECT count(*) FROM calls") == [(3,)]
    assert not writers() - before


def test_a_ledger_that_was_left_ends_with_the_last_call_that_writes_to_it(path, sql, call):
    before = writers()
    ledger, first, second = Ledger(path), call(), call()
    ledger.put(first)
    ledger.put(second)
    assert ledger.flush(60)
    ledger.close_when_idle()
    ledger.put({"call_id": first["call_id"], "status": "ok"})
    assert ledger.flush(60)
    (thread,) = writers() - before
    thread.join(0.3)
    assert thread.is_alive(), "the other call has not ended, and its row needs a heart that beats"
    ledger.put({"call_id": second["call_id"], "status": "ok"})
    wait_for_end([thread])
    assert sql("SELECT status FROM calls") == [("ok",), ("ok",)]

    ledger.put({"call_id": first["call_id"], "output_tokens": 7})  # a late word
    assert ledger.flush(60)
    wait_for_end(writers() - before)
    assert sql("SELECT sum(output_tokens) FROM calls") == [(7,)]


def test_a_ledger_that_was_left_keeps_what_it_could_not_write(path, sql, call):
    before = writers()
    path.parent.write_text("a file where its folder should be")
    ledger = Ledger(path)
    ledger.put(call(status="ok"))
    assert not ledger.flush(60)
    ledger.close_when_idle()
    (thread,) = writers() - before
    thread.join(0.3)
    assert thread.is_alive()
    path.parent.unlink()
    wait_for_end([thread])
    assert sql("SELECT status FROM calls") == [("ok",)]


def test_text_is_not_written_when_the_settings_say_so(path, sql, call):
    with Ledger(path, store_text=False) as ledger:
        ledger.put(call(response="private", reasoning="private", status="ok"))
        assert ledger.flush()
    assert sql("SELECT prompt, response, reasoning, status FROM calls") == [(None, None, None, "ok")]
    assert b"private" not in path.read_bytes()


def test_keys_are_masked_wherever_they_stand(ledger, sql, call):
    remember_secret("a-very-own-secret-0123456789")
    ledger.put(
        call(
            error_message="Incorrect API key provided: sk-abcdefghijklmnop.",
            prompt="my key is a-very-own-secret-0123456789",
            params={"extra": [{"key": "sk-abcdefghijklmnop"}]},
            tags={"note": "a-very-own-secret-0123456789"},
        )
    )
    assert ledger.flush()
    (row,) = sql("SELECT * FROM calls")
    assert "sk-abc" not in str(row)
    assert "very-own" not in str(row)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("lone \ud83d surrogate", "lone \ufffd surrogate"),
        ("in two \ud83d\ude00 halves", "in two \N{GRINNING FACE} halves"),
        ("naïve 日本語", "naïve 日本語"),
    ],
)
def test_text_that_databases_refuse_is_mended(ledger, sql, call, text, stored):
    ledger.put(call(response=text, tags={text: text}, params={"stop": [text]}))
    assert ledger.flush()
    assert sql("SELECT response, json_extract(params, '$.stop[0]') FROM calls") == [(stored, stored)]


class _Odd:
    def __str__(self):
        raise RuntimeError("no")


def test_an_odd_value_becomes_null_and_costs_nothing_else(ledger, sql, call):
    ledger.put(
        call(
            ttft_s=float("nan"),
            total_s="soon",
            input_tokens=2**70,
            output_tokens=7.0,
            n_chunks="many",
            endpoint=_Odd(),
            started_at="yesterday",
            params={"temperature": float("inf"), "when": date(2026, 1, 1), "deep": {"set": {1}}},
        )
    )
    assert ledger.flush()
    assert sql("SELECT ttft_s, total_s, input_tokens, output_tokens, n_chunks, endpoint, started_at FROM calls") == [
        (None, None, None, 7, None, None, None)
    ]
    assert sql("SELECT params FROM calls") == [('{"temperature": null, "when": "2026-01-01", "deep": {"set": [1]}}',)]


def test_moments_are_stored_in_utc(ledger, sql, call):
    ledger.put(call(started_at=datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2)))))
    assert ledger.flush()
    assert sql("SELECT started_at FROM calls") == [("2026-11-22 23:00:00.000000",)]
    assert ledger.read()[0][1] == datetime(2026, 11, 22, 23, tzinfo=UTC)


def test_a_column_that_does_not_exist_is_logged_once_and_costs_nothing(ledger, sql, call, caplog):
    with caplog.at_level(logging.ERROR, "ipyllm.ledger"):
        for _ in range(2):
            ledger.put(call(ttft="a typo"))
            assert ledger.flush()
        ledger.put({"status": "ok"})
    assert [record.getMessage() for record in caplog.records] == [
        "The ledger has no column ttft.",
        "A row without call_id cannot be stored: status.",
    ]
    assert sql("SELECT count(*) FROM calls") == [(2,)]


def test_importing_and_putting_leave_sqlalchemy_to_the_writer_thread(run_script, path):
    assert (
        run_script(
            """
            import sys, threading
            from ipyllm.ledger import Ledger, current_ledger
            heavy = {"sqlalchemy", "pandas", "sqlite3", "psutil", "ulid", "pydantic"}
            assert not heavy & set(sys.modules), heavy & set(sys.modules)
            ledger = Ledger(sys.argv[1])
            ledger.put({"call_id": "1", "status": "ok"})
            assert ledger.flush(30)
            print("sqlalchemy" in sys.modules, "pandas" in sys.modules)
            """,
            path,
        )
        == "True False"
    )
