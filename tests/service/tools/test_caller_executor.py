"""Tests where the user's code runs, with real threads and loops, interrupts, and callers that end early."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import pytest

from ipyllm.response import ToolCall
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.tools import CallerExecutor, Tool
from tests.service.tools.running import Running, run, tool_call

_here = contextvars.ContextVar("_here", default="elsewhere")


def thread_name():
    return threading.current_thread().name


async def loop_and_thread():
    await asyncio.sleep(0.01)
    return f"{id(asyncio.get_running_loop())} {thread_name()}"


def in_new_thread(function, *, name="caller"):
    """Return the result of ``function`` in a thread without a loop, as in a plain script."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), name=name)
    thread.start()
    thread.join(20)
    assert results, "it failed or hangs"
    return results[0]


# ---- plain functions ---------------------------------------------------------------------------------


def test_a_plain_function_runs_in_the_thread_that_waits():
    assert run([thread_name], tool_call("thread_name")) == [thread_name()]
    assert in_new_thread(lambda: run([thread_name], tool_call("thread_name"))) == ["caller"]


def test_objects_bound_to_the_callers_thread_work():
    connection = sqlite3.connect(":memory:")

    def query(sql: str) -> list:
        return connection.execute(sql).fetchall()

    def rows():
        return connection.execute("select 1")

    outputs = run([query, rows], tool_call("query", sql="select 40 + 2"), tool_call("rows"))
    connection.close()
    assert outputs[0] == "[[42]]"
    assert outputs[1] == "[[1]]", "a result is turned into text where it belongs, too"


def test_plain_functions_run_one_after_the_other_in_order():
    ran = []

    def step(n: int):
        ran.append(f"{n} begins")
        time.sleep(0.02)
        ran.append(f"{n} ends")

    for waits in (True, False):
        ran.clear()
        Running([step, Tool.of(step, name="limited", timeout=5)], tool_call("step", n=1), tool_call("limited", n=2),
                tool_call("step", n=3), waits=waits).wait()  # fmt: skip
        assert ran == [f"{n} {what}" for n in (1, 2, 3) for what in ("begins", "ends")]


def test_a_plain_function_of_a_coroutine_runs_beside_its_loop_with_the_callers_context():
    def where():
        return f"{thread_name()} {_here.get()}"

    async def caller():
        _here.set("in the caller")
        running = Running([where], tool_call("where"), waits=False)
        ticks = 0
        while not running.done.is_set():
            await asyncio.sleep(0.001)
            ticks += 1
        return (await running.wait_async())[0].output

    assert asyncio.run(caller()) == "ipyllm-tool in the caller"


def test_the_callers_loop_goes_on_while_a_plain_function_works():
    async def caller():
        running = Running([time_sleep], tool_call("time_sleep"), waits=False)
        ticks = 0
        while not running.done.is_set():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    def time_sleep():
        time.sleep(0.3)

    assert asyncio.run(caller()) > 15


def test_a_plain_function_that_returns_a_coroutine_has_it_awaited():
    def wrapped():
        return loop_and_thread()

    assert in_new_thread(lambda: run([wrapped], tool_call("wrapped")))[0].endswith(" caller")

    async def caller():
        [result] = await Running([wrapped], tool_call("wrapped"), waits=False).wait_async()
        return result.output == f"{id(asyncio.get_running_loop())} {thread_name()}"

    assert asyncio.run(caller())


# ---- async functions ---------------------------------------------------------------------------------


def test_async_functions_of_a_coroutine_run_on_its_loop():
    async def caller():
        lock = asyncio.Lock()
        async with lock:  # bound to this loop from here on

            async def guarded():
                async with lock:
                    return await loop_and_thread()

            running = Running([guarded], tool_call("guarded"), waits=False)
            await asyncio.sleep(0.05)
            assert not running.done.is_set(), "it waits for our lock"
        [result] = await running.wait_async()
        assert result.output == f"{id(asyncio.get_running_loop())} {thread_name()}"

    asyncio.run(caller())


