"""A burst of 2000 chunks, through ``%%llm`` and through a bare ``openai`` loop, alternating in one kernel."""

from __future__ import annotations

import time

from benchmarks.fixtures import fake_server, kernel
from benchmarks.report import Claim, median

_RUNS = 15
_BARE = """
text = "".join(
    chunk.choices[0].delta.content or ""
    for chunk in client.chat.completions.create(
        model="fake-model", messages=[{"role": "user", "content": "Hello"}], stream=True)
    if chunk.choices
)
"""


def _wall_time_s(live, code: str) -> float:
    start = time.perf_counter()
    ran = live.run(code)
    assert ran.status == "ok", ran.traceback
    return time.perf_counter() - start


def measure() -> list[Claim]:
    with fake_server("--markdown", "10000", "--chunks", "2000") as base_url, kernel(base_url) as live:
        live.run(f"import openai\nclient = openai.OpenAI(base_url={base_url!r}, api_key='x')")
        ours, bare = [], []
        for number in range(_RUNS + 2):
            timed = _wall_time_s(live, _BARE), _wall_time_s(live, "%%llm --no-history\nHello")
            if number >= 2:
                bare.append(timed[0])
                ours.append(timed[1])
        size = int(live.run("print(len(_llm.content), len(text))").stdout.split()[0])
        assert size >= 10_000, size
    against = f"{median(ours) * 1e3:.0f} ms against {median(bare) * 1e3:.0f} ms"
    return [
        Claim(
            "2000-chunk burst through %%llm / bare openai loop",
            median(ours) / median(bare),
            1.0,
            "×",
            against,
        )
    ]
