"""Few calls are started in one turn of the service thread's loop if there are many, so that the reading goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ipyllm.runtime.service_thread import service_thread, stop_service_thread


@pytest.mark.parametrize(("n", "at_once"), [(20, 20), (100, 10), (2000, 2)])
def test_the_more_there_are_the_fewer_start_in_a_turn(n, at_once):
    stop_service_thread()  # which may have others
    thread, begin, turns, started = service_thread(), threading.Event(), [], []
    all_started = asyncio.Event()

    async def start() -> None:
        started.append(turns[-1])
        if len(started) == n:
            all_started.set()
        await all_started.wait()

    def count_turns() -> None:
        turns.append(len(turns))
        if len(started) < n:
            thread.loop.call_soon(count_turns)

    thread.loop.call_soon_threadsafe(begin.wait)
    futures = [thread.submit(start()) for _ in range(n)]
    thread.loop.call_soon_threadsafe(count_turns)
    begin.set()
    for future in futures:
        future.result(100)
    assert max(started.count(turn) for turn in turns) == at_once


def test_a_coroutine_needs_no_future():
    ended = threading.Event()

    async def run() -> None:
        ended.set()

    service_thread().start(run())
    assert ended.wait(100)
