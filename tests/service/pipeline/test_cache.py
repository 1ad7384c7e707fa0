"""The response cache: what it stores, when it answers, and that its failures are harmless."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from ipyllm.pipeline.cache import ResponseCache, cache_key, current_cache
from ipyllm.response import ChatResponse, Usage
from ipyllm.text.redact import remember_secret
from tests.service.pipeline.cached_answer import ANSWER
from tests.stalls import again_if_stalled

# ---- keys --------------------------------------------------------------------------------------------------

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hello \ud800"}],
    "temperature": 0.5,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"messages": [{"role": "user", "content": "Hello"}]},
        {"temperature": 0.6},
        {"seed": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"guided": True},
        {"stop": None},
    ],
)
def test_everything_that_shapes_the_answer_is_part_of_the_key(change):
    assert cache_key("http://h/v1", BODY) != cache_key("http://h/v1", BODY | change)


def test_the_server_is_part_of_the_key_and_the_way_an_answer_travels_is_not():
    key = cache_key("http://h/v1", BODY)
    assert cache_key("http://other/v1", BODY) != key
    whole = {name: value for name, value in reversed(BODY.items()) if not name.startswith("stream")}
    assert cache_key("http://h/v1/", whole) == key
    assert cache_key("http://h/v1", {"temperature": 0}) == cache_key("http://h/v1", {"temperature": 0.0})


def test_a_body_that_is_no_json_is_left_to_the_wire_to_refuse():
    assert cache_key("http://h/v1", BODY | {"tools": {1, 2}})


# ---- what comes back ---------------------------------------------------------------------------------------


def test_a_hit_is_the_same_answer_with_its_usage_and_without_latency(cache):
    cache.put("k", ANSWER)
    assert cache.get("k") == ChatResponse(
        content=ANSWER.content,
        reasoning=ANSWER.reasoning,
        tool_calls=ANSWER.tool_calls,
        finish_reason="stop",
        response_model="m-2026",
        usage=ANSWER.usage,
        cache_hit=True,
        cost_usd=0.0,
        price_source="cache",
    )
    assert cache.get("another") is None
    assert (cache.stats().entries, cache.stats().hits, cache.stats().misses) == (1, 1, 1)


def test_an_estimate_that_an_earlier_version_stored_as_a_count_is_an_estimate(cache, path):
    cache.put("k", replace(ANSWER, usage=Usage(27, 40, source="estimated")))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(
            "UPDATE answers SET answer = json_remove(answer, '$.usage.input_tokens_estimated', "
            "'$.usage.output_tokens_estimated')"
        )
    assert cache.get("k").usage == Usage(source="estimated", input_tokens_estimated=27, output_tokens_estimated=40)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "truncated"},
        {"status": "cancelled"},
        {"status": "error"},
        {"content": "", "tool_calls": ()},
        {"cache_hit": True},
    ],
)
def test_only_a_whole_answer_of_a_server_is_kept(cache, change):
    cache.put("k", replace(ANSWER, **change))
    assert cache.get("k") is None


def test_an_answer_that_holds_a_key_is_not_kept(cache, path):
    remember_secret("hunter2-r9Xq2LmT7v")
    for content in ("it is hunter2-r9Xq2LmT7v", "it is sk-abcdefghijklmnop"):
        cache.put("k", replace(ANSWER, content=content))
    assert cache.get("k") is None
    cache.close()
    assert b"hunter2" not in path.read_bytes()


def test_a_later_answer_takes_the_place_of_the_one_before(cache):
    cache.put("k", ANSWER)
    cache.put("k", replace(ANSWER, content="Good day!"))
    assert cache.get("k").content == "Good day!"
    assert cache.stats().entries == 1


@again_if_stalled(0.1)
def test_an_answer_lasts_beyond_its_process_and_no_longer_than_its_time(path):
    with ResponseCache(path) as cache:
        cache.put("k", ANSWER)
    time.sleep(1.1)
    with ResponseCache(path, ttl_s=1) as impatient, ResponseCache(path, ttl_s=60) as patient:
        assert impatient.get("k") is None
        assert patient.get("k").content == ANSWER.content
        impatient.put("k", ANSWER)
        assert impatient.get("k") is not None


# ---- size --------------------------------------------------------------------------------------------------


def test_the_least_recently_used_answers_make_room(path):
    with ResponseCache(path, max_bytes=1_000_000) as cache:
        for number in range(300):
            cache.put(str(number), replace(ANSWER, content="x" * 10_000))
            assert cache.get("0") is not None
        stats = cache.stats()
        assert 700_000 < stats.size_bytes <= 1_000_000
        assert cache.get("299") is not None
        assert cache.get("1") is None
    assert path.stat().st_size < 1_200_000


def test_one_enormous_answer_does_not_empty_the_cache(path):
    with ResponseCache(path, max_bytes=1_000_000) as cache:
        cache.put("small", ANSWER)
        cache.put("large", replace(ANSWER, content="x" * 200_000))
        assert (cache.get("small") is not None, cache.get("large")) == (True, None)


def test_use_is_remembered_beyond_the_process(path):
    with ResponseCache(path) as cache:
        for key in ("a", "b"):
            cache.put(key, ANSWER)
        cache.get("a")
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT key FROM answers ORDER BY used_at").fetchall() == [("b",), ("a",)]


def test_clear_leaves_no_answer_and_no_text(cache, path):
    cache.put("k", replace(ANSWER, content="unforgettable" * 1000))
    cache.clear()
    assert (cache.get("k"), cache.stats().entries) == (None, 0)
    for file in path.parent.iterdir():
        assert b"unforgettable" not in file.read_bytes()


# ---- many at once ------------------------------------------------------------------------------------------

_MANY = """
    import sys, ipyllm.pipeline.cache
    from ipyllm.pipeline.cache import ResponseCache
    from ipyllm.response import ChatResponse
    print("ready", flush=True)
    sys.stdin.readline()
    cache = ResponseCache(sys.argv[1])
    found = 0
    for number in range(300):
        cache.put(f"{sys.argv[2]}-{number}", ChatResponse(content="Hi", finish_reason="stop"))
        found += cache.get(f"{sys.argv[2]}-{number}") is not None
    cache.close()
    print(found)
