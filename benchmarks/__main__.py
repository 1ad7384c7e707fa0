"""Runs the benchmarks: ``python -m benchmarks [--strict] [name …]``."""

from __future__ import annotations

import importlib
import sys

from benchmarks.report import Claim, show

_ALL = (
    "load",
    "burst",
    "traffic",
    "interrupt",
    "embedded_model",
    "call_cost",
    "first_token",
    "in_flight",
    "limits",
    "chat_server",
    "ledger",
    "compare",
    "widget",
    "dashboard",
    "explorer",
    "see_tokens",
    "experiment",
    "llm_map",
    "summary",
)


def main() -> int:
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or list(_ALL)
    claims: list[Claim] = []
    for name in names:
        print(f"measuring {name} …", flush=True)
        claims += importlib.import_module(f"benchmarks.{name}").measure()
    all_met = show(claims)
    return 0 if all_met or "--strict" not in sys.argv else 1


if __name__ == "__main__":
    sys.exit(main())
