"""Runs tool calls as the pipeline does, without a model: on the real service thread, with a waiting caller."""

from __future__ import annotations

import asyncio
import json

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
        return self.future.result(30)

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
