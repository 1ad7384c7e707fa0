"""Tools in a real kernel, whose loop runs while a cell blocks it: prints, sessions, locks, interrupts."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

from tests.fakes import FakeLLM
from tests.kernels import LiveKernel


@pytest.fixture(scope="module")
def server():
    with FakeLLM() as fake:
        yield fake


@pytest.fixture(scope="module")
def kernel(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel")
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "IPYTHONDIR": str(home),
        "IPYLLM_LEDGER": str(home / "ledger.sqlite"),
        "PYTHONWARNINGS": "error::RuntimeWarning",
    }
    with LiveKernel(**environment) as live:
        cell(
            live,
            f"""
            import asyncio, threading, time, aiohttp
            from ipyllm.tools import Tool
            from tests.service.tools.running import Running, tool_call, run
            url = {server.base_url!r} + "/models"
            seen = []
            """,
        )
        yield live


def cell(kernel, code):
    """Run a cell that must go well, and return what it printed."""
    ran = kernel.run(textwrap.dedent(code))
    assert ran.status == "ok", ran.traceback
    assert ran.stderr == ""
    return ran.stdout


def begin(kernel, code, *, until="begun"):
    """Start a cell, and return when it has printed ``until``; ``kernel.collect`` returns the remaining output."""
    msg_id = kernel.start(textwrap.dedent(code))
    kernel.collect(msg_id, until=lambda ran: until in ran.stdout)
    return msg_id


def test_a_plain_tool_prints_into_its_cell_from_the_main_thread(kernel):
    assert cell(
        kernel,
        """
        def look(place: str):
            print("looking at", place, "in", threading.current_thread().name)
            return "nothing"

        print(run([look], tool_call("look", place="home")))
        """,
    ) == "looking at home in MainThread\n['nothing']\n"  # fmt: skip


def test_a_session_of_the_kernels_loop_serves_an_async_tool_while_the_cell_blocks(kernel):
    cell(kernel, "session = aiohttp.ClientSession()\nasync with session.get(url) as reply: await reply.read()")
    printed = cell(
        kernel,
        """
        loop = asyncio.get_running_loop()

        async def fetch(n: int):
            async with session.get(url) as reply:
                assert asyncio.get_running_loop() is loop
                print("fetched in", threading.current_thread().name)
                return (await reply.json())["object"]

        print(run([fetch], *[tool_call("fetch", n=n) for n in range(3)]))
        """,
    )
    assert printed == "fetched in MainThread\n" * 3 + "['list', 'list', 'list']\n"
    cell(kernel, "async with session.get(url) as reply: assert reply.status == 200\nawait session.close()")


def test_a_lock_that_a_background_task_holds_is_waited_for(kernel):
    printed = cell(
        kernel,
        """
        lock = asyncio.Lock()
        await lock.acquire()

        async def release():
            await asyncio.sleep(0.2)
            print("released")
            lock.release()

        async def guarded():
            async with lock:
                return "had the lock"

        task = asyncio.create_task(release())
        print(run([guarded], tool_call("guarded")))
        await task
        """,
    )
    assert printed == "released\n['had the lock']\n"


def test_async_tools_run_together_in_a_blocked_cell(kernel):
    printed = cell(
        kernel,
        """
        here, all_here = [], asyncio.Event()

        async def meets(n: int):  # one after the other they would wait for ever
            here.append(n)
            if len(here) == 10:
                all_here.set()
            await all_here.wait()
            return n

        print(run([meets], *[tool_call("meets", n=n) for n in range(10)]) == [str(n) for n in range(10)])
        """,
    )
    assert printed == "True\n"


def test_the_next_cell_waits_until_this_one_has_ended(kernel):
    first = begin(
        kernel,
        """
        async def slow():
            print("begun")
            await asyncio.sleep(0.5)
            seen.append("tool")

        seen.clear()
        run([slow], tool_call("slow"))
        seen.append("cell")
        """,
    )
    second = kernel.start("print(seen)")
    assert kernel.collect(first).status == "ok"
    assert kernel.collect(second).stdout == "['tool', 'cell']\n"


def test_tools_of_an_awaiting_cell_print_into_it(kernel):
    printed = cell(
        kernel,
        """
        def plain():
            print(f"plain in {threading.current_thread().name}\\n", end="")  # in one piece: two threads write

        async def later():
            print(f"async in {threading.current_thread().name}\\n", end="")

        calls = Running([plain, later], tool_call("plain"), tool_call("later"), waits=False)
        results = await calls.wait_async()
        """,
    )
    assert sorted(printed.splitlines()) == ["async in MainThread", "plain in ipyllm-tool"]


def test_a_tool_with_a_timeout_prints_into_its_cell_too(kernel):
    cell(kernel, "def plain(): print('plain in', threading.current_thread().name)")
    for _ in range(2):
        assert cell(kernel, "_ = run([Tool.of(plain, timeout=5)], tool_call('plain'))") == "plain in ipyllm-tool\n"


def test_an_interrupt_reaches_a_plain_tool(kernel):
    msg_id = begin(
        kernel,
        """
        def hangs():
            print("begun")
            try:
                time.sleep(60)
            finally:
                seen.append("left")

        seen.clear()
        calls = Running([hangs], tool_call("hangs"), tool_call("hangs"))
        calls.wait()
        """,
    )
    assert interrupted(kernel, msg_id) < 30
    assert cell(kernel, "print(seen, calls.future.cancelled())") == "['left'] True\n"


@pytest.mark.parametrize("hang", ["await asyncio.sleep(60)", "time.sleep(60)"])
def test_an_interrupt_ends_an_async_tool_for_good(kernel, hang):
    msg_id = begin(
        kernel,
        f"""
        async def hangs():
            print("begun")
            try:
                {hang}
            finally:
                await asyncio.sleep(0)
                seen.append("cleaned up")

        async def ticks():
            while True:
                ticked.append(1)
                await asyncio.sleep(0.01)

        seen.clear()
        ticked = []
        calls = Running([hangs, ticks], tool_call("ticks"), tool_call("hangs"))
        try:
            calls.wait()
        except KeyboardInterrupt:
            seen.append("interrupted")
            raise
        """,
    )
    assert interrupted(kernel, msg_id) < 30
    before = cell(kernel, "print(len(ticked), seen, calls.future.cancelled(), len(asyncio.all_tasks()) < 20)")
    cell(kernel, "await asyncio.sleep(0.2)")
    assert before == cell(kernel, "print(len(ticked), seen, calls.future.cancelled(), len(asyncio.all_tasks()) < 20)")
    assert "['cleaned up', 'interrupted'] True True" in before
    quick = "async def quick(): print('begun')\nprint(run([quick], tool_call('quick')))"
    assert cell(kernel, quick) == "begun\n['null']\n", "and the kernel is as before"


def interrupted(kernel, msg_id):
    """Interrupt the cell, and return the seconds until it is idle."""
    time.sleep(0.1)
    began = time.perf_counter()
    kernel.interrupt()
    ran = kernel.collect(msg_id)
    assert ran.status == "error"
    assert "KeyboardInterrupt" in "".join(ran.traceback)
    assert ran.stderr == ""
    return time.perf_counter() - began
