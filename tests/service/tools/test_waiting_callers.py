"""Callers who wait for the user's code, in pieces or from elsewhere, and callers who go away."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError

import pytest

from ipyllm.response import ToolCall
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.tools import CallerExecutor
from tests.service.tools.running import Running, in_new_thread, loop_and_thread, python, run, thread_name, tool_call


def test_a_thread_that_has_ended_leaves_no_call_hanging():
    running = in_new_thread(lambda: Running([thread_name], tool_call("thread_name"), waits=True))
    with pytest.raises(CancelledError):
        running.future.result(60)


def test_a_loop_that_is_closed_leaves_no_call_hanging():
    async def caller(delay):
        running = Running([sleeps], tool_call("sleeps"), waits=False)
        await asyncio.sleep(delay)
        return running

    async def sleeps():
        await asyncio.sleep(1000)

    for delay in (0, 0.05):  # closed before the tool began, and while it runs
        running = asyncio.run(caller(delay))
        with pytest.raises(CancelledError):
            running.future.result(60)


def test_a_cancelled_call_cancels_its_coroutine_and_frees_the_waiter():
    ended = threading.Event()

    async def sleeps():
        try:
            await asyncio.sleep(100)
        finally:
            ended.set()

    running = Running([sleeps], tool_call("sleeps"))
    threading.Timer(0.1, running.future.cancel).start()
    began = time.perf_counter()
    assert running.caller_executor.wait(running.done, 60)
    assert ended.wait(60)
    assert time.perf_counter() - began < 60


def test_a_call_cancelled_while_the_caller_does_other_things_closes_its_loop():
    loops = []

    async def sleeps():
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(1000)

    running = Running([sleeps], tool_call("sleeps"))
    assert not running.caller_executor.wait(running.done, 0.1)
    [loop] = loops
    running.future.cancel()
    assert running.done.wait(60)
    deadline = time.monotonic() + 60
    while not loop.is_closed() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loop.is_closed()


def test_a_wait_without_jobs_is_like_that_of_an_event():
    caller_executor, done = CallerExecutor(waits=True), InterruptibleEvent()
    began = time.perf_counter()
    assert caller_executor.wait(done, 0.1) is False
    assert 0.09 < time.perf_counter() - began < 30
    assert caller_executor.wait(done, 0) is False
    threading.Timer(0.05, done.set).start()
    assert caller_executor.wait(done) is True
    assert caller_executor.wait(done, 0) is True
    assert not done._listeners


def test_a_wait_sleeps_and_does_not_poll():
    caller_executor, done = CallerExecutor(waits=True), InterruptibleEvent()
    threading.Timer(0.5, done.set).start()
    used = time.thread_time()
    caller_executor.wait(done)
    assert time.thread_time() - used < 0.005


def test_waits_in_pieces_run_a_coroutine_through():
    pieces = 0

    async def sleeps():
        while pieces < 5:
            await asyncio.sleep(0.01)
        return thread_name()

    running = Running([sleeps], tool_call("sleeps"))
    while not running.caller_executor.wait(running.done, 0.02):
        pieces += 1
        time.sleep(0.01)  # drawing
    assert running.future.result(30)[0].output == "MainThread"
    assert pieces >= 5


def test_another_thread_may_wait_too_but_does_no_jobs():
    def slow():
        time.sleep(0.2)
        return thread_name()

    running = Running([slow], tool_call("slow"))
    other = threading.Thread(target=running.caller_executor.wait, args=(running.done,))
    other.start()
    assert running.wait()[0].output == "MainThread"
    other.join(60)
    assert not other.is_alive()


def test_a_caller_who_turns_to_waiting_is_served():
    script = """
        import asyncio, threading
        from tests.service.tools.running import Running, tool_call

        async def caller():
            lock = asyncio.Lock()

            async def guarded():
                async with lock:
                    await asyncio.sleep(0.05)
                    return threading.current_thread().name

            running = Running([guarded], tool_call("guarded"), waits=False)
            await asyncio.sleep(0.01)
            return running.wait()[0].output  # blocks the loop on which the tool has begun

        print(asyncio.run(caller()))
    """
    assert python(script) == "MainThread\n"


@pytest.mark.thorough
def test_ten_thousand_quick_jobs_get_through():
    def quick(n: int):
        return n

    calls = [ToolCall(str(n), "quick", f'{{"n": {n}}}') for n in range(2_000)]
    for _ in range(5):
        assert [result.output for result in Running([quick], *calls).wait()] == [str(n) for n in range(2_000)]


def test_nothing_is_left_running():
    before = {thread for thread in threading.enumerate() if thread.name != "ipyllm-tool"}
    run([thread_name, loop_and_thread], tool_call("thread_name"), tool_call("loop_and_thread"))
    service_thread()
    assert {thread for thread in threading.enumerate() if thread.name != "ipyllm-tool"} <= before | {
        service_thread()._thread
    }
