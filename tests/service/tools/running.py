"""Runs tool calls as the pipeline does, without a model: on the real service thread, with a waiting caller."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

from ipyllm.response import ToolCall
from ipyllm.runtime.interruptible import InterruptibleEvent
from ipyllm.runtime.service_thread import service_thread
from ipyllm.tools import CallerExecutor, execute_all, tools_by_name


def tool_call(name, /, **arguments):
    """Return a model's tool call."""
    return ToolCall(f"call_{name}", name, json.dumps(arguments))


class Running:
    """Tool calls in progress."""

    def __init__(self, functions, *calls, waits=True, limit=32_000):
        self.caller_executor = CallerExecutor(waits=waits)
        self.done = InterruptibleEvent()
        self.future = service_thread().submit(self._run(tools_by_name(functions), calls, limit))

    async def _run(self, tools, calls, limit):
        try:
            return await execute_all(calls, tools, self.caller_executor, limit=limit)
        finally:
            self.caller_executor.close()
            self.done.set()

    def wait(self, timeout=100):
        """Wait as ``chat`` does."""
        try:
            assert self.caller_executor.wait(self.done, timeout), "hangs"
        except KeyboardInterrupt:
            self.future.cancel()
            assert self.caller_executor.wait(self.done, 60), "the service side hangs"
            raise
        return self.future.result(60)

    async def wait_async(self):
        """Wait as ``achat`` does."""
        return await asyncio.wrap_future(self.future)


def run(functions, *calls, **options):
    """Return the outputs of tool calls, for a caller who waits in this thread."""
    return [result.output for result in Running(functions, *calls, **options).wait()]


def run_one(function, /, **arguments):
    """Return the result of one call of one function."""
    [result] = Running([function], tool_call(function.__name__, **arguments)).wait()
    return result


def thread_name():
    return threading.current_thread().name


def in_new_thread(function, *, name="caller"):
    """Return the result of ``function`` in a thread without a loop, as in a plain script."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), name=name)
    thread.start()
    thread.join(60)
    assert results, "it failed or hangs"
    return results[0]


async def loop_and_thread():
    await asyncio.sleep(0.01)
    return f"{id(asyncio.get_running_loop())} {thread_name()}"


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
