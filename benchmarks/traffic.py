"""Bytes and messages sent to the browser for a 10 kB answer at 200 chunks a second over 10 s."""

from __future__ import annotations

from benchmarks.fixtures import fake_server, kernel
from benchmarks.report import Claim

_SIZE = 10_000


def measure() -> list[Claim]:
    options = ("--markdown", str(_SIZE), "--chunks", "2000", "--gap", "0.005")
    with fake_server(*options) as base_url, kernel(base_url) as live:
        live.run("%llm --no-history warm up", timeout=60)
        ran = live.run("%%llm --no-history\nHello")
        assert ran.status == "ok", ran.traceback
        text = live.run("print(_llm.content, end='')").stdout
    assert ran.text.count("\n") > 0
    drawn = [message for message in ran.messages if message["msg_type"] in {"display_data", "update_display_data"}]
    session = live.client.session
    size = sum(len(part) for message in drawn for part in session.serialize(message))
    times = [message["received"] for message in drawn]
    busiest = max(sum(start <= time < start + 1 for time in times) for start in times)
    against = f"{len(drawn)} messages, {size / 1e3:.0f} kB for {len(text) / 1e3:.1f} kB"
    return [
        Claim("bytes on iopub / bytes of a 10 kB answer over 10 s", size / len(text.encode()), 20, "×", against),
        Claim("… updates in the busiest second", busiest, 20, "/s"),
    ]
