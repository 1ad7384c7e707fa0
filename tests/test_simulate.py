"""`make simulate`: its tables run, and stand on the page of the statistics."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulate.__main__ import replace_table
from benchmarks.simulate.simulation import Outcome, find_simulations

SIMULATIONS = find_simulations()
PAGE = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_smallest_cell_of_each_table_runs_the_same_way_every_time(name):
    simulation = SIMULATIONS[name]
    first, second = (simulation.run(simulation.cells[0], runs=5) for _ in range(2))
    assert first == second
    assert first.share is None or 0 <= first.share <= 1


@pytest.mark.parametrize("name", SIMULATIONS)
def test_the_page_has_the_tables_of_the_current_simulations(name):
    simulation = SIMULATIONS[name]
    empty = replace_table(PAGE, name, simulation, [Outcome(None)] * len(simulation.cells))
    # Apart from the figures, which take minutes, nothing on the page differs.
    lines = zip(PAGE.splitlines(), empty.splitlines(), strict=True)
    differing = [(written.split("|"), ours.split("|")) for written, ours in lines if written != ours]
    assert all(len(written) == len(ours) > 2 and written[1] == ours[1] for written, ours in differing)
    section = PAGE.partition(f"<!-- simulated {name} -->")[2].partition("<!-- /simulated -->")[0]
    assert "**" not in section, "a cell is beyond its bound"
    shares = [text.strip(" *") for line in section.splitlines()[5:] for text in line.split("|")[2:-1]]
    assert len([text for text in shares if text]) == len(simulation.cells)
