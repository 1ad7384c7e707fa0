"""CPU per call beside that of another version, in turn: ``python -m benchmarks.beside FOLDER [in_flight×chunks …]``.

FOLDER is a working tree of the other version: ``git worktree add --detach FOLDER COMMIT``. Each version has a process
and a server, which live through all rounds. They make a few calls in turn, so that a machine whose speed changes
slows both, and the figure is the median of the ratios of neighbours. Rows are written, and counted, in every turn.
``make bench`` leaves it out, as it needs the other version.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.clients import CLIENTS, on_last_core, server_on_own_core
from benchmarks.report import median

_ROOT = Path(__file__).resolve().parent.parent
_ROUNDS = 24
_CALLS = {"1×8": 5, "1×64": 2, "100×8": 200, "100×64": 100}
"""Calls of a turn, by calls in flight and chunks of each."""


async def _answer_turns(base_url: str, in_flight: int) -> None:
    """Make as many calls as each line of standard input says, and print the milliseconds of CPU of each call."""
    client = CLIENTS["ipyllm"](base_url)
    await client.ask("warm up")
    print(flush=True)
    while n_calls := int(sys.stdin.readline() or 0):
        semaphore = asyncio.Semaphore(in_flight)

        async def one(number: int, semaphore: asyncio.Semaphore = semaphore) -> None:
            async with semaphore:
                await client.ask(f"call {number}")

        before = time.process_time()
        await asyncio.gather(*(one(number) for number in range(n_calls)))
        await client.aclose()
        print((time.process_time() - before) / n_calls * 1e3, flush=True)


@contextmanager
def _process(folder: Path, in_flight: int, chunks: int):
    """Start a process with the service layer of a folder, and yield a function that makes calls in it."""
    options = ("--length", str(5 * chunks), "--chunks", str(chunks), "--gap", "0.005")
    with server_on_own_core(*options) as base_url, tempfile.TemporaryDirectory() as home:
        settings = {"IPYLLM_LEDGER": f"{home}/ledger.sqlite", "IPYLLM_CONFIG": f"{home}/config.toml"}
        with on_last_core():
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.beside", "--turns", base_url, str(in_flight)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_ROOT,
                env=os.environ | settings | {"PYTHONPATH": str(folder / "service")},
            )

        def answer() -> str:
            line = process.stdout.readline()
            assert line, f"the process of {folder} has ended"
            return line

        def turn(n_calls: int) -> float:
            process.stdin.write(f"{n_calls}\n")
            process.stdin.flush()
            return float(answer())

        with process:
            answer()
            yield turn
            process.stdin.close()


def main(folder: Path, sizes: list[str]) -> None:
    for size in sizes:
        in_flight, chunks = map(int, size.replace("x", "×").split("×"))
        n_calls = _CALLS[f"{in_flight}×{chunks}"]
        with ExitStack() as stack:
            other, ours = (stack.enter_context(_process(each, in_flight, chunks)) for each in (folder, _ROOT))
            pairs = []
            for number in range(_ROUNDS + 1):
                turns = {"other": other, "ours": ours} if number % 2 else {"ours": ours, "other": other}
                pairs.append({name: turn(n_calls) for name, turn in turns.items()})
        del pairs[0]  # warm-up
        ratios = sorted(pair["ours"] / pair["other"] for pair in pairs)
        cpu = {name: median(pair[name] for pair in pairs) for name in ("ours", "other")}
        print(
            f"{in_flight:>3} in flight, {chunks:>2} chunks: {median(ratios):.3f} × (half of the pairs within "
            f"{ratios[_ROUNDS // 4]:.2f}–{ratios[-_ROUNDS // 4]:.2f}); {cpu['ours']:.2f} against {cpu['other']:.2f} ms",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1] == "--turns":
        asyncio.run(_answer_turns(sys.argv[2], int(sys.argv[3])))
    else:
        main(Path(sys.argv[1]).resolve(), sys.argv[2:] or list(_CALLS))
