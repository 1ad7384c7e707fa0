"""Simulates the tables: ``python -m benchmarks.simulate [--runs N | --write PAGE] [table …]``.

Prints them; with ``--write docs/statistics.md`` it also replaces what stands between ``<!-- simulated NAME -->`` and
``<!-- /simulated -->`` on that page. Exits with 1 if a cell is beyond its bound and no note would warn of it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.simulate.simulation import Outcome, Simulation, find_simulations


def _outcome(name: str, index: int, runs: int | None) -> Outcome:
    simulation = find_simulations()[name]
    return simulation.run(simulation.cells[index], runs)


def replace_table(page: str, name: str, simulation: Simulation, outcomes: list[Outcome]) -> str:
    """Return ``page`` with this table between its marks."""
    mark = f"<!-- simulated {name} -->"
    table = f"{mark}\n{simulation.caption()}\n\n{simulation.markdown(outcomes)}\n\n<!-- /simulated -->"
    replaced, n = re.subn(f"{re.escape(mark)}.*?<!-- /simulated -->", lambda _: table, page, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"The page has {n} times the mark {mark}; write it once.")
    return replaced


def main() -> int:
    simulations = find_simulations()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description="Simulates the statistics.")
    parser.add_argument("tables", nargs="*", metavar="table", help=f"{', '.join(simulations)}; by default all")
    parser.add_argument("--runs", type=int, help="runs of each cell, for a rough look; not with --write")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables between the marks of this page")
    arguments = parser.parse_args()
    if arguments.runs and arguments.write:
        parser.error("--write takes no --runs: the page has the tables with their own numbers of runs")
    if unknown := set(arguments.tables) - set(simulations):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(simulations)}")
    missed = 0
    with ProcessPoolExecutor() as pool:
        for name in arguments.tables or simulations:
            simulation, start = simulations[name], time.monotonic()
            n = len(simulation.cells)
            outcomes = list(pool.map(_outcome, [name] * n, range(n), [arguments.runs] * n))
            missed += sum(map(simulation.missed, outcomes))
            print(f"\n{name}: {simulation.caption()} {time.monotonic() - start:.0f} s\n")
            print(simulation.markdown(outcomes), flush=True)
            if arguments.write is not None:
                page = arguments.write.read_text(encoding="utf-8")
                arguments.write.write_text(replace_table(page, name, simulation, outcomes), encoding="utf-8")
    print(f"\n{missed} cells beyond their bound.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