def test_a_script_without_loop_gets_one_in_its_thread_for_the_call():
    loops = []

    async def connect():
        loops.append(asyncio.get_running_loop())
        loops[0].lock = asyncio.Lock()
        await loops[0].lock.acquire()

    async def use(n: int):
        loops.append(asyncio.get_running_loop())
        await asyncio.wait_for(loops[0].lock.acquire(), 0.05)

    def caller():
        running = Running(
            [connect, use, loop_and_thread], tool_call("connect"), tool_call("loop_and_thread"), tool_call("use", n=1)
        )
        return running.wait()

    results = in_new_thread(caller)
    assert results[1].output.endswith(" caller")
    assert results[2].error == "TimeoutError", "the lock was bound to the same loop"
    assert len(set(map(id, loops))) == 1
    assert loops[0].is_closed()


def test_a_call_that_nobody_waits_for_still_gets_its_tools_run():
    def caller():
        return Running(
            [thread_name, loop_and_thread], tool_call("thread_name"), tool_call("loop_and_thread"), waits=False
        )

    results = in_new_thread(caller).future.result(10)
    assert results[0].output == "ipyllm-tool"
    assert results[1].output.endswith(" ipyllm-tool")


def test_async_functions_run_together():
    def meeting():
        """Return a function that waits until ten calls of it are running."""
        here, all_here = [], asyncio.Event()

        async def meets(n: int):
            here.append(n)
            if len(here) == 10:
                all_here.set()
            await all_here.wait()
            return n

        return meets

    calls = [tool_call("meets", n=n) for n in range(10)]

    async def coroutine():
        return [result.output for result in await Running([meeting()], *calls, waits=False).wait_async()]

    everybody = [str(n) for n in range(10)]
    assert in_new_thread(lambda: run([meeting()], *calls)) == everybody
    assert asyncio.run(coroutine()) == everybody


def test_a_plain_function_gets_its_turn_while_a_coroutine_works():
    done = []

    async def slow():
        while not done:
            await asyncio.sleep(0.01)
        return "after it"

    def quick():
        done.append(1)
        return "quick"

    assert in_new_thread(lambda: run([slow, quick], tool_call("slow"), tool_call("quick"))) == ["after it", "quick"]


def test_a_blocked_loop_is_reentered_and_its_locks_and_tasks_go_on():
    script = """
        import asyncio, threading
        from tests.service.tools.running import Running, tool_call, run

        async def main():
            lock, order = asyncio.Lock(), []
            await lock.acquire()

            async def other():
                await asyncio.sleep(0.1)
                order.append("other")
                lock.release()

            async def guarded():
                async with lock:
                    order.append("guarded")
                    assert asyncio.current_task() is not mine
                    async with asyncio.timeout(5):
                        await asyncio.sleep(0.01)
                    return threading.current_thread().name

            def plain():
                order.append("plain")
                return run([quick], tool_call("quick"))[0]

            async def quick():
                return asyncio.get_running_loop() is loop

            mine, loop = asyncio.current_task(), asyncio.get_running_loop()
            task = asyncio.create_task(other())
            outputs = run([guarded, plain], tool_call("guarded"), tool_call("plain"), tool_call("plain"))  # blocks
            print(outputs, order, asyncio.current_task() is mine)
            await task
            await asyncio.sleep(0.01)

        asyncio.run(main())
        asyncio.run(main())
    """
    expected = "['MainThread', 'true', 'true'] ['plain', 'plain', 'other', 'guarded'] True\n"
    assert python(script) == expected * 2


def test_asyncio_is_left_alone_until_a_loop_must_be_reentered():
    script = """
        import asyncio, sys
        from tests.service.tools.running import Running, tool_call, run

        async def tool():
            await asyncio.sleep(0.01)

        def plain(): ...

        async def main():
            await Running([tool, plain], tool_call("tool"), tool_call("plain"), waits=False).wait_async()
            run([plain], tool_call("plain"))

        before = asyncio.Task
        run([tool, plain], tool_call("tool"), tool_call("plain"))
        asyncio.run(main())
        print("nest_asyncio2" in sys.modules, asyncio.Task is before)
    """
    assert python(script) == "False True\n"


