"""Drives a real Jupyter kernel as a front end does: outputs, updates by display_id, status, interrupt."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Self
from uuid import uuid4

from jupyter_client.manager import KernelManager

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class CellResult:
    """Outputs, messages and status of a cell that ran."""

    status: str = "running"
    outputs: list[dict] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    error: str = ""
    traceback: list[str] = field(default_factory=list)
    displays: dict[str, list[int]] = field(default_factory=dict, repr=False)  # indexes into outputs, by display id

    def of(self, mime: str) -> str:
        """Return all displayed data of this MIME type, in order."""
        return "\n".join(output["data"][mime] for output in self.outputs if mime in output.get("data", {}))

    @property
    def text(self) -> str:
        """Plain text of all displayed outputs."""
        return self.of("text/plain")

    @property
    def html(self) -> str:
        """HTML of all displayed outputs."""
        return self.of("text/html")

    @property
    def stdout(self) -> str:
        return "".join(output["text"] for output in self.outputs if output.get("name") == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(output["text"] for output in self.outputs if output.get("name") == "stderr")


class LiveKernel:
    """A kernel in its own process, with ipyllm's settings in its environment; ``python`` is its interpreter."""

    def __init__(self, python: str = sys.executable, **env: str) -> None:
        # A separate folder: the sockets of kernels that start at once in one folder would have the same names.
        self._folder = tempfile.TemporaryDirectory(prefix="kernel-")
        connection_file = str(Path(self._folder.name) / f"kernel-{uuid4()}.json")
        # ipc, because ipykernel warns about TCP.
        self._manager = KernelManager(kernel_name="python3", transport="ipc", connection_file=connection_file)
        assert self._manager.kernel_spec is not None
        self._manager.kernel_spec.argv[0] = python
        self._manager.start_kernel(env={**os.environ, **env})
        self.client = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def kernel_id(self) -> str:
        return Path(self._manager.connection_file).name.removeprefix("kernel-").removesuffix(".json")

    def start(self, code: str, *, cell_id: str | None = None) -> str:
        """Send a cell and return the request's id at once."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                   "stop_on_error": True}  # fmt: skip
        message = self.client.session.msg("execute_request", content)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def collect(self, msg_id: str, *, timeout: float = 60, until=None, ran: CellResult | None = None) -> CellResult:
        """Collect messages until the cell is idle (or ``until(ran)`` is true), in addition to those of ``ran``."""
        ran, deadline = ran or CellResult(), time.monotonic() + timeout
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise TimeoutError(f"the cell did not finish in {timeout} s: {ran}") from None
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            message["received"] = time.perf_counter()
            ran.messages.append(message)
            self._record(message, ran)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if until is not None and until(ran):
                return ran
        reply = self._reply(msg_id)
        ran.status = reply["content"]["status"]
        return ran

    def _record(self, message, ran):
        kind, content = message["msg_type"], message["content"]
        display_id = content.get("transient", {}).get("display_id")
        if kind in {"display_data", "execute_result"}:
            ran.outputs.append(content)
            if display_id:
                ran.displays.setdefault(display_id, []).append(len(ran.outputs) - 1)
        elif kind == "update_display_data":
            for index in ran.displays.get(display_id, []):
                ran.outputs[index] = content
        elif kind == "stream":
            ran.outputs.append(content)
        elif kind == "error":
            ran.error = content["evalue"]
            ran.traceback = [_ANSI.sub("", line) for line in content["traceback"]]

    def _reply(self, msg_id):
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == msg_id:
                return reply

    def run(self, code: str, *, cell_id: str | None = None, timeout: float = 60) -> CellResult:
        """Run a cell to its end; again if the kernel refused it because the cell before had just failed."""
        for _attempt in range(100):
            ran = self.collect(self.start(code, cell_id=cell_id), timeout=timeout)
            if ran.status != "aborted":
                break
            time.sleep(0.05)
        return ran

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def kill(self) -> None:
        """Kill the process, as running out of memory would: without the interrupt that a shutdown begins with."""
        self._manager.signal_kernel(signal.SIGKILL)
        while self._manager.is_alive():
            time.sleep(0.01)

    def close(self) -> None:
        self.client.stop_channels()
        if self._manager.is_alive():  # at once, unless coverage.py must write its data first
            self._manager.shutdown_kernel(now="COVERAGE_PROCESS_CONFIG" not in os.environ)
        self._manager.cleanup_resources()
        self._manager.context.destroy(linger=0)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
