"""The ledger at scale: the time a call waits for its row, a million rows as a DataFrame, eight concurrent writers.

``read_sql`` reads the plain columns of the same file; ``usage()`` also parses times and dicts, and sets dtypes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.large_ledger import fill
from benchmarks.report import Claim, median

_ROWS = 1_000_000
_PROCESSES, _EACH = 8, 10_000

_TIME_PUTS = """
import json, sys, time
from datetime import UTC, datetime
from ipyllm.ledger import Ledger
ledger = Ledger(sys.argv[1])
took = []
for number in range(3000):
    row = {"call_id": f"call-{number}", "started_at": datetime.now(UTC), "model": "openai/gpt-6-luna",
           "status": "running", "params": {"temperature": 0}, "tags": {"arm": "a"}, "prompt": "What is a ledger? " * 20}
    end = {"call_id": f"call-{number}", "status": "ok", "response": "word " * 400, "ttft_s": 0.2, "output_tokens": 400}
    start = time.perf_counter()
    ledger.put(row)
    ledger.put(end)
    took.append(time.perf_counter() - start)
    time.sleep(0.0005)
assert ledger.close(60)
print(json.dumps(sorted(took)[len(took) // 2]))
"""
_WRITE_ROWS = """
import json, sys
from ipyllm.ledger import Ledger
import ipyllm.ledger.store
print("ready", flush=True)
sys.stdin.readline()
ledger = Ledger(sys.argv[1])
for number in range(int(sys.argv[3])):
    call_id = f"{sys.argv[2]}-{number}"
    ledger.put({"call_id": call_id, "status": "running", "prompt": "Hello", "kernel_id": sys.argv[2]})
    ledger.put({"call_id": call_id, "status": "ok", "response": "Hi", "output_tokens": 1})
written = ledger.close(300)
print(json.dumps([written, ledger.take_warning()]))
"""
# The peak memory of a process and its children, sampled every few milliseconds.
_MEASURE_READ = """
import json, os, sys, threading, time
import pandas, psutil
def memory():
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            pass
    return total
me = psutil.Process()
before, peak, done = memory(), 0, threading.Event()
def sample():
    global peak
    while not done.wait(0.02):
        peak = max(peak, memory())
sampler = threading.Thread(target=sample)
sampler.start()
start, cpu = time.perf_counter(), os.times()
frame = read(sys.argv[1])
took = time.perf_counter() - start
done.set()
sampler.join()
times = os.times()
assert len(frame) == int(sys.argv[2]), len(frame)
report = {"s": took, "mb": (max(peak, memory()) - before) / 1e6, "cpu": sum(times[:4]) - sum(cpu[:4])}
if hasattr(frame, "memory_usage"):
    report["frame_mb"] = frame.memory_usage(deep=True).sum() / 1e6
print(json.dumps(report))
"""
_OURS = """
def read(path):
    from ipyllm import usage
    from ipyllm.ledger import Ledger
    return usage(None, text=False, ledger=Ledger(path))
"""
_WITH_TEXT = """
def read(path):
    from ipyllm import usage
    from ipyllm.ledger import Ledger
    return usage(None, ledger=Ledger(path))
"""
_EXPORT = """
def read(path):
    from ipyllm import export_usage
    from ipyllm.ledger import Ledger
    from pyarrow.parquet import read_metadata
    return range(read_metadata(export_usage(path + ".parquet", ledger=Ledger(path), kernel=None)).num_rows)
"""
_ROW_BY_ROW = """
def read(path):
    from ipyllm import usage
    from ipyllm.ledger import Ledger, arrow_read
    arrow_read.MIN_ROWS = 10**9
    return usage(None, text=False, ledger=Ledger(path))
"""
_READ_SQL = """
def read(path):
    import sqlite3
    import pandas as pd
    from ipyllm.ledger.columns import COLUMNS, TEXT
    names = ", ".join(name for name in COLUMNS if name not in TEXT)
    return pd.read_sql(f"SELECT {names} FROM calls", sqlite3.connect(path))
"""


def _run(code: str, *arguments: object) -> object:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _eight_processes(path: Path) -> tuple[int, int, float]:
    """Return the number of missing rows, of processes that met a lock, and the seconds taken."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", _WRITE_ROWS, str(path), str(number), str(_EACH)], **pipes)
        for number in range(_PROCESSES)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start = time.perf_counter()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    reports = [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in processes]
    took = time.perf_counter() - start
    with closing(sqlite3.connect(path)) as connection:
        (complete,) = connection.execute(
            "SELECT count(*) FROM calls WHERE status = 'ok' AND response = 'Hi'"
        ).fetchone()
    return _PROCESSES * _EACH - complete, sum(not written or warning is not None for written, warning in reports), took


def measure() -> list[Claim]:
    rows = int(os.environ.get("IPYLLM_BENCH_ROWS", _ROWS))
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        put = median(_run(_TIME_PUTS, folder / f"put-{attempt}.sqlite") for attempt in range(3))
        lost, locked, took = _eight_processes(folder / "many.sqlite")
        large = folder / "large.sqlite"
        fill(large, rows)
        our_runs, read_sql_runs = [], []
        for _ in range(2):  # alternating; of two runs the faster counts, which was disturbed less
            our_runs.append(_run(_OURS + _MEASURE_READ, large, rows))
            read_sql_runs.append(_run(_READ_SQL + _MEASURE_READ, large, rows))
        row_by_row = _run(_ROW_BY_ROW + _MEASURE_READ, large, rows)
        with_text = _run(_WITH_TEXT + _MEASURE_READ, large, rows)
        export = _run(_EXPORT + _MEASURE_READ, large, rows)
        smallest = folder / "smallest.sqlite"
        from ipyllm.ledger import arrow_read

        fill(smallest, arrow_read.MIN_ROWS)
        smallest_s = [
            min(_run(reader + _MEASURE_READ, smallest, arrow_read.MIN_ROWS)["s"] for _ in range(3))
            for reader in (_OURS, _ROW_BY_ROW)
        ]
    fastest, peer = min(our_runs, key=lambda run: run["s"]), min(read_sql_runs, key=lambda run: run["s"])
    million = f"{rows:,} rows → DataFrame"
    print(f"CPU: usage() {fastest['cpu']:.1f} s in all its processes, read_sql {peer['cpu']:.1f} s")
    return [
        Claim("ledger: time a call waits for its row", put * 1e6, 50, "µs", "two puts, median of 3,000 calls"),
        Claim(f"ledger: {_PROCESSES} × {_EACH:,} rows at once, lost", lost, 0, "rows", f"written in {took:.1f} s"),
        Claim(f"ledger: {_PROCESSES} × {_EACH:,} rows at once, locked out", locked, 0, "processes"),
        Claim(
            f"ledger: {million}, time",
            fastest["s"] / peer["s"],
            0.35,
            "×",
            f"{fastest['s']:.1f} s against read_sql {peer['s']:.1f} s; row by row {row_by_row['s']:.1f} s",
        ),
        Claim(
            f"ledger: {million}, memory",
            fastest["mb"] / peer["mb"],
            0.5,
            "×",
            f"{fastest['mb']:,.0f} MB, all processes, against read_sql {peer['mb']:,.0f} MB",
        ),
        Claim(
            f"ledger: {million} with texts, peak memory over the frame's own",
            with_text["mb"] / with_text["frame_mb"],
            1.25,
            "×",
            f"{with_text['mb']:,.0f} MB, all processes, for a frame of {with_text['frame_mb']:,.0f} MB",
        ),
        Claim(f"ledger: {rows:,} rows → Parquet, peak memory", export["mb"], 400, "MB", f"in {export['s']:.0f} s"),
        Claim(
            f"ledger: {arrow_read.MIN_ROWS:,} rows, through Arrow over row by row",
            smallest_s[0] / smallest_s[1],
            1.0,
            "×",
            f"{smallest_s[0]:.2f} s against {smallest_s[1]:.2f} s: from this size on, Arrow is used",
        ),
    ]