"""


@pytest.mark.thorough
def test_eight_processes_begin_one_cache_at_once(python, path, cache):
    processes = [python(_MANY, path, number, stdin=subprocess.PIPE) for number in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        found.append(int(out))
    assert min(found) >= 290  # each waits half a second for the others, and then goes on without
    assert cache.stats().entries == sum(found)
    assert not list(path.parent.glob("*corrupt*"))


def test_threads_share_one_cache(cache):
    def work(name):
        for number in range(100):
            cache.put(f"{name}-{number}", ANSWER)
            assert cache.get(f"{name}-{number}") is not None

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache.stats().entries, cache.stats().hits) == (800, 800)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_thread_writes_leaves_both_sides_a_whole_cache(python, path, cache):
    script = """
        import os, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from ipyllm.pipeline.cache import ResponseCache
        from ipyllm.response import ChatResponse
        cache, stop = ResponseCache(sys.argv[1]), threading.Event()
        def write():
            number = 0
            while not stop.is_set():
                cache.put(f"parent-{number}", ChatResponse(content="x" * 5000, finish_reason="stop"))
                number += 1
        thread = threading.Thread(target=write)
        thread.start()
        for round in range(10):
            child = os.fork()
            if child == 0:
                for number in range(20):
                    cache.put(f"child-{round}-{number}", ChatResponse(content="y" * 5000, finish_reason="stop"))
                ok = all(cache.get(f"child-{round}-{number}") for number in range(20))
                cache.close()
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
    """
    process = python(script, path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert all(cache.get(f"child-{turn}-{number}") for turn in range(10) for number in range(20))
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---- settings ----------------------------------------------------------------------------------------------


def test_the_settings_say_whether_where_and_for_how_long(monkeypatch, path):
    monkeypatch.setenv("IPYLLM_CACHE_PATH", str(path))
    assert current_cache() is None
    assert current_cache(enabled=True).path == path
    monkeypatch.setenv("IPYLLM_CACHE", "1")
    first = current_cache()
    assert first is current_cache()
    assert current_cache(enabled=False) is None
    monkeypatch.setenv("IPYLLM_CACHE_TTL", "60")
    second = current_cache()
    assert (second is first, second.ttl_s) == (False, 60)
    second.close()


def test_no_answer_reaches_a_test_that_another_was_given(own_settings):
    """Loopback hands out its ports again: with the developer's own cache, a test once read what an earlier run said."""
    assert current_cache(enabled=True).path.parent == own_settings
