"""Tests where the user's code runs, with real threads and loops."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import threading
import time

from ipyllm.tools import Tool
from tests.service.tools.running import Running, in_new_thread, loop_and_thread, python, run, thread_name, tool_call

_here = contextvars.ContextVar("_here", default="elsewhere")


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
        running = Running([works], tool_call("works"), waits=False)
        for _ in range(15):
            await asyncio.sleep(0.001)
        assert not running.done.is_set()
        may_end.set()
        [result] = await running.wait_async()
        return result.output

    may_end = threading.Event()

    def works():
        return "went on" if may_end.wait(60) else "stood still"

    assert asyncio.run(caller()) == "went on"


def test_a_plain_function_that_returns_a_coroutine_has_it_awaited():
    def wrapped():
        return loop_and_thread()

    assert in_new_thread(lambda: run([wrapped], tool_call("wrapped")))[0].endswith(" caller")

    async def caller():
        [result] = await Running([wrapped], tool_call("wrapped"), waits=False).wait_async()
        return result.output == f"{id(asyncio.get_running_loop())} {thread_name()}"

    assert asyncio.run(caller())


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

    results = in_new_thread(caller).future.result(60)
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