def python(script, *, quiet=True):
    """Return the output of a script, in a process of its own: re-entering a loop patches asyncio permanently."""
    done = subprocess.run(
        [sys.executable, "-Werror", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or not quiet
    return done.stdout


# ---- interrupts --------------------------------------------------------------------------------------


def interrupt_soon(after=0.2):
    """Press Ctrl-C later."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def interrupted(running):
    """Wait, be interrupted, and return the seconds from the interrupt to the end."""
    interrupt_soon()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        running.wait()
    return time.perf_counter() - began - 0.2


def test_an_interrupt_reaches_a_plain_tool():
    seen = []

    def hangs():
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            seen.append(thread_name())
            raise

    running = Running([hangs], tool_call("hangs"), tool_call("hangs"))
    assert interrupted(running) < 30
    assert seen == ["MainThread"], "and the second one was never begun"
    with pytest.raises(CancelledError):
        running.future.result(30)


def test_an_interrupt_cancels_coroutines_which_clean_up_before_it_is_raised():
    seen, loops = [], set()

    async def sleeps(n: int):
        loops.add(asyncio.get_running_loop())
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            seen.append(n)

    running = Running([sleeps], tool_call("sleeps", n=1), tool_call("sleeps", n=2))
    assert interrupted(running) < 30
    assert sorted(seen) == [1, 2]
    assert [loop.is_closed() for loop in loops] == [True]


def test_an_interrupt_within_a_coroutine_ends_the_others_too():
    seen = []

    async def blocks():
        time.sleep(60)

    async def sleeps():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cleaned up")

    running = Running([blocks, sleeps], tool_call("sleeps"), tool_call("blocks"))
    assert interrupted(running) < 30
    assert seen == ["cleaned up"]


def test_a_coroutine_that_will_not_be_cancelled_holds_the_interrupt_up_for_a_second_only():
    stop = threading.Event()

    async def stubborn():
        while not stop.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)

    running = Running([stubborn], tool_call("stubborn"))
    try:
        assert 0.5 < interrupted(running) < 30
    finally:
        stop.set()
    gc.collect()


def test_an_interrupt_without_the_calls_cancel_tells_the_service_side_all_the_same():
    def hangs():
        time.sleep(60)

    running = Running([hangs], tool_call("hangs"), tool_call("hangs"))
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        running.caller_executor.wait(running.done)
    assert running.done.wait(30)
    with pytest.raises(CancelledError):
        running.future.result(30)


def test_an_interrupt_reaches_the_caller_of_a_tool_in_a_worker():
    stop = threading.Event()

    def hangs():
        stop.wait(60)

    running = Running([Tool.of(hangs, timeout=100)], tool_call("hangs"))
    assert interrupted(running) < 30
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
        assert running.done.wait(30)
        hidden = in_new_thread(lambda tool=tool: Running([tool], tool_call(tool.__name__), waits=False))
        with pytest.raises(CancelledError):
            hidden.future.result(2)
    assert run([thread_name], tool_call("thread_name")) == [thread_name()]


# ---- callers who go away -----------------------------------------------------------------------------


def test_a_thread_that_has_ended_leaves_no_call_hanging():
    running = in_new_thread(lambda: Running([thread_name], tool_call("thread_name"), waits=True))
    with pytest.raises(CancelledError):
        running.future.result(5)


def test_a_loop_that_is_closed_leaves_no_call_hanging():
    async def caller(delay):
        running = Running([sleeps], tool_call("sleeps"), waits=False)
        await asyncio.sleep(delay)
        return running

    async def sleeps():
        await asyncio.sleep(30)

    for delay in (0, 0.05):  # closed before the tool began, and while it runs
        running = asyncio.run(caller(delay))
        with pytest.raises(CancelledError):
            running.future.result(5)


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
    assert ended.wait(30)
    assert time.perf_counter() - began < 60


def test_a_call_cancelled_while_the_caller_does_other_things_closes_its_loop():
    loops = []

    async def sleeps():
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(30)

    running = Running([sleeps], tool_call("sleeps"))
    assert not running.caller_executor.wait(running.done, 0.1)
    [loop] = loops
    running.future.cancel()
    assert running.done.wait(30)
    deadline = time.monotonic() + 60
    while not loop.is_closed() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loop.is_closed()


# ---- the wait ----------------------------------------------------------------------------------------


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
