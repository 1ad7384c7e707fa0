"""Interrupts reach the user's code, and leave nothing running."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress

import pytest

from ipyllm.tools import Tool
from tests.service.tools.running import Running, in_new_thread, python, run, thread_name, tool_call


def interrupt_soon(begun):
    """Press Ctrl-C a little after a tool has begun; return a list that then has the time."""
    pressed = []

    def press():
        begun.wait(60)
        time.sleep(0.1)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    return pressed


def interrupted(running, begun):
    """Wait, be interrupted, and return the seconds from the interrupt to the end."""
    pressed = interrupt_soon(begun)
    with pytest.raises(KeyboardInterrupt):
        running.wait()
    return time.perf_counter() - pressed[0]


def test_an_interrupt_reaches_a_plain_tool():
    begun = threading.Event()
    seen = []

    def hangs():
        begun.set()
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            seen.append(thread_name())
            raise

    running = Running([hangs], tool_call("hangs"), tool_call("hangs"))
    assert interrupted(running, begun) < 30
    assert seen == ["MainThread"], "and the second one was never begun"
    with pytest.raises(CancelledError):
        running.future.result(60)


def test_an_interrupt_cancels_coroutines_which_clean_up_before_it_is_raised():
    begun = threading.Event()
    seen, loops = [], set()

    async def sleeps(n: int):
        begun.set()
        loops.add(asyncio.get_running_loop())
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.01)
            seen.append(n)

    running = Running([sleeps], tool_call("sleeps", n=1), tool_call("sleeps", n=2))
    assert interrupted(running, begun) < 30
    assert sorted(seen) == [1, 2]
    assert [loop.is_closed() for loop in loops] == [True]


def test_an_interrupt_within_a_coroutine_ends_the_others_too():
    begun = threading.Event()
    seen = []

    async def blocks():
        begun.set()
        time.sleep(1000)

    async def sleeps():
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append("cleaned up")

    running = Running([blocks, sleeps], tool_call("sleeps"), tool_call("blocks"))
    assert interrupted(running, begun) < 30
    assert seen == ["cleaned up"]


def test_a_coroutine_that_will_not_be_cancelled_holds_the_interrupt_up_for_a_second_only():
    begun = threading.Event()
    stop = threading.Event()

    async def stubborn():
        begun.set()
        while not stop.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)

    running = Running([stubborn], tool_call("stubborn"))
    try:
        assert 0.5 < interrupted(running, begun) < 30
    finally:
        stop.set()
    gc.collect()


def test_an_interrupt_without_the_calls_cancel_tells_the_service_side_all_the_same():
    begun = threading.Event()

    def hangs():
        begun.set()
        time.sleep(1000)

    running = Running([hangs], tool_call("hangs"), tool_call("hangs"))
    interrupt_soon(begun)
    with pytest.raises(KeyboardInterrupt):
        running.caller_executor.wait(running.done)
    assert running.done.wait(60)
    with pytest.raises(CancelledError):
        running.future.result(60)


def test_an_interrupt_reaches_the_caller_of_a_tool_in_a_worker():
    begun = threading.Event()
    stop = threading.Event()

    def hangs():
        begun.set()
        stop.wait(60)

    running = Running([Tool.of(hangs, timeout=100)], tool_call("hangs"))
    assert interrupted(running, begun) < 30
    stop.set()


def test_interrupts_at_any_moment_leave_nothing_hanging():
    script = """
        import asyncio, os, signal, threading, time
        from tests.service.tools.running import Running, tool_call

        def quick(n: int):
            return n

        async def later(n: int):
            await asyncio.sleep(0)
            return n

        def attempt(after):
            running = Running([quick, later], *calls)
            timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                running.caller_executor.wait(running.done)
                timer.join()
                time.sleep(0.1)  # an interrupt within a weak reference's callback is lost, as Python has it
            except KeyboardInterrupt:
                running.future.cancel()
            assert running.caller_executor.wait(running.done, 60), "the service side hangs"
            assert not running.caller_executor._pending

        async def nested():
            for n in range(40):
                attempt(0.001 * n)

        calls = [tool_call(name, n=n) for n in range(100) for name in ("quick", "later")]
        for n in range(40):
            attempt(0.001 * n)
        loop = asyncio.new_event_loop()  # not asyncio.run, which keeps the first interrupt from us
        loop.run_until_complete(nested())
        loop.close()
        print("done")
    """
    assert python(script, quiet=False) == "done\n"


@pytest.mark.parametrize("exit_", [SystemExit(3), KeyboardInterrupt()])
def test_a_tool_that_wants_to_exit_ends_the_callers_wait_and_not_the_service_thread(exit_):
    def leaves():
        raise exit_

    async def leaves_later():
        raise exit_

    for tool in (leaves, leaves_later):
        running = Running([tool], tool_call(tool.__name__))
        with pytest.raises(type(exit_)):
            running.caller_executor.wait(running.done)
        assert running.done.wait(60)
        hidden = in_new_thread(lambda tool=tool: Running([tool], tool_call(tool.__name__), waits=False))
        with pytest.raises(CancelledError):
            hidden.future.result(60)
    assert run([thread_name], tool_call("thread_name")) == [thread_name()]
