"""Three dashboards of all calls in one kernel, 100,000 in its ledger: the wait for cells and filters, and the memory.

The memory is that of the kernel and of the processes in which it reads the ledger, summed at one moment, at its peak.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.large_ledger import fill
from benchmarks.report import Claim, median

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

_CALLS = 100_000
_SAMPLES_EVERY_S = 0.004
_PREPARE = """
import json, re, time
from ipyllm import UsageDashboard
dashboards = []

def wait():
    while any(dashboard._thread for dashboard in dashboards):
        time.sleep(0.02)

def took(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
"""
_OPEN = "dashboards.append(UsageDashboard(scope='all', since='all')); display(dashboards[-1])"
_CHOOSE = """
wait()
assert all(re.search('<b>(.*?)</b>', dashboard.tiles)[1] == {calls!r} for dashboard in dashboards)
clicks = []
for filters in ({{'model': 'openai/model-1'}}, {{'status': 'error'}}, {{'model': ''}}, {{'status': ''}}):
    for dashboard in dashboards:
        clicks.append(took(lambda: dashboard.choose(**filters)))
        wait()
print(json.dumps([round(click, 3) for click in clicks]))
"""
_READ_AGAIN = """
from datetime import UTC, datetime
from ipyllm.ledger import current_ledger
current_ledger().put({'call_id': 'new', 'started_at': datetime.now(UTC), 'model': 'openai/model-1', 'status': 'ok'})
for dashboard in dashboards:
    dashboard.refresh()
assert '100,001' in dashboards[-1].tiles
"""


class _Peak:
    """The most memory that a process and its reader processes had at one moment, in MB."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLES_EVERY_S):
            self.mb = max(self.mb, sum(map(_resident_mb, (self._pid, *_readers(self._pid)))))


def _readers(pid: int) -> list[int]:
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in tasks.read_text().split()]
        except OSError:  # the thread has ended
            continue
    return [child for child in found if "_read_process" in _read(f"/proc/{child}/cmdline")]


def _resident_mb(pid: int) -> float:
    _, found, rest = _read(f"/proc/{pid}/status").partition("VmRSS:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # the process has ended
        return ""


def _run(client: BlockingKernelClient, code: str) -> str:
    """Run a cell and return what it prints."""
    printed: list[str] = []
    reply = client.execute_interactive(
        code, output_hook=lambda message: printed.append(message["content"].get("text", "")), timeout=120
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


def measure() -> list[Claim]:
    if not Path("/proc/self/status").exists():
        print("no /proc here: the dashboard was not measured")
        return []
    import json
    import os
    import time

    from jupyter_client.manager import start_new_kernel

    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder, "ledger.sqlite"), _CALLS)
        env = os.environ | {
            "IPYLLM_LEDGER": f"{folder}/ledger.sqlite",
            "IPYLLM_CONFIG": f"{folder}/config.toml",
            "IPYLLM_MODEL": "openai/model-1",
        }
        kernels, client = start_new_kernel(kernel_name="python3", env=env)
        try:
            with _Peak(kernels.provisioner.pid) as peak:
                _run(client, "%load_ext ipyllm")
                _run(client, _PREPARE)
                cells = []
                for _ in range(3):
                    start = time.perf_counter()
                    _run(client, _OPEN)
                    cells.append(time.perf_counter() - start)
                clicks = json.loads(_run(client, _CHOOSE.format(calls=f"{_CALLS:,}")))
                _run(client, _READ_AGAIN)
        finally:
            kernels.shutdown_kernel(now=True)
    return [
        Claim("dashboard of 100,000 calls, its cell, slowest of 3", max(cells), 1.5, "s", f"first {cells[0]:.2f} s"),
        Claim("… slowest of 12 filters", max(clicks), 0.5, "s", f"median {median(clicks):.2f} s"),
        Claim("… 3 of them, peak of kernel and readers", peak.mb, 250, "MB", "284 MB before, and 660 before that"),
    ]
