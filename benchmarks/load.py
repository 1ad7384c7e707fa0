"""Time and memory of ``%load_ext ipyllm`` above bare IPython, alternating in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.report import Claim, median

_BARE = """
import time, psutil
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("pass")
rss = psutil.Process().memory_info().rss
start = time.perf_counter()
{work}
print(time.perf_counter() - start, psutil.Process().memory_info().rss - rss)
"""
_RUNS = 9


def _run(work: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", _BARE.format(work=work)], capture_output=True, text=True, check=True)
    seconds, size = done.stdout.split()[-2:]
    return float(seconds), float(size)


def measure() -> list[Claim]:
    bare, loaded = [], []
    for _ in range(_RUNS):
        bare.append(_run('shell.run_cell("pass")'))
        loaded.append(_run('assert shell.run_cell("%load_ext ipyllm").success'))
    milliseconds = (median(run[0] for run in loaded) - median(run[0] for run in bare)) * 1e3
    megabytes = (median(run[1] for run in loaded) - median(run[1] for run in bare)) / 1e6
    return [
        Claim("%load_ext ipyllm above bare IPython", milliseconds, 50, "ms", "peers 1340 and 1770 ms"),
        Claim("%load_ext ipyllm above bare IPython", megabytes, 8, "MB", "peers 89 and 121 MB"),
    ]
