"""``%%llm_compare`` with 8 models at 100 chunks a second each: updates, CPU, and the accuracy of the timestamps.

Each chunk's timestamp is compared with the time at which the server wrote it, on the same clock.
"""

from __future__ import annotations

import json

from benchmarks.fixtures import fake_server, kernel, requests_of
from benchmarks.report import Claim, median

_ARMS = 8
_SECONDS = 10
_RUNS = 3
_OPTIONS = ("--markdown", "6000", "--chunks", str(100 * _SECONDS), "--gap", "0.01")
# Records the timestamp that the service thread gave to each chunk, when the renderer receives the chunk.
_RECORD_TIMESTAMPS = """
import json, time
from ipyllm import Comparison
from ipyllm.events import TextDelta
_start = Comparison.start
def _start_recording(self, on_event=None, **options):
    self.timestamps = [[] for _ in self.arms]
    def record(index, event):
        if isinstance(event, TextDelta):
            self.timestamps[index].append(event.at_ns)
        on_event(index, event)
    return _start(self, record, **options)
Comparison.start = _start_recording
"""
_READ_CLOCKS = "print(time.process_time(), time.perf_counter())"


def _run(live, base_url: str, prompt: str, options: str = "") -> tuple[float, int, float, list[float]]:
    """Return CPU as a share of one core, updates in the busiest second, MB sent, and delays of timestamps in ms."""
    arms = " ".join(f"-m openai/m{index}" for index in range(_ARMS))
    before = [float(word) for word in live.run(_READ_CLOCKS).stdout.split()]
    ran = live.run(f"%%llm_compare {arms} {options}\n{prompt}", timeout=120)
    after = [float(word) for word in live.run(_READ_CLOCKS).stdout.split()]
    assert ran.status == "ok", ran.traceback
    timestamps = json.loads(
        live.run("print(json.dumps({a.label: s for a, s in zip(_llm_compare.arms, _llm_compare.timestamps)}))").stdout
    )
    drawn = [message for message in ran.messages if message["msg_type"] in {"display_data", "update_display_data"}]
    times = [message["received"] for message in drawn]
    busiest = max((sum(start <= time < start + 1 for time in times) for start in times), default=0)
    size = sum(len(part) for message in drawn for part in live.client.session.serialize(message))
    delays = []
    for request in requests_of(base_url):
        if request["json"]["messages"][-1]["content"].strip() == prompt:
            recorded = timestamps[request["json"]["model"]]
            assert len(recorded) == len(request["sent_ns"]), (len(recorded), len(request["sent_ns"]))
            delays += [(at - sent) / 1e6 for at, sent in zip(recorded, request["sent_ns"], strict=True)]
    return (after[0] - before[0]) / (after[1] - before[1]), busiest, size / 1e6, sorted(delays)


def measure() -> list[Claim]:
    with fake_server(*_OPTIONS) as base_url, kernel(base_url) as live:
        live.run(_RECORD_TIMESTAMPS)
        live.run("%%llm_compare -m openai/m0 -m openai/m1 --quiet\nwarm up", timeout=60)
        runs, quiet = [], []
        for number in range(_RUNS):
            runs.append(_run(live, base_url, f"run {number}"))
            quiet.append(_run(live, base_url, f"quiet {number}", "--quiet")[3])
    delays = [run[3] for run in runs]
    count = len(delays[0])
    typical, p99 = (median(ms[int(part * count)] for ms in delays) for part in (0.5, 0.99))
    control = median(ms[int(0.99 * count)] for ms in quiet)  # the same without drawing
    late = median(sum(one > 5 for one in ms) / count for ms in delays)
    worst = median(ms[-1] for ms in delays)
    against = (
        f"median {typical:.2f}, worst {worst:.1f} ms; {late:.2%} of {count} above 5 ms; p99 quiet {control:.1f} ms"
    )
    sent = f"{median(run[2] for run in runs):.2f} MB in {_SECONDS} s"
    return [
        Claim(
            "%%llm_compare, 8 × 100 chunks/s: updates in the busiest second", max(r[1] for r in runs), 20, "/s", sent
        ),
        Claim("… kernel CPU", median(run[0] for run in runs) * 100, 40, "% of a core"),
        Claim("… a chunk's timestamp after the server's write, p99", p99, 5, "ms", against),
    ]
