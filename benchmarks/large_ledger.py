"""A ledger of a million calls in a minute: ``python -m benchmarks.large_ledger PATH [ROWS]``.

Its rows are written by SQL: the ledger's own writer takes ten times as long.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fill"]

_WORDS = ("the", "model", "answers", "questions", "about", "sea", "and", "keeper", "of", "light")
_START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(path: Path, rows: int) -> None:
    """Write ``rows`` calls of eight kernels into a new ledger, in the order in which they ended, as in real use."""
    from ipyllm.ledger import Ledger
    from ipyllm.ledger.columns import CALLS

    with Ledger(path) as ledger:
        ledger.put({"call_id": "first", "status": "ok"})
        assert ledger.flush(60)
    names = (*CALLS.columns, *CALLS.private)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM calls")
        connection.executemany(
            f"INSERT INTO calls ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            (tuple(call.get(name) for name in names) for call in _calls(rows)),
        )
        connection.execute("COMMIT")


def _calls(n: int) -> Iterator[dict[str, object]]:
    rng = random.Random(1)
    for number in range(n):
        ok, output = rng.random() > 0.03, rng.randint(5, 400)
        ttft, total = rng.uniform(0.05, 2), rng.uniform(2, 9)
        known = {
            "call_id": f"01KAV{number:021}",
            # Concurrent calls end in another order than they start.
            "started_at": f"{_START + timedelta(seconds=number - total):%Y-%m-%d %H:%M:%S.%f}",
            "kernel_id": f"kernel-{number % 8}",
            "origin": "experiment",
            "service": "openai",
            "model": f"openai/model-{number % 4}",
            "response_model": f"model-{number % 4}-2026",
            "endpoint": "127.0.0.1:8000",
            "params": json.dumps({"temperature": number % 2, "max_tokens": 200}),
            "tags": json.dumps({"route": "lab"} if number % 3 else {}),
            "experiment": f"e{number // 100_000}",
            "arm": f"arm-{number % 8}",
            "prompt_id": f"p{number // 8 % 1000}",
            "repeat": number // 8000 % 10,
            "warmup": 0,
            "status": "ok" if ok else "error",
            "finish_reason": "stop" if ok else None,
            "error_category": None if ok else "timeout",
            "error_message": None if ok else "The server took too long.",
            "cold": 0,
            "cache_hit": 0,
            "attempts": 1,
            "queue_s": rng.random() / 100,
            "total_s": total,
            "retry_wait_s": 0.0,
            "client_lag_s": rng.random() / 1000,
            "prompt": " ".join(rng.choices(_WORDS, k=20)),
        }
        if ok:
            measured = ("ttft_s", "ttfo_s"), ("e2e_s", "stream_end_s")
            known |= dict.fromkeys(measured[0], ttft) | dict.fromkeys(measured[1], total)
            known |= {
                "tpot_s": (total - ttft) / output,
                "output_tps": output / (total - ttft),
                "max_gap_s": rng.random(),
                "n_chunks": output,
                "input_tokens": rng.randint(20, 500),
                "cached_tokens": 0,
                "output_tokens": output,
                "usage_source": "server",
                "cost_usd": rng.random() / 1000,
                "price_source": "genai-prices 0.2.3",
                "response": " ".join(rng.choices(_WORDS, k=40)),
            }
        yield known


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
